"""Commands of probing; a module for each command or two."""
