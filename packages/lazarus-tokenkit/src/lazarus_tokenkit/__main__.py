"""The entry point of `lazarus-tokenkit` and `python -m lazarus_tokenkit`. Imports little, so Ctrl-C works at once."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_tokenkit.cli.app:app", "lazarus-tokenkit")


if __name__ == "__main__":
    main()
