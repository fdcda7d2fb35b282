"""Rules that remove a document: a rule is a function from a text to a reason, or None to keep it."""
