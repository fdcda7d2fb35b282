"""`python -m lazarus_train`."""

from lazarus_train.cli import main

main()
