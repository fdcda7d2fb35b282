"""Readers of documents, one file for each format."""
