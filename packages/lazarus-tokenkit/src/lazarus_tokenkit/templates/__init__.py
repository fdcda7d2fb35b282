"""Chat templates: named ones, and a sandbox that renders them and any tokenizer's own."""
