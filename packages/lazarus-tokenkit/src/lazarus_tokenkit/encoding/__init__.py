"""From a sample to token ids and loss masks."""
