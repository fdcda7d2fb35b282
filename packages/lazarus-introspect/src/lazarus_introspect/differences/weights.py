"""Differences of the weights of two models, tensor by tensor.

R, C = rows and columns of a tensor as a matrix (leading axes are rows), s = singular values of the difference

| figure | definition |
|---|---|
| relative | Frobenius norm of the difference over that of the first tensor |
| cosine | of both tensors as vectors |
| top share | share of the squared singular values that the largest one, or the largest eight, have |
| effective rank | exp of the entropy of s^2 over their sum: 1 for a rank-one difference, near min(R, C) for noise |

Singular values come from the eigenvalues of the smaller Gram matrix, so the cost of a tensor is R * C * min(R, C) products.
"""

import itertools
from dataclasses import dataclass
from math import exp
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.differences.tensors import effective_tensors
from lazarus_introspect.errors import RequestError
from lazarus_introspect.metrics import Numbers
from lazarus_models.backend import mx

Singles = NDArray[np.float32]
_PART = 1 << 22
"""Numbers of a tensor that are in float64 at a time: 32 MB."""


class TensorDifference(Frozen):
    """The difference of one tensor."""

    name: str
    shape: tuple[int, ...]
    is_unchanged: bool
    """Whether all values are equal."""
    relative: float | None
    """None if the first tensor is zero."""
    cosine: float | None
    """None if a tensor is zero."""
    largest: float
    """Largest absolute difference of a value."""
    top_share: float | None
    """Share of the largest singular value in the squared difference; None for vectors and unchanged tensors."""
    top_eight_share: float | None
    """The same of the largest eight."""
    effective_rank: float | None
    """Of the difference, in [1, min(R, C)]."""
    norm: float
    """Frobenius norm of the first tensor."""
    difference_norm: float
    """Frobenius norm of the difference."""

    @property
    def layer(self) -> int | None:
        """The block; None for tensors outside of blocks."""
        parts = self.name.split(".")
        numbers_in = [
            int(part) for before, part in itertools.pairwise(parts) if before == "layers" and part.isdecimal()
        ]
        return numbers_in[0] if numbers_in else None


@dataclass(frozen=True)
class WeightDifference:
    """The differences of two models."""

    tensors: tuple[TensorDifference, ...]
    """Tensors of both models with equal shapes, sorted by name."""
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    other_shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    """Tensors of both models with different shapes."""

    @property
    def relative(self) -> float | None:
        """Norm of all differences over the norm of the first model's tensors."""
        norm = float(np.sqrt(sum(each.norm**2 for each in self.tensors)))
        return None if norm == 0 else float(np.sqrt(sum(each.difference_norm**2 for each in self.tensors))) / norm


def weight_diff(first: Any, second: Any, *, has_spectrum: bool = True) -> WeightDifference:
    """Compares the tensors of two models as they compute: quantized ones as floats, adapters added.

    Args:
        first: What `lazarus_models.load` returns, or its `model`.
        second: The other model.
        has_spectrum: Whether singular values of the differences are computed.

    Raises:
        RequestError: No tensor has the same name and shape in both.
    """
    one, two = effective_tensors(first), effective_tensors(second)
    found: list[TensorDifference] = []
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for name in sorted(one.keys() & two.keys()):
        before, after = _array(one[name]()), _array(two[name]())
        if before.shape != after.shape:
            shapes[name] = (before.shape, after.shape)
        else:
            found.append(tensor_difference(name, before, after, has_spectrum=has_spectrum))
    if not found:
        raise RequestError(
            "no tensor has the same name and shape in both models; give two models of one family", "LI-E170"
        )
    return WeightDifference(
        tensors=tuple(found),
        only_first=tuple(sorted(one.keys() - two.keys())),
        only_second=tuple(sorted(two.keys() - one.keys())),
        other_shapes=shapes,
    )


def tensor_difference(
    name: str, before: Singles | Numbers, after: Singles | Numbers, *, has_spectrum: bool = True
) -> TensorDifference:
    """The difference of one tensor.

    Args:
        name: Its name.
        before: The first tensor, an array.
        after: The second, of the same shape.
        has_spectrum: Whether singular values are computed.
    """
    sums = _Sums(before, after, has_spectrum=has_spectrum and before.ndim > 1)
    norms = [float(np.sqrt(each)) for each in (sums.before, sums.after, sums.change)]
    is_unchanged = sums.change == 0 and sums.largest == 0
    spectrum = None if sums.gram is None or is_unchanged else np.maximum(np.linalg.eigvalsh(sums.gram)[::-1], 0)
    cosine = None
    if norms[0] > 0 and norms[1] > 0:
        cosine = 1.0 if is_unchanged else float(np.clip(sums.product / norms[0] / norms[1], -1, 1))
    shares = None if spectrum is None or not spectrum.any() else spectrum / spectrum.sum()
    return TensorDifference(
        name=name,
        shape=before.shape,
        is_unchanged=is_unchanged,
        relative=None if norms[0] == 0 else norms[2] / norms[0],
        cosine=cosine,
        largest=sums.largest,
        top_share=None if shares is None else float(shares[0]),
        top_eight_share=None if shares is None else float(shares[:8].sum()),
        effective_rank=None if shares is None else effective_rank(shares),
        norm=norms[0],
        difference_norm=norms[2],
    )


def _array(tensor: mx.array) -> Singles:
    return cast("Singles", np.array(tensor.astype(mx.float32)))


class _Sums:
    """Sums over two tensors, part by part in float64, so that memory has only one part twice as wide."""

    def __init__(self, before: Singles | Numbers, after: Singles | Numbers, *, has_spectrum: bool) -> None:
        matrices: list[Singles | Numbers] = [
            each.reshape(-1, each.shape[-1]) if each.ndim > 1 else each.reshape(1, -1) for each in (before, after)
        ]
        if matrices[0].shape[0] < matrices[0].shape[1]:
            matrices: list[Singles | Numbers] = [each.T for each in matrices]
        rows, columns = matrices[0].shape
        self.before = self.after = self.change = self.product = self.largest = 0.0
        self.gram = np.zeros((columns, columns)) if has_spectrum else None
        """The smaller Gram matrix of the difference."""
        step = max(1, _PART // max(columns, 1))
        for start in range(0, rows, step):
            one, two = (each[start : start + step].astype(np.float64) for each in matrices)
            change = two - one
            self.before += float((one * one).sum())
            self.after += float((two * two).sum())
            self.product += float((one * two).sum())
            self.change += float((change * change).sum())
            if change.size:
                self.largest = max(self.largest, float(change.max()), -float(change.min()))
            if self.gram is not None:
                self.gram += change.T @ change


def effective_rank(shares: Numbers) -> float:
    """Exp of the entropy of shares that sum to 1.

    >>> effective_rank(np.array([0.5, 0.5, 0.0]))
    2.0
    """
    logs = np.log(np.where(shares > 0, shares, 1))
    return round(exp(-float((shares * logs).sum())), 12)
