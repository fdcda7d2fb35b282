"""Length caches: how many tokens each sample has."""
