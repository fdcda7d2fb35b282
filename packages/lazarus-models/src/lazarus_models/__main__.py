"""`lazarus-models` and `python -m lazarus_models`. Imports almost nothing, so that Ctrl-C works from the start."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_models.cli.app:app", "lazarus-models")


if __name__ == "__main__":
    main()
