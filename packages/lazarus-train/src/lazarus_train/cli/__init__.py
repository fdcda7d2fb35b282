"""The commands of `lazarus-train`."""
