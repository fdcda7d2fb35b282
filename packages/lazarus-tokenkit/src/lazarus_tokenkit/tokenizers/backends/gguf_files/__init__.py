"""What readers and writers of tokenizers in GGUF files share."""
