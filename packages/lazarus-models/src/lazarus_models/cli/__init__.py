"""The commands of `lazarus-models`."""
