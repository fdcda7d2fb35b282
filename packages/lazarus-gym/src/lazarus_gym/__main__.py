"""Entry point of `lazarus-gym` and `python -m lazarus_gym`. It imports little before the Ctrl-C handler is set."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_gym.cli.app:app", "lazarus-gym")


if __name__ == "__main__":
    main()
