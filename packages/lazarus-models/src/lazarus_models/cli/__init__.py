"""The commands of `lazarus-models`, a module for each kind."""
