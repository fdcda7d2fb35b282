"""The commands of `lazarus-tokenkit`, by what they are for. Each parses, calls one library function, prints."""
