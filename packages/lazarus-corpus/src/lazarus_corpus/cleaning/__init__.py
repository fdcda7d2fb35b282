"""Changes of a text: characters, lines, boilerplate, personal data."""
