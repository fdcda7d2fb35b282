"""Balance: how evenly the tokens use the experts, and how certain the router is.

n = tokens, E = experts, k = experts a token, f = share of the n * k choices of each expert

| figure | definition | range |
|---|---|---|
| load balance | 1 - TVD(f, 1/E) / (1 - k/E) | 0: always the same k experts; 1: uniform |
| its baseline | the expected value if every token chose k of E experts at random: below 1, because n is finite | |
| effective experts | exp(H(f)); diversity is its share of E | 1 to E |
| CV | standard deviation of the loads over their mean | from 0 |
| MaxVio | largest load over the mean load, minus 1 (arXiv 2408.15664) | from 0 |
| dead share | share of the experts that no token chose | 0 to 1 |
| Switch auxiliary loss | E * sum of f * mean probability (arXiv 2101.03961) | 1 at uniform |
"""

from math import comb

import numpy as np

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.experts.routing import Routing
from lazarus_introspect.metrics import Numbers


class ExpertUtilization(Frozen):
    """How evenly the tokens use the experts of one block."""

    layer: int
    tokens: int
    num_experts: int
    experts_per_token: int
    counts: tuple[int, ...]
    """Tokens that use each expert; they sum to tokens * experts_per_token."""
    shares: tuple[float, ...]
    """The same as shares of all choices; they sum to 1."""
    load_balance_score: float
    """0: always the same experts; 1: uniform."""
    load_balance_baseline: float
    """Its expected value if every token chose its experts at random."""
    effective_experts: float
    """exp of the entropy of the shares, in [1, E]."""
    diversity: float
    """`effective_experts` as a share of E."""
    coefficient_of_variation: float
    max_violation: float
    """Largest load over the mean load, minus 1."""
    dead_share: float
    """Share of the experts that no token chose."""
    switch_loss: float
    """The auxiliary loss of Switch transformers, 1 if uniform."""


class RouterEntropy(Frozen):
    """How certain the router of one block is."""

    layer: int
    tokens: int
    mean_entropy: float
    """Mean entropy of the router's distribution over all experts, nats."""
    normalized_entropy: float
    """The same as a share of log E, in [0, 1]; 0 with one expert."""
    weight_entropy: float
    """Mean entropy of the shares of the chosen experts as a share of log k, in [0, 1]; 0 with k = 1."""


def expert_utilization(routing: Routing) -> ExpertUtilization:
    """The balance of one block. n = tokens."""
    experts, k, tokens = routing.num_experts, routing.experts_per_token, len(routing.experts)
    counts = np.bincount(routing.experts.ravel(), minlength=experts)
    shares = counts / counts.sum()
    effective = float(np.exp(_entropy(shares)))
    return ExpertUtilization(
        layer=routing.layer,
        tokens=tokens,
        num_experts=experts,
        experts_per_token=k,
        counts=tuple(counts.tolist()),
        shares=tuple(shares.tolist()),
        load_balance_score=load_balance(shares, k),
        load_balance_baseline=expected_load_balance(tokens, experts, k),
        effective_experts=effective,
        diversity=effective / experts,
        coefficient_of_variation=float(counts.std() / counts.mean()),
        max_violation=float(counts.max() / counts.mean() - 1),
        dead_share=float((counts == 0).mean()),
        switch_loss=float(experts * (shares * routing.probabilities.mean(axis=0)).sum()),
    )


def load_balance(shares: Numbers, k: int) -> float:
    """1 - TVD(shares, uniform) over its largest possible value; 1 if every token uses all experts.

    Args:
        shares: Share of all choices of each expert, (E,).
        k: Experts a token.

    >>> load_balance(np.array([0.5, 0.5, 0, 0]), 2), load_balance(np.full(4, 0.25), 2)
    (0.0, 1.0)
    """
    experts = len(shares)
    if k == experts:
        return 1.0
    distance = np.abs(shares - 1 / experts).sum() / 2
    return float(np.clip(1 - distance / (1 - k / experts), 0, 1))


def expected_load_balance(tokens: int, experts: int, k: int) -> float:
    """The expected `load_balance` if each token chose k of the experts at random, by De Moivre's mean deviation.

    Args:
        tokens: Tokens n.
        experts: Experts E.
        k: Experts a token.

    >>> round(expected_load_balance(100, 8, 2), 3), expected_load_balance(5, 4, 4)
    (0.908, 1.0)
    """
    if k == experts:
        return 1.0
    p = k / experts  # the load of an expert is binomial(tokens, p)
    middle = (tokens * k) // experts + 1
    logs = np.log(float(middle)) + _log_comb(tokens, middle) + middle * np.log(p) + (tokens - middle + 1) * np.log1p(-p)
    deviation = 2 * float(np.exp(logs))
    return float(np.clip(1 - experts * deviation / (tokens * k) / 2 / (1 - p), 0, 1))


def _log_comb(n: int, k: int) -> float:
    return float(
        np.log(np.arange(n - k + 1, n + 1, dtype=float)).sum() - np.log(np.arange(1, k + 1, dtype=float)).sum()
    )


def router_entropy(routing: Routing) -> RouterEntropy:
    """How certain the router of one block is."""
    entropy = _entropies(routing.probabilities)
    weights = np.abs(routing.weights)
    totals = weights.sum(axis=1, keepdims=True)
    shares = np.divide(weights, totals, out=np.full_like(weights, 1 / weights.shape[1]), where=totals > 0)
    return RouterEntropy(
        layer=routing.layer,
        tokens=len(entropy),
        mean_entropy=float(entropy.mean()),
        normalized_entropy=_share(entropy, routing.num_experts),
        weight_entropy=_share(_entropies(shares), routing.experts_per_token),
    )


def _share(entropy: Numbers, count: int) -> float:
    return 0.0 if count == 1 else float(np.clip(entropy.mean() / np.log(count), 0, 1))


def _entropies(probabilities: Numbers) -> Numbers:
    logs = np.log(np.where(probabilities > 0, probabilities, 1))
    return -(probabilities * logs).sum(axis=-1)


def _entropy(shares: Numbers) -> float:
    return float(_entropies(shares))


class Repetition(Frozen):
    """How often neighbouring tokens of a text use the same experts."""

    pairs: int
    """Pairs of neighbours."""
    first: float
    """Share of pairs with the same first choice."""
    first_baseline: float
    """1/E: a random router."""
    first_shuffled: float
    """The mean after shuffling the tokens within each text: what the loads of the experts explain."""
    any: float
    """Share of pairs with a common expert."""
    any_baseline: float
    """1 - C(E-k, k) / C(E, k): a random router."""
    any_shuffled: float
    """The mean after shuffling the tokens within each text."""
    p: float
    """Share of shuffles whose `any` is at least the observed one."""


def repetition(routing: Routing, *, seed: int, permutations: int = 999) -> Repetition | None:
    """How often neighbours use the same experts; None if no text has two tokens.

    Args:
        routing: The routing of a block.
        seed: Random seed of the shuffles, at least 0.
        permutations: Shuffles; the smallest p-value is 1 / (permutations + 1).
    """
    neighbours = np.flatnonzero(routing.rows[1:] == routing.rows[:-1])
    if not len(neighbours):
        return None
    experts, k = routing.num_experts, routing.experts_per_token
    chosen = routing.chosen.astype(bool)
    first = routing.experts[:, 0]

    def figures(order: np.ndarray) -> tuple[float, float]:
        one, two = order[neighbours], order[neighbours + 1]
        return float((first[one] == first[two]).mean()), float((chosen[one] & chosen[two]).any(axis=1).mean())

    observed = figures(np.arange(len(first)))
    rng = np.random.default_rng(seed)
    nulls = np.array([figures(shuffled_within(routing.rows, rng)) for _ in range(permutations)])
    above = int((nulls[:, 1] >= observed[1] - 1e-12).sum())
    return Repetition(
        pairs=len(neighbours),
        first=observed[0],
        first_baseline=1 / experts,
        first_shuffled=float(nulls[:, 0].mean()),
        any=observed[1],
        any_baseline=1 - comb(experts - k, k) / comb(experts, k),
        any_shuffled=float(nulls[:, 1].mean()),
        p=(above + 1) / (permutations + 1),
    )


def shuffled_within(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order of the tokens in which each text keeps its places.

    Args:
        rows: Text of each token, ascending, (n,).
        rng: Random generator.
    """
    return np.lexsort((rng.random(len(rows)), rows))
