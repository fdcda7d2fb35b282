"""HTML pages without scripts or network: frame, charts, tables."""
