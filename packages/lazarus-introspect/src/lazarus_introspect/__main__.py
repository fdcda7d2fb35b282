"""`lazarus-introspect` and `python -m lazarus_introspect`: little is imported before Ctrl-C is handled."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_introspect.cli.app:app", "lazarus-introspect")


if __name__ == "__main__":
    main()
