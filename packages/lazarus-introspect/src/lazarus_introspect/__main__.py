"""`lazarus-introspect` and `python -m lazarus_introspect`: what is loaded before Ctrl-C is understood is next to nothing."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_introspect.cli:app", "lazarus-introspect")


if __name__ == "__main__":
    main()
