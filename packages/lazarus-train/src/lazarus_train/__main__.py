"""Entry point of `lazarus-train` and `python -m lazarus_train`. It imports little before the Ctrl-C handler is set."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_train.cli.app:app", "lazarus-train")


if __name__ == "__main__":
    main()
