"""New tokenizers from text: the same bytes on every run."""
