"""The command line of lazarus-gym."""
