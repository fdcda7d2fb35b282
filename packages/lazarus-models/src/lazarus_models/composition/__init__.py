"""New models: from parts, from presets, and what they cost."""
