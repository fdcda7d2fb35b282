"""The files of a corpus: manifest, removals, card, and their verification."""
