"""Model configurations: the architecture as data, and `config.json` files."""
