"""`lazarus-gym` and `python -m lazarus_gym`: what is loaded before Ctrl-C is understood is next to nothing."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_gym.cli:app", "lazarus-gym")


if __name__ == "__main__":
    main()
