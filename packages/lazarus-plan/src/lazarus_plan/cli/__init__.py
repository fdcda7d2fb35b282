"""The commands of `lazarus-plan`. Each parses its options, calls one library function and prints the result."""
