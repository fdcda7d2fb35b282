"""Types of stages, one file each."""
