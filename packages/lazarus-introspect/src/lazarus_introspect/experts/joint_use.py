"""Co-activation: which experts the same token uses, and which experts of one block follow those of another.

n = tokens, E = experts, N_i = tokens of expert i, N_ij = tokens of both i and j
"""

import numpy as np

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.experts.balance import shuffled_within
from lazarus_introspect.experts.routing import Routing
from lazarus_introspect.metrics import Numbers


class Coactivation(Frozen):
    """Experts that are used by the same tokens."""

    layer: int
    counts: tuple[tuple[int, ...], ...]
    """N_ij, symmetric; the diagonal is N_i."""
    rates: tuple[tuple[float, ...], ...]
    """N_ij / N_i (arXiv 2409.02060); 0 for an unused expert."""
    lift: tuple[tuple[float | None, ...], ...]
    """N_ij * n / (N_i * N_j); below 1 if the experts avoid each other. None for an unused expert."""
    baseline: float
    """(k - 1) / (E - 1): the rate of a router that chooses at random."""

    def strongest(self, count: int) -> list[tuple[int, int, float]]:
        """The pairs with the largest rates, as (i, j, rate of j given i).

        Args:
            count: Pairs.
        """
        size = len(self.rates)
        pairs = [(i, j, self.rates[i][j]) for i in range(size) for j in range(size) if i != j]
        return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:count]


def coactivation(routing: Routing) -> Coactivation:
    """Which experts the same token uses."""
    chosen = routing.chosen
    counts = chosen.T @ chosen
    own, tokens, experts = np.diagonal(counts), len(chosen), routing.num_experts
    rates = counts / np.maximum(own, 1)[:, None]
    used = own > 0
    lift = counts * tokens / np.maximum(own[:, None] * own, 1)
    return Coactivation(
        layer=routing.layer,
        counts=tuple(tuple(int(each) for each in row) for row in counts),
        rates=tuple(map(tuple, rates.tolist())),
        lift=tuple(
            tuple(float(lift[i, j]) if used[i] and used[j] else None for j in range(experts)) for i in range(experts)
        ),
        baseline=0.0 if experts == 1 else (routing.experts_per_token - 1) / (experts - 1),
    )


class Transition(Frozen):
    """How the first choice of one block predicts that of the next block with experts."""

    first_layer: int
    second_layer: int
    information: float
    """Mutual information of both first choices as a share of the second's entropy, in [0, 1]."""
    shuffled: float
    """Its mean after shuffling the tokens within each text: what the size of the sample and the texts explain."""
    p: float
    """Share of shuffles with at least this information."""
    counts: tuple[tuple[int, ...], ...]
    """Tokens by both first choices, (E, E of the second block)."""

    def common(self, count: int) -> list[tuple[int, int, int]]:
        """The most common pairs, as (first, second, tokens).

        Args:
            count: Pairs.
        """
        pairs = [(i, j, n) for i, row in enumerate(self.counts) for j, n in enumerate(row) if n]
        return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:count]


def transition(first: Routing, second: Routing, *, seed: int, permutations: int = 999) -> Transition:
    """How the first choices of one block predict those of another, on the same tokens.

    Args:
        first: The routing of the earlier block.
        second: That of the later block.
        seed: Random seed of the shuffles, at least 0.
        permutations: Shuffles; the smallest p-value is 1 / (permutations + 1).
    """
    one, two = first.experts[:, 0], second.experts[:, 0]
    shape = (first.num_experts, second.num_experts)
    counts = _crossed(one, two, shape)
    observed = information_share(counts)
    rng = np.random.default_rng(seed)
    nulls = np.array(
        [information_share(_crossed(one, two[shuffled_within(second.rows, rng)], shape)) for _ in range(permutations)]
    )
    return Transition(
        first_layer=first.layer,
        second_layer=second.layer,
        information=observed,
        shuffled=float(nulls.mean()),
        p=(int((nulls >= observed - 1e-12).sum()) + 1) / (permutations + 1),
        counts=tuple(tuple(int(each) for each in row) for row in counts),
    )


def _crossed(one: np.ndarray, two: np.ndarray, shape: tuple[int, int]) -> Numbers:
    flat = np.bincount(one * shape[1] + two, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(np.float64)


def information_share(counts: Numbers) -> float:
    """Mutual information of rows and columns as a share of the columns' entropy; 0 if there is one column.

    Args:
        counts: Observations by row and column.

    >>> information_share(np.diag([2.0, 2.0])), information_share(np.ones((2, 2)))
    (1.0, 0.0)
    """
    joint = counts / counts.sum()
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    entropy = -(columns[columns > 0] * np.log(columns[columns > 0])).sum()
    if entropy < 1e-12:
        return 0.0
    seen = joint > 0
    expected = rows[:, None] * columns
    return float(np.clip((joint[seen] * np.log(joint[seen] / expected[seen])).sum() / entropy, 0, 1))
