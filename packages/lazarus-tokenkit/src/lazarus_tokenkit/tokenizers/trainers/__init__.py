"""Trainers of new tokenizers: byte-level BPE and SentencePiece."""
