"""The commands of `lazarus-tokenkit`. A command parses its options, calls one library function and prints the result."""
