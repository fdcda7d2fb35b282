"""`lazarus-tokenkit` and `python -m lazarus_tokenkit`: what is loaded before Ctrl-C is understood is next to nothing."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_tokenkit.cli.app:app", "lazarus-tokenkit")


if __name__ == "__main__":
    main()
