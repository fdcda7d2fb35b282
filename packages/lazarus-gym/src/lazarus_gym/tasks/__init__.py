"""Families of tasks, one file each; every family brings its own verifier."""
