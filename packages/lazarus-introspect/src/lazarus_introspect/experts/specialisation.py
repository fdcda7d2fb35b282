"""Specialisation: do experts prefer the texts of one label, or certain tokens, more than chance?

n = tokens, E = experts, k = experts a token, S = texts, C = labels, N_ic = tokens of label c that use expert i

| question | statistic | null |
|---|---|---|
| labels | T_ic = N_ic - (rate of i) * N_c | labels shuffled over whole texts, because tokens of one text are not independent |
| tokens | N_ix for token x | tokens shuffled within each text |

p-values of one block are corrected together (Benjamini-Hochberg). A label or token is tested only if it has enough support.
These nulls hold for the choice of labels, not for the router: a random router, too, sends equal tokens to equal experts, so
it prefers a label whose tokens are special. `lazarus_introspect.experts.random_routers` compares with such routers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lazarus_introspect.experts.balance import shuffled_within
from lazarus_introspect.experts.joint_use import information_share
from lazarus_introspect.experts.routing import Integers, Routing
from lazarus_introspect.metrics import Numbers
from lazarus_introspect.statistics import benjamini_hochberg

_CHUNK = 500
"""Permutations computed at a time."""


@dataclass(frozen=True)
class LabelTest:
    """Experts against labels; every array is (E, C)."""

    counts: Integers
    """N_ic."""
    rates: Numbers
    """Share of the label's tokens that use the expert; k/E if all experts were equal."""
    lift: Numbers
    """The rate over the expert's rate in all texts; 1 is no preference, 0 for an unused expert."""
    p: Numbers
    """One-sided p-value of a preference; 1 without support."""
    q: Numbers
    """p corrected for all tests of the block."""
    information: float
    """Mutual information of choice and label as a share of the entropy of the labels, in [0, 1]."""


def label_information(counts: Numbers, members: Numbers) -> Numbers:
    """How much the use of an expert tells about a label, nats, (E, C): 0 if the label uses the expert less than others.

    The mutual information of two yes-or-no facts of a token: whether it uses the expert, and whether its text has the label.
    It is the effect size by which routers are compared; a statistic in standard deviations would saturate.

    Args:
        counts: Tokens of each text that use each expert, with the text's length in the last column, (S, E + 1).
        members: 1 where a text has a label, else 0, (S, C).
    """
    lengths = counts[:, -1]
    total, sizes = lengths.sum(), lengths @ members  # n, (C,)
    inside, used = counts[:, :-1].T @ members, counts[:, :-1].sum(axis=0)[:, None]
    outside = used - inside
    with_label, without = inside / sizes, outside / np.maximum(total - sizes, 1)
    within = (sizes * _binary_entropy(with_label) + (total - sizes) * _binary_entropy(without)) / total
    return np.where(with_label > without, np.maximum(_binary_entropy(used / total) - within, 0), 0)


def text_counts(chosen: Numbers, rows: Integers) -> Numbers:
    """Tokens of each text that use each expert, with the text's length in the last column, (S, E + 1).

    Args:
        chosen: 1 where a token uses an expert, (n, E).
        rows: Text of each token, (n,).
    """
    return sums_by(np.concatenate([chosen, np.ones((len(chosen), 1))], axis=1), rows)


def sums_by(values: Numbers, groups: Integers) -> Numbers:
    """Sums of the rows of each group, (G, ...).

    Args:
        values: One row a member, (n, ...).
        groups: Group of each member: every number from 0 to G - 1 occurs, (n,).

    >>> sums_by(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1])).tolist()
    [[2.0], [5.0]]
    """
    order = np.argsort(groups, kind="stable")
    starts = np.cumsum(np.bincount(groups)) - np.bincount(groups)
    return np.add.reduceat(values[order], starts, axis=0)


def membership(labels: Sequence[str]) -> tuple[list[str], Numbers]:
    """The sorted names of labels, and 1 where a text has a label, (S, C)."""
    names = sorted(set(labels))
    return names, np.array([[float(label == name) for name in names] for label in labels])


def label_test(
    routing: Routing, labels: Sequence[str], *, min_support: int = 20, seed: int = 0, permutations: int = 10_000
) -> LabelTest:
    """Tests whether experts prefer labels.

    Args:
        routing: The routing of the texts in one block.
        labels: Label of each text.
        min_support: Choices that an expert needs in all texts together.
        seed: Random seed of the permutations, at least 0.
        permutations: Shuffles of the labels; the smallest p-value is 1 / (permutations + 1).
    """
    counts = text_counts(routing.chosen, routing.rows)
    _, members = membership(labels)
    used, sizes = counts[:, :-1].sum(axis=0), counts[:, -1] @ members
    found = counts[:, :-1].T @ members  # (E, C)
    rates = found / sizes
    rng = np.random.default_rng(seed)
    rest = counts[:, :-1] - counts[:, -1:] * (used / counts[:, -1].sum())  # uses above the overall rate, (S, E)
    observed, above = rest.T @ members, np.zeros(found.shape)
    flat = members.argmax(axis=1)
    for start in range(0, permutations, _CHUNK):
        size = min(_CHUNK, permutations - start)
        shuffled = rng.permuted(np.broadcast_to(flat, (size, len(flat))), axis=1)
        for label in range(members.shape[1]):
            sums = (shuffled == label).astype(np.float64) @ rest  # (size, E)
            above[:, label] += (sums >= observed[:, label] - 1e-9).sum(axis=0)
    p = (above + 1) / (permutations + 1)
    tested = used >= min_support
    p[~tested] = 1
    q = np.ones_like(p)
    if tested.any():
        q[tested] = benjamini_hochberg(p[tested])
    overall = used / counts[:, -1].sum()
    lift = np.divide(rates, overall[:, None], out=np.zeros_like(rates), where=overall[:, None] > 0)
    return LabelTest(found.astype(np.int64), rates, lift, p, q, information_share(found))


@dataclass(frozen=True)
class TokenPreference:
    """A token that an expert receives more often than chance."""

    token: int
    """Its id."""
    count: int
    """Times that the token uses the expert, N_ix."""
    support: int
    """Times that the token occurs, N_x."""
    rate: float
    """N_ix / N_x."""
    lift: float
    """The rate over the expert's rate in all tokens."""
    p: float
    q: float
    """p corrected for all tests of the block."""


def token_test(
    routing: Routing, *, min_support: int = 5, seed: int = 0, permutations: int = 2_000
) -> list[list[TokenPreference]]:
    """The tokens that each expert receives, tested against tokens shuffled within each text.

    Args:
        routing: The routing of the texts in one block.
        min_support: Times that a token must occur.
        seed: Random seed of the permutations, at least 0.
        permutations: Shuffles; the smallest p-value is 1 / (permutations + 1).

    Returns:
        For each expert its tokens with at least one use, by descending count above expectation.
    """
    names, index = np.unique(routing.tokens, return_inverse=True)
    chosen, size = routing.chosen, len(names)
    support = np.bincount(index, minlength=size)
    places, experts = np.nonzero(chosen)
    shape = (size, routing.num_experts)

    def crossed(tokens: Integers) -> Numbers:
        flat = np.bincount(tokens[places] * shape[1] + experts, minlength=shape[0] * shape[1])
        return flat.reshape(shape).astype(np.float64)

    observed, above = crossed(index), np.zeros(shape)
    rng = np.random.default_rng(seed)
    for _ in range(permutations):
        above += crossed(index[shuffled_within(routing.rows, rng)]) >= observed
    p = (above + 1) / (permutations + 1)
    tested = support >= min_support
    q = np.ones(shape)
    if tested.any():
        q[tested] = benjamini_hochberg(p[tested])
    overall = chosen.mean(axis=0)
    found: list[list[TokenPreference]] = []
    for expert in range(shape[1]):
        excess = observed[:, expert] - support * overall[expert]
        order = [place for place in np.argsort(-excess, kind="stable") if tested[place] and observed[place, expert]]
        found.append(
            [
                TokenPreference(
                    token=int(names[place]),
                    count=int(observed[place, expert]),
                    support=int(support[place]),
                    rate=float(observed[place, expert] / support[place]),
                    lift=float(observed[place, expert] / support[place] / overall[expert]),
                    p=float(p[place, expert]),
                    q=float(q[place, expert]),
                )
                for place in order
            ]
        )
    return found


def token_information(chosen: Numbers, tokens: Integers) -> Numbers:
    """For each expert the mutual information of its use and the token, as a share of the entropy of its use, (E,).

    Args:
        chosen: 1 where a token uses an expert, (n, E).
        tokens: Token ids, (n,).
    """
    _, index = np.unique(tokens, return_inverse=True)
    support = np.bincount(index).astype(np.float64)
    rate = sums_by(chosen, index.astype(np.int64)) / support[:, None]
    inside = (support[:, None] * _binary_entropy(rate)).sum(axis=0) / support.sum()
    whole = _binary_entropy(chosen.mean(axis=0))
    return np.where(whole > 1e-12, 1 - inside / np.maximum(whole, 1e-12), 0.0)


def _binary_entropy(rate: Numbers) -> Numbers:
    both = np.stack([rate, 1 - rate])
    return -(both * np.log(np.where(both > 0, both, 1))).sum(axis=0)
