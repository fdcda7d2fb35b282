"""Data files and samples: reading, schemas, inspection."""
