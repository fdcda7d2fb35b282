"""Folds of cross-validation in which equal prompts are never separated, and labels shuffled within folds."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.errors import RequestError

Ints = NDArray[np.int64]


def group_numbers(keys: Sequence[Hashable]) -> Ints:
    """A number for each distinct key, in the order of first appearance.

    >>> group_numbers(["a", "b", "a"]).tolist()
    [0, 1, 0]
    """
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], np.int64)


def first_rows(groups: Ints) -> Ints:
    """The first row of each group."""
    return np.unique(groups, return_index=True)[1]


def grouped_folds(groups: Ints, classes: Ints | None, *, folds: int, seed: int) -> Ints:
    """The fold of each row: groups stay whole, and each class is spread evenly.

    Args:
        groups: Group of each row, as `group_numbers` gives it, (n,).
        classes: Class of each row, from 0, (n,); None for numeric labels. A group counts by its first row.
        folds: Number of folds, at least 2.
        seed: Random seed of the deal.

    Raises:
        RequestError: A class has fewer groups than folds.
    """
    first = first_rows(groups)
    kinds = np.zeros(len(first), np.int64) if classes is None else classes[first]
    sizes = np.bincount(groups)
    for kind in np.unique(kinds) if classes is None else range(int(classes.max()) + 1):
        if (found := int((kinds == kind).sum())) < folds:
            what = "" if classes is None else f" in class {kind + 1} of {int(classes.max()) + 1}"
            raise RequestError(
                f"{found} different prompts{what}, but {folds} folds need {folds}: give more prompts", "LI-E081"
            )
    order = np.random.default_rng([seed, 1]).permutation(len(first))
    order = order[np.argsort(-sizes[order], kind="stable")]
    of_group = np.zeros(len(first), np.int64)
    of_kind = np.zeros((int(kinds.max()) + 1, folds), np.int64)
    for group in order:
        rows = of_kind[kinds[group]]
        fold = min(range(folds), key=lambda each, rows=rows: (rows[each], of_kind[:, each].sum(), each))
        of_group[group] = fold
        rows[fold] += sizes[group]
    return of_group[groups]


def shuffled_rows(groups: Ints, folds: Ints, *, permutations: int, seed: int) -> Ints:
    """Rows from which shuffled labels are taken, (n, permutations): groups swap labels within their fold.

    Every shuffle keeps the labels of each fold, so under the null hypothesis all orders are equally likely.

    Args:
        groups: Group of each row, (n,).
        folds: Fold of each row, (n,).
        permutations: Number of shuffles.
        seed: Random seed.
    """
    rng = np.random.default_rng([seed, 2])
    first = first_rows(groups)
    fold_of = folds[first]
    source = np.empty((permutations, len(first)), np.int64)
    for fold in np.unique(fold_of):
        members = np.flatnonzero(fold_of == fold)
        source[:, members] = rng.permuted(np.tile(members, (permutations, 1)), axis=1)
    return first[source][:, groups].T
