"""Clusters of states, their silhouette, and whether structureless states would have as good ones.

n = states, d = features, k = clusters
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.errors import RequestError
from lazarus_introspect.probing.scores import permutation_p

Numbers = NDArray[np.float64]
Ints = NDArray[np.int64]
Algorithm = Literal["kmeans", "ward"]
MAX_STATES = 2000
"""Distances of all pairs: 2,000 states take 32 MB; Ward's method 2 s."""
_RESTARTS = 10
_STEPS = 300


class Clustering(NamedTuple):
    """Clusters, with a null."""

    assigned: Ints
    """Cluster of each state, from 0, (n,)."""
    silhouette: float
    """Mean over the states, in [-1, 1]."""
    null: Numbers
    """Silhouettes of clusters in normal states with the same covariance."""
    p: float
    """Share of the null that reaches the silhouette."""


def cluster(states: Numbers, k: int, *, algorithm: Algorithm = "kmeans", nulls: int = 50, seed: int = 0) -> Clustering:
    """Clusters of states, and of as many draws from one normal distribution with their mean and covariance.

    Args:
        states: (n, d).
        k: Clusters, 2 to n - 1.
        algorithm: `kmeans` (k-means++, the best of 10 starts) or `ward` (agglomerative).
        nulls: Draws of the null.
        seed: Random seed.

    Raises:
        RequestError: `k` does not fit the number of different states, or there are too many states.
    """
    different = len(np.unique(states, axis=0))
    if not 2 <= k < different or len(states) > MAX_STATES:
        raise RequestError(
            f"`clusters` {k} of {different} different states: give 2 to {max(2, different - 1)} clusters, and at most "
            f"{MAX_STATES:,} prompts",
            "LI-E087",
        )
    reduced = _rotated(states)
    assigned = _assign(reduced, k, algorithm, [seed, 7])
    found = silhouette(reduced, assigned)
    rng = np.random.default_rng([seed, 8])
    spread = reduced.std(axis=0)
    null = np.zeros(nulls)
    for place in range(nulls):
        drawn = rng.standard_normal(reduced.shape) * spread
        null[place] = silhouette(drawn, _assign(drawn, k, algorithm, [seed, 9, place]))
    return Clustering(assigned, found, null, permutation_p(found, null))


def _rotated(states: Numbers) -> Numbers:
    """The states in their principal axes, (n, R): distances stay, and the columns are uncorrelated."""
    centred = states - states.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    keep = s > 1e-9 * s[0]
    return u[:, keep] * s[keep]


def _assign(states: Numbers, k: int, algorithm: Algorithm, seed: list[int]) -> Ints:
    return kmeans(states, k, seed=seed) if algorithm == "kmeans" else ward(states, k)


def squared_distances(one: Numbers, other: Numbers) -> Numbers:
    """Squared Euclidean distances of all pairs.

    Args:
        one: (n, d).
        other: (m, d).
    """
    cross = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.maximum(cross, 0)


def kmeans(states: Numbers, k: int, *, seed: list[int] | int = 0) -> Ints:
    """Clusters with small distances to their means (Lloyd; starts by k-means++, Arthur & Vassilvitskii 2007).

    Args:
        states: (n, d).
        k: Clusters.
        seed: Random seed.

    Returns:
        The best of 10 starts, numbered in the order of first appearance, (n,).
    """
    rng = np.random.default_rng(seed)
    best, smallest = np.zeros(len(states), np.int64), np.inf
    for _ in range(_RESTARTS):
        centres = states[[int(rng.integers(len(states)))]]
        while len(centres) < k:
            near = squared_distances(states, centres).min(axis=1)
            total = near.sum()
            chosen = int(rng.choice(len(states), p=near / total)) if total > 0 else int(rng.integers(len(states)))
            centres = np.concatenate([centres, states[[chosen]]])
        assigned = squared_distances(states, centres).argmin(axis=1)
        for _ in range(_STEPS):
            for each in range(k):
                if (own := assigned == each).any():
                    centres[each] = states[own].mean(axis=0)
            after = squared_distances(states, centres).argmin(axis=1)
            if (after == assigned).all():
                break
            assigned = after
        inertia = float(squared_distances(states, centres)[np.arange(len(states)), assigned].sum())
        if inertia < smallest - 1e-12:
            best, smallest = assigned, inertia
    return _numbered(best)


def ward(states: Numbers, k: int) -> Ints:
    """Agglomerative clusters: the pair is merged whose union has the smallest growth of variance (Ward 1963).

    Args:
        states: (n, d).
        k: Clusters.
    """
    distance = squared_distances(states, states)
    np.fill_diagonal(distance, np.inf)
    size = np.ones(len(states))
    assigned = np.arange(len(states))
    near = distance.argmin(axis=1)  # nearest neighbour of each cluster
    for _ in range(len(states) - k):
        reach = distance[np.arange(len(near)), near]
        i = int(reach.argmin())
        j = int(near[i])
        both = size[i] + size[j]
        row = ((size[i] + size) * distance[i] + (size[j] + size) * distance[j] - size * distance[i, j]) / (both + size)
        row[[i, j]] = np.inf
        row[~np.isfinite(distance[i]) & ~np.isfinite(distance[j])] = np.inf
        distance[i], distance[:, i] = row, row
        distance[j], distance[:, j] = np.inf, np.inf
        size[i] = both
        assigned[assigned == j] = i
        stale = np.flatnonzero((near == i) | (near == j))
        near[stale] = distance[stale].argmin(axis=1)
        near[i] = int(distance[i].argmin())
        closer = distance[:, i] < distance[np.arange(len(near)), near]
        near[closer] = i
    return _numbered(assigned)


def _numbered(assigned: Ints) -> Ints:
    """Clusters numbered in the order of first appearance."""
    first = np.unique(assigned, return_index=True)[1]
    order = {int(assigned[place]): number for number, place in enumerate(sorted(first))}
    return np.array([order[int(each)] for each in assigned], np.int64)


def silhouette(states: Numbers, assigned: Ints) -> float:
    """The mean of (b - a) / max(a, b): a is the mean distance in the own cluster, b that to the next one (Rousseeuw 1987).

    Args:
        states: (n, d).
        assigned: Cluster of each state, from 0, (n,); a state alone in its cluster counts 0.
    """
    distance = np.sqrt(squared_distances(states, states))
    np.fill_diagonal(distance, 0)
    members = np.eye(int(assigned.max()) + 1)[assigned]  # (n, k)
    sizes = members.sum(axis=0)
    if (sizes > 0).sum() < 2:
        return 0.0
    sums = distance @ members
    own = sizes[assigned]
    inner = sums[np.arange(len(states)), assigned] / np.maximum(own - 1, 1)
    means = np.where(members > 0, np.inf, sums / np.maximum(sizes, 1))
    means[:, sizes == 0] = np.inf
    outer = means.min(axis=1)
    score = np.where(own > 1, (outer - inner) / np.maximum(np.maximum(inner, outer), 1e-30), 0.0)
    return float(score.mean())


def adjusted_rand(one: Ints, other: Ints) -> float:
    """The agreement of two partitions: 1 if equal, 0 on average by chance (Hubert & Arabie 1985).

    Args:
        one: Cluster of each state, (n,).
        other: Class of each state, (n,).
    """
    table = np.zeros((int(one.max()) + 1, int(other.max()) + 1))
    np.add.at(table, (one, other), 1)

    def pairs(counts: Numbers) -> float:
        return float((counts * (counts - 1) / 2).sum())

    rows, columns = pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    total = len(one) * (len(one) - 1) / 2
    expected = rows * columns / total
    most = (rows + columns) / 2
    return 1.0 if most == expected else (pairs(table) - expected) / (most - expected)
