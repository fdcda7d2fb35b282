"""`lazarus-train` and `python -m lazarus_train`: what is loaded before Ctrl-C is understood is next to nothing."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_train.cli.app:app", "lazarus-train")


if __name__ == "__main__":
    main()
