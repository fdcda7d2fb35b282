"""The commands `moe ...`: experts of mixture-of-experts models."""
