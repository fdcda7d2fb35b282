"""Entry point of `lazarus` and `python -m lazarus_cli`. It imports little before the Ctrl-C handler is set."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_cli.main:app", "lazarus")


if __name__ == "__main__":
    main()
