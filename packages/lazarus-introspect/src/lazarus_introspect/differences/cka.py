"""Linear CKA (arXiv 1905.00414): how alike the geometry of two representations of the same tokens is.

n = tokens, D = width

CKA is 1 for representations that differ by a rotation and a factor, and it needs no equal widths. With few tokens and large
widths it is large even for unrelated representations, so it is compared with shuffled tokens.
"""

from typing import NamedTuple

import numpy as np

from lazarus_introspect.metrics import Numbers


class CKA(NamedTuple):
    """Similarity and its null."""

    cka: float
    """In [0, 1]."""
    shuffled: float
    """Mean with the tokens of the second representation shuffled."""
    p: float
    """Share of shuffles with at least this similarity."""


def linear_cka(first: Numbers, second: Numbers, *, seed: int = 0, permutations: int = 99) -> CKA | None:
    """The similarity of two representations; None if one is constant over the tokens.

    Args:
        first: (n, D).
        second: (n, D), any D.
        seed: Random seed of the shuffles, at least 0.
        permutations: Shuffles; the smallest p-value is 1 / (permutations + 1).
    """
    one, two = _gram(first), _gram(second)
    scale = float(np.linalg.norm(one) * np.linalg.norm(two))
    if not np.isfinite(scale) or scale <= 1e-20 * max(float((first**2).sum() * (second**2).sum()), 1e-300):
        return None
    observed = float((one * two).sum() / scale)
    rng = np.random.default_rng(seed)
    nulls = np.zeros(permutations)
    for place in range(permutations):
        order = rng.permutation(len(two))
        nulls[place] = (one * two[np.ix_(order, order)]).sum() / scale
    return CKA(
        float(np.clip(observed, 0, 1)),
        float(np.clip(nulls.mean(), 0, 1)),
        (int((nulls >= observed - 1e-12).sum()) + 1) / (permutations + 1),
    )


def _gram(x: Numbers) -> Numbers:
    centred = x - x.mean(axis=0)
    return centred @ centred.T
