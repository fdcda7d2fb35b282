"""`lazarus` and `python -m lazarus_cli`: what is loaded before Ctrl-C is understood is next to nothing."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_cli.main:app", "lazarus")


if __name__ == "__main__":
    main()
