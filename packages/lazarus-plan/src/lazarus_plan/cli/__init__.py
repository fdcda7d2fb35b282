"""The commands of `lazarus-plan`, by what they are for. Each parses, calls one library function, prints."""
