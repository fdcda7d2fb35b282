"""`lazarus-corpus` and `python -m lazarus_corpus`: little is imported before Ctrl-C is handled."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_corpus.cli.app:app", "lazarus-corpus")


if __name__ == "__main__":
    main()
