"""Cross-validated linear probes with their nulls: shuffled labels, a control task, and a bag of tokens.

n = prompts, P = label columns (the true labels first), K = outputs, C = classes

| figure | meaning |
|---|---|
| score | balanced accuracy, or R2 for numbers, of predictions for prompts that the fit did not see |
| shuffled | the score with labels shuffled between prompts of a fold: chance, with this many prompts |
| control | the score with a random label for each token type (control task, Hewitt & Liang 2019, arXiv 1909.03368) |
| selectivity | score - control: what the probe cannot learn by memorising tokens |
| p | share of shuffles that reach the score |
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.probing.folds import group_numbers, grouped_folds, shuffled_rows
from lazarus_introspect.probing.labelled_prompts import LabelledPrompts
from lazarus_introspect.probing.linear import basis, logistic, ridge
from lazarus_introspect.probing.scores import (
    Interval,
    accuracy_interval,
    balanced_accuracy,
    permutation_p,
    r_squared,
    r_squared_interval,
    recalls,
    row_weights,
)
from lazarus_introspect.statistics import sign_flip_p

Numbers = NDArray[np.float64]
Ints = NDArray[np.int64]
Kind = Literal["ridge", "logistic"]
LOGISTIC_PENALTY = 0.1
"""Where none is given, for each feature: standardised features of 100 prompts are then fitted, not memorised."""
_CONTROLS = 20
"""Random labellings of a control task."""


@dataclass(frozen=True)
class Design:
    """Labels, folds and shuffles that all probes of a set of prompts share."""

    groups: Ints
    """Equal prompts have equal groups, (n,)."""
    folds: Ints
    """Fold of each prompt, (n,)."""
    labels: Numbers
    """Columns: the true labels, shuffled ones, control tasks; classes as their numbers, (n, P)."""
    count: int
    """Classes; 0 for numbers."""
    permutations: int
    controls: int
    seed: int

    @property
    def truth(self) -> Ints:
        """The true class of each prompt, (n,)."""
        return self.labels[:, 0].astype(np.int64)


def design(
    labels: LabelledPrompts,
    keys: list[tuple[int, ...]],
    types: list[int],
    *,
    folds: int = 5,
    permutations: int = 200,
    seed: int = 0,
) -> Design:
    """Folds and shuffles of labelled prompts.

    Args:
        labels: The prompts.
        keys: What makes two prompts equal, such as their token ids.
        types: Token type of each prompt, for the control task.
        folds: Number of folds, at least 2.
        permutations: Shuffles of the labels; the smallest p-value is 1 / (permutations + 1).
        seed: Random seed of folds, shuffles and control tasks.

    Raises:
        RequestError: A class has fewer different prompts than folds.
    """
    groups = group_numbers(keys)
    classes, values = labels.classes, labels.values
    of_fold = grouped_folds(groups, classes, folds=folds, seed=seed)
    true = classes.astype(float) if classes is not None else values
    assert true is not None
    shuffled = true[shuffled_rows(groups, of_fold, permutations=permutations, seed=seed)]
    type_of = group_numbers(types)
    rng = np.random.default_rng([seed, 5])
    sources = rng.integers(0, len(true), (int(type_of.max()) + 1, _CONTROLS))
    controls = true[sources][type_of]
    columns = np.concatenate([true[:, None], shuffled, controls], axis=1)
    return Design(groups, of_fold, columns, len(labels.names), permutations, _CONTROLS, seed)


@dataclass(frozen=True)
class ProbeFigures:
    """A probe of one set of features."""

    score: float
    interval: Interval
    shuffled_mean: float
    shuffled_high: float
    """95 % quantile of the shuffled scores."""
    p: float
    control: float
    recalls: tuple[float, ...]
    """Of each class; none for numbers."""
    penalty: float
    """Median over the folds."""
    gains: Numbers
    """For each group, what its prompts add to the score: right predictions, or minus the squared error."""

    @property
    def selectivity(self) -> float:
        """Score minus control."""
        return self.score - self.control


def cross_validate(
    features: Numbers, plan: Design, *, kind: Kind = "ridge", penalty: float | None = None
) -> ProbeFigures:
    """A probe of one set of features.

    Args:
        features: (n, d).
        plan: Labels and folds.
        kind: `ridge` (classes by their largest output), or `logistic` (classes only, one against the rest).
        penalty: L2 penalty as a factor of the number of features; None chooses by leave-one-out within each fold (`ridge`), or
            takes `LOGISTIC_PENALTY`.
    """
    predicted = np.zeros_like(plan.labels)
    means = np.zeros_like(plan.labels)
    penalties: list[float] = []
    for fold in range(int(plan.folds.max()) + 1):
        is_test = plan.folds == fold
        base = basis(features[~is_test], features[is_test])
        train = plan.labels[~is_test]
        if plan.count == 0:
            fit = ridge(base, train[..., None], penalty)
            predicted[is_test] = fit.test[..., 0]
            means[is_test] = train.mean(axis=0)
            penalties.append(float(fit.penalty[0]))
        elif kind == "ridge":
            fit = ridge(base, coded(train, plan.count), penalty)
            predicted[is_test] = chosen_classes(fit.test, fit.held_out, train, plan.count)
            penalties.append(float(fit.penalty[0]))
        else:
            strength = LOGISTIC_PENALTY if penalty is None else penalty
            for column in range(train.shape[1]):
                odds = [logistic(base, train[:, column] == each, strength)[0] for each in _against(plan.count)]
                best = odds[0] > 0 if plan.count == 2 else np.argmax(odds, axis=0)
                predicted[is_test, column] = best
            penalties.append(strength)
    return _figures(plan, predicted, means, float(np.median(penalties)))


def _against(count: int) -> range:
    """The classes that are fitted against the rest; of two, the second."""
    return range(1, 2) if count == 2 else range(count)


def coded(labels: Numbers, count: int) -> Numbers:
    """Classes as targets of a regression: 1 for the class and -1 for others, (n, P, K); of two classes the second only.

    Args:
        labels: Classes, (n, P).
        count: Classes C.
    """
    return np.where(labels[..., None] == np.array(_against(count)), 1.0, -1.0)


def chosen_classes(outputs: Numbers, held_out: Numbers, labels: Numbers, count: int) -> Ints:
    """The class with the largest output above its threshold, the middle between the class and the rest in training.

    So a rare class is not overruled by frequent ones.

    Args:
        outputs: Outputs of the test rows, (m, P, K).
        held_out: Outputs of the training rows by fits without them, (n, P, K).
        labels: Classes of the training rows, (n, P).
        count: Classes C.
    """
    is_own = labels[..., None] == np.array(_against(count))  # (n, P, K)
    with np.errstate(invalid="ignore"):
        inside = (held_out * is_own).sum(axis=0) / is_own.sum(axis=0)
        outside = (held_out * ~is_own).sum(axis=0) / (~is_own).sum(axis=0)
    threshold = np.nan_to_num((inside + outside) / 2, nan=np.inf)  # a class that is absent is not chosen
    above = outputs - threshold
    return (above[..., 0] > 0).astype(np.int64) if count == 2 else above.argmax(axis=-1)


def _figures(plan: Design, predicted: Numbers, means: Numbers, penalty: float) -> ProbeFigures:
    weights = row_weights(plan.groups)
    own: tuple[float, ...] = ()
    if plan.count:
        classes, found = plan.labels.astype(np.int64), predicted.astype(np.int64)
        scores = balanced_accuracy(classes, found, weights, plan.count)
        own = tuple(float(each) for each in recalls(classes[:, 0], found[:, 0], weights, plan.count))
        interval = accuracy_interval(classes[:, 0], found[:, 0], weights, plan.count, seed=plan.seed)
        of_class = np.bincount(plan.truth, weights, plan.count)
        row_gain = (classes[:, 0] == found[:, 0]) / (plan.count * of_class[plan.truth])
    else:
        scores = r_squared(plan.labels, predicted, means, weights)
        interval = r_squared_interval(plan.labels[:, 0], predicted[:, 0], means[:, 0], plan.groups, seed=plan.seed)
        row_gain = -((plan.labels[:, 0] - predicted[:, 0]) ** 2)
    shuffled = scores[1 : 1 + plan.permutations]
    return ProbeFigures(
        score=float(scores[0]),
        interval=interval,
        shuffled_mean=float(shuffled.mean()),
        shuffled_high=float(np.quantile(shuffled, 0.95)),
        p=permutation_p(float(scores[0]), shuffled),
        control=float(np.mean(scores[1 + plan.permutations :])),
        recalls=own,
        penalty=penalty,
        gains=np.bincount(plan.groups, weights * row_gain).astype(np.float64),
    )


def better_p(mine: ProbeFigures, other: ProbeFigures, *, seed: int) -> float:
    """p-value of the hypothesis that a probe is no better than another one of the same prompts (sign flips of groups).

    Args:
        mine: The probe.
        other: The other probe.
        seed: Random seed.
    """
    return float(sign_flip_p((mine.gains - other.gains)[:, None], seed=seed, permutations=4000)[0])
