"""Raw documents to clean, deduplicated, split samples."""
