"""Nulls: permutation p-values, corrected for the number of comparisons. Everything is seeded and in float64."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_CHUNK = 500
"""Permutations computed at a time: 500 x 1,000 numbers are 4 MB."""


def sign_flip_p(differences: Numbers, *, seed: int, permutations: int = 10_000) -> Numbers:
    """One-sided p-values of paired differences, by random flips of their signs (Fisher's randomisation test).

    Under the null the two members of a pair are exchangeable, so every sign is equally likely.

    Args:
        differences: Treated minus control, one row a pair, (n, K).
        seed: Random seed, at least 0.
        permutations: Random flips; the smallest p-value is 1 / (permutations + 1).

    Returns:
        The share of flips whose mean is at least the observed one, in (0, 1], (K,).
    """
    rng = np.random.default_rng(seed)
    observed = differences.mean(axis=0)
    above = np.zeros(differences.shape[1:])
    for start in range(0, permutations, _CHUNK):
        size = min(_CHUNK, permutations - start)
        signs = rng.choice((-1.0, 1.0), size=(size, len(differences)))
        above += (signs @ differences / len(differences) >= observed - 1e-12).sum(axis=0)
    return (above + 1) / (permutations + 1)


def benjamini_hochberg(p_values: Numbers) -> Numbers:
    """q-values: the smallest false-discovery rate at which each hypothesis is rejected (Benjamini & Hochberg 1995).

    >>> benjamini_hochberg(np.array([0.01, 0.02, 0.9])).tolist()
    [0.03, 0.03, 0.9]
    """
    flat = p_values.ravel()
    order = np.argsort(flat)
    scaled = flat[order] * len(flat) / np.arange(1, len(flat) + 1)
    q_values = np.empty_like(flat)
    q_values[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q_values.reshape(p_values.shape)
