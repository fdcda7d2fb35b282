"""Train new tokenizers: byte-level BPE, SentencePiece."""
