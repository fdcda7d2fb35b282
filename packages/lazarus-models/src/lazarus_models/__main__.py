"""`lazarus-models` and `python -m lazarus_models`: what is loaded before Ctrl-C is understood is next to nothing."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_models.cli.app:app", "lazarus-models")


if __name__ == "__main__":
    main()
