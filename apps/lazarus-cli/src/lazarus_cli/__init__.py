"""The command `lazarus`: everything that is installed, under one name."""
