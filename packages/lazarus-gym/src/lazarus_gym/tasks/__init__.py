"""Task families, one file each, each with its own verifier."""
