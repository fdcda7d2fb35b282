"""The command `lazarus-corpus`; `lazarus data corpus` is the same."""
