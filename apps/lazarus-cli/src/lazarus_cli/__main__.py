"""`python -m lazarus_cli`."""

from lazarus_cli.main import main

main()
