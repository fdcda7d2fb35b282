"""`lazarus-corpus` and `python -m lazarus_corpus`: what is loaded before Ctrl-C is understood is next to nothing."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_corpus.cli:app", "lazarus-corpus")


if __name__ == "__main__":
    main()
