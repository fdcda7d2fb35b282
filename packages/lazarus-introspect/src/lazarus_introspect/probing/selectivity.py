"""Neurons that prefer a class: rank tests of every neuron, corrected for their number.

n = prompts, N = neurons
"""

from math import erfc, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.errors import RequestError
from lazarus_introspect.statistics import benjamini_hochberg

Numbers = NDArray[np.float64]
MIN_PROMPTS = 8
"""Different prompts a class: from there on the normal approximation of the rank test is within 0.01 of the exact p-value."""


class Selectivity(NamedTuple):
    """A rank test of every neuron."""

    auc: Numbers
    """Chance that a prompt of the class activates the neuron more than another prompt does, in [0, 1], (N,)."""
    p: Numbers
    """Two-sided p-value, (N,)."""
    q: Numbers
    """p-values corrected over all neurons (Benjamini-Hochberg), (N,)."""


def rank_test(features: Numbers, is_own: NDArray[np.bool_]) -> Selectivity:
    """Mann-Whitney tests of all columns: normal approximation with corrections for ties and continuity.

    Args:
        features: Activations, (n, N).
        is_own: Whether a prompt is of the class, (n,).

    Raises:
        RequestError: A side has fewer than 8 prompts.
    """
    own, others = int(is_own.sum()), int((~is_own).sum())
    if min(own, others) < MIN_PROMPTS:
        raise RequestError(
            f"{own} different prompts of a class and {others} others: give at least {MIN_PROMPTS} of each", "LI-E081"
        )
    n = own + others
    ranks, ties = ranked(features)
    u = ranks[is_own].sum(axis=0) - own * (own + 1) / 2
    middle = own * others / 2
    variance = own * others / 12 * (n + 1 - ties / (n * (n - 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (np.abs(u - middle) - 0.5) / np.sqrt(variance)
    z = np.where(variance > 0, np.maximum(z, 0), 0)
    p = np.array([erfc(each / sqrt(2)) for each in z])
    return Selectivity(u / (own * others), p, benjamini_hochberg(p))


def ranked(features: Numbers) -> tuple[Numbers, Numbers]:
    """Ranks of each column from 1, equal values with their mean rank, and the sum of t^3 - t over its groups of t ties.

    Args:
        features: (n, N).
    """
    n, count = len(features), int(features.shape[1])
    order = features.argsort(axis=0, kind="stable")
    ordered = np.take_along_axis(features, order, axis=0)
    is_new = np.concatenate([np.ones((1, count), bool), ordered[1:] != ordered[:-1]])
    group: NDArray[np.int64] = (
        np.cumsum(is_new, axis=0, dtype=np.int64) - 1
    )  # number of the group of ties of each ordered value
    flat: NDArray[np.int64] = np.add(group, np.arange(count) * n)
    sizes = np.bincount(flat.ravel(), minlength=n * count).reshape(count, n).T  # (n, N)
    ends = sizes.cumsum(axis=0)
    mean_rank = ends - (sizes - 1) / 2
    ranks = np.empty(features.shape)
    np.put_along_axis(ranks, order, np.take_along_axis(mean_rank, group, axis=0), axis=0)
    return ranks, (sizes.astype(float) ** 3 - sizes).sum(axis=0)
