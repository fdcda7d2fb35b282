"""`lazarus-plan` and `python -m lazarus_plan`: it loads almost nothing before Ctrl-C is handled."""

from lazarus_core.console import run


def main() -> None:
    """The console script."""
    run("lazarus_plan.cli.app:app", "lazarus-plan")


if __name__ == "__main__":
    main()
