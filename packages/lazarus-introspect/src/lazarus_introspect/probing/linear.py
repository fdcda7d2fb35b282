"""Linear models in closed form: ridge with its penalty chosen by leave-one-out, and logistic regression by Newton's method.

n = rows of training, m = rows of a test, d = features, R = rank, P = problems that share the features, K = outputs a problem

Features are standardised with the mean and deviation of the training rows; constant ones are dropped. Everything is computed
in the R <= min(n, d) directions that the training rows span, so a wide model costs no more than a narrow one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

PENALTIES = tuple(10.0**power for power in range(-3, 4))
"""Choices of the penalty for each feature: from nearly none to nearly constant predictions."""
_NEWTON_STEPS = 100
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Basis:
    """Standardised training rows as u * s, and test rows in the same directions."""

    u: Numbers
    """Orthonormal columns, (n, R)."""
    s: Numbers
    """Singular values, (R,)."""
    test: Numbers
    """Test rows in the directions of the training rows, (m, R); a test row equal to training row i is u[i] * s."""
    back: Numbers
    """From directions to original features, (R, d): weights w there are w @ back."""
    features: int
    """Features that vary in training."""
    mean: Numbers
    """Mean of each original feature, (d,)."""


def basis(train: Numbers, test: Numbers) -> Basis:
    """The directions of standardised training rows.

    Args:
        train: Features, (n, d).
        test: Features, (m, d).
    """
    mean, spread = train.mean(axis=0), train.std(axis=0)
    varies = spread > 1e-9 * np.maximum(1e-30, np.abs(train).max(axis=0, initial=0))
    scale = np.where(varies, spread, 1.0)
    x, y = ((each - mean)[:, varies] / scale[varies] for each in (train, test))
    if not varies.any():
        return Basis(
            np.zeros((len(train), 0)), np.zeros(0), np.zeros((len(test), 0)), np.zeros((0, train.shape[1])), 0, mean
        )
    if x.shape[1] <= len(x):
        values, right = np.linalg.eigh(x.T @ x)
        s = np.sqrt(np.maximum(values, 0))
        keep = s > 1e-7 * s.max()
        s, right = s[keep], right[:, keep]
        u = x @ right / s
    else:
        values, left = np.linalg.eigh(x @ x.T)
        s = np.sqrt(np.maximum(values, 0))
        keep = s > 1e-7 * s.max()
        s, u = s[keep], left[:, keep]
        right = x.T @ u / s
    back = np.zeros((len(s), train.shape[1]))
    back[:, varies] = (right / scale[varies, None]).T
    return Basis(u, s, y @ right, back, int(varies.sum()), mean)


@dataclass(frozen=True)
class RidgeFit:
    """Predictions of several problems that share their features."""

    test: Numbers
    """(m, P, K)."""
    held_out: Numbers
    """Prediction of each training row by a fit without it, (n, P, K)."""
    penalty: Numbers
    """The penalty that each problem took, as a factor of the number of features, (P,)."""
    weights: Numbers
    """Weights of the original features, (P, K, d); they are computed for one problem only, else empty."""


def ridge(base: Basis, targets: Numbers, penalty: float | None = None) -> RidgeFit:
    """Ridge regression with an intercept; the loss is |y - x w|^2 + penalty d |w|^2.

    Args:
        base: Directions of the training rows, and test rows.
        targets: Targets, (n, P, K).
        penalty: Factor of the number of features; None chooses from `PENALTIES` for each problem the one with the smallest
            leave-one-out error.
    """
    n, problems, outputs = targets.shape
    flat = targets.reshape(n, -1)
    mean = flat.mean(axis=0)
    centred = flat - mean
    inner = base.u.T @ centred  # (R, P K)
    best = np.full(problems, np.inf)
    chosen = np.zeros(problems)
    for factor in PENALTIES if penalty is None else (penalty,):
        shrink, left = _shrinking(base, factor)
        error = base.u @ (shrink[:, None] * inner)
        error -= centred
        error /= left
        total = np.einsum("ij,ij->j", error, error).reshape(problems, outputs).sum(axis=1)
        better = total < best
        best[better], chosen[better] = total[better], factor
    test = np.zeros((len(base.test), problems, outputs))
    held_out = np.zeros((n, problems, outputs))
    weights = np.zeros((1 if problems == 1 else 0, outputs, base.back.shape[1]))
    for factor in np.unique(chosen):
        own = chosen == factor
        columns = np.repeat(own, outputs)
        shrink, left = _shrinking(base, float(factor))
        w = shrink[:, None] * inner[:, columns]  # times 1 / s it is the weights in the directions
        residual = (centred[:, columns] - base.u @ w) / left
        held_out[:, own] = (flat[:, columns] - residual).reshape(n, -1, outputs)
        w = w / base.s[:, None]
        test[:, own] = (mean[columns] + base.test @ w).reshape(len(test), -1, outputs)
        if problems == 1:
            weights = (w.T @ base.back)[None]
    return RidgeFit(test, held_out, chosen, weights)


def _shrinking(base: Basis, factor: float) -> tuple[Numbers, Numbers]:
    """The factor of each direction, (R,), and 1 - the leverage of each row, (n, 1)."""
    shrink = base.s**2 / (base.s**2 + factor * max(base.features, 1))
    leverage = 1 / len(base.u) + (base.u**2) @ shrink
    return shrink, np.maximum(1 - leverage, 1e-12)[:, None]


def logistic(base: Basis, is_positive: NDArray[np.bool_], penalty: float) -> tuple[Numbers, Numbers]:
    """Logistic regression of two classes that weigh the same, by Newton's method.

    The loss is the sum of n / (2 n_c) times the log loss of each row, plus penalty d |w|^2 / 2; the intercept is free.

    Args:
        base: Directions of the training rows, and test rows.
        is_positive: Class of each training row, (n,).
        penalty: Factor of the number of features, above 0.

    Returns:
        Log-odds of the test rows, (m,), and weights of the original features, (d,).
    """
    n = len(is_positive)
    y = is_positive.astype(float)
    counts = np.maximum(np.array([n - y.sum(), y.sum()]), 1)
    weight = n / (2 * counts[is_positive.astype(int)])
    x = np.column_stack([base.u * base.s, np.ones(n)])
    strength = np.full(x.shape[1], penalty * max(base.features, 1))
    strength[-1] = 0.0
    w = np.zeros(x.shape[1])

    def loss(w: Numbers) -> float:
        z = x @ w
        return float((weight * (np.logaddexp(0, z) - y * z)).sum() + (strength * w * w).sum() / 2)

    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -500, 500)))
        gradient = x.T @ (weight * (p - y)) + strength * w
        hessian = (x.T * (weight * np.maximum(p * (1 - p), 1e-12))) @ x + np.diag(strength)
        step = np.linalg.solve(hessian, gradient)
        size, before = 1.0, loss(w)
        while loss(w - size * step) > before and size > 1e-6:
            size /= 2
        w = w - size * step
        if np.abs(size * step).max() < _TOLERANCE:
            break
    return np.column_stack([base.test, np.ones(len(base.test))]) @ w, w[:-1] @ base.back
