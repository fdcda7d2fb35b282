"""Probes of a grid of states for the value and the identity of its first operand, at other operands than they were fitted to.

A, B = values of the operands, d = features, P = problems
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.probing.linear import basis, ridge

Numbers = NDArray[np.float64]
_VALUE_FOLDS = 4


def _halves(count: int) -> list[NDArray[np.bool_]]:
    """Values of the other operand, split into every second one and the rest."""
    even = np.arange(count) % 2 == 0
    return [even, ~even]


def value_probe(states: Numbers, labels: Numbers) -> tuple[Numbers, Numbers]:
    """R2 of value probes at unseen values and unseen other operands, (P,), and the squared errors of each value, (A, P).

    Args:
        states: (A, B, d).
        labels: Value of each first operand, for each problem, (A, P).
    """
    errors, totals = np.zeros_like(labels), np.zeros_like(labels)
    count, width = states.shape[1], states.shape[2]
    for fold in range(_VALUE_FOLDS):
        is_new = np.arange(len(labels)) % _VALUE_FOLDS == fold
        for is_trained in _halves(count):
            train, test = states[~is_new][:, is_trained], states[is_new][:, ~is_trained]
            base = basis(train.reshape(-1, width), test.reshape(-1, width))
            target = np.repeat(labels[~is_new], train.shape[1], axis=0)
            predicted = ridge(base, target[..., None]).test[..., 0].reshape(test.shape[0], test.shape[1], -1)
            errors[is_new] += ((predicted - labels[is_new][:, None]) ** 2).mean(axis=1)
            totals[is_new] += (labels[~is_new].mean(axis=0) - labels[is_new]) ** 2
    return 1 - errors.sum(axis=0) / totals.sum(axis=0), errors


def identity_probe(states: Numbers) -> float:
    """The accuracy of a probe for which value it is, trained at half of the other operands and tested at the rest."""
    right: list[float] = []
    side = len(states)
    for is_trained in _halves(states.shape[1]):
        train, test = states[:, is_trained], states[:, ~is_trained]
        base = basis(train.reshape(-1, states.shape[2]), test.reshape(-1, states.shape[2]))
        target = np.repeat(2 * np.eye(side) - 1, train.shape[1], axis=0)[:, None]
        found = ridge(base, target).test[:, 0].argmax(axis=1)
        right.append(float((found == np.repeat(np.arange(side), test.shape[1])).mean()))
    return float(np.mean(right))


def one_hot_tokens(rows: Sequence[Sequence[int]]) -> Numbers:
    """Which token is at each position, counted from the start and from the end, (n, V).

    Args:
        rows: Token ids of each prompt.
    """
    sets = [
        {
            *((place, token) for place, token in enumerate(row)),
            *((place - len(row), token) for place, token in enumerate(row)),
        }
        for row in rows
    ]
    known = {each: number for number, each in enumerate(sorted({each for own in sets for each in own}))}
    found = np.zeros((len(rows), len(known)))
    for number, own in enumerate(sets):
        found[number, [known[each] for each in own]] = 1
    return found
