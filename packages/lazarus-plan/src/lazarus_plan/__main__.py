"""`python -m lazarus_plan`."""

from lazarus_plan.cli import main

main()
