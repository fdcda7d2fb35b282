"""From lengths to rows: packing, balance, mixtures, permutations."""
