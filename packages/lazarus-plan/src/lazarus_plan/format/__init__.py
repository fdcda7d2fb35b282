"""The on-disk format of plans and locks. FORMAT.md specifies it."""
