"""Next-token prediction. The one place where labels are shifted.

R = rows, T = tokens a row, L = labels, V = vocabulary

A label is a token that is predicted from the one before it and counts. Where only the places
before labels are asked for their logits, a prompt costs no head and no softmax.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from lazarus_models.backend import mx, nn
from lazarus_models.ops import flat_view, fresh, view

_BLOCK = 2**17
"""Logits computed at once: they stay in a core's cache."""


def causal_nll(
    logits: Float[mx.array, "R T V"], ids: Int[mx.array, "R T"], is_label: Bool[mx.array, "R T"]
) -> Float[mx.array, ""]:
    """Sum of -log p(token | tokens before it), in nats, over the tokens that are labels.

    A sum, not a mean: the caller divides by the labels of the whole optimizer step, so that micro-batches and ranks
    weigh tokens alike.

    Args:
        logits: Of the model at every position.
        ids: What the model was given.
        is_label: Whether each token counts; the first of a row never does.
    """
    nll = token_nll(logits[:, :-1], ids[:, 1:])
    return mx.where(is_label[:, 1:], nll, 0.0).sum()


def before_labels(places: Int[mx.array, " L"]) -> Int[mx.array, " L"]:
    """Where labels are predicted, of where they stand: `causal_nll`'s shift, for places counted through the rows."""
    return places - 1


def token_nll(logits: Float[mx.array, "*L V"], targets: Int[mx.array, "*L"]) -> Float[mx.array, "*L"]:
    """-log softmax(logits)[target] of each line, in nats, by MLX's own operations: fused where there is a kernel."""
    return nn.losses.cross_entropy(logits.astype(mx.float32), targets)


def token_nll_in_place(logits: Float[mx.array, "L V"], targets: Int[mx.array, " L"]) -> Float[mx.array, " L"]:
    """`token_nll` on a CPU, by vectors, in the memory of the logits: they are overwritten, by their exponentials in the forward
    pass and by their gradient in the backward pass.

    4,096 lines of 8,192: 0.2 of the time and a third of the memory that MLX's own operations take, which compute exponentials in
    scalar code, for the forward and for the backward pass.
    """
    return cast("tuple[mx.array, ...]", _nll_in_place(logits.astype(mx.float32), targets))[0]


@mx.custom_function
@np.errstate(all="ignore")  # what is not finite tells itself by the loss
def _nll_in_place(logits: Any, targets: Any) -> Any:
    lines, ids = flat_view(logits, "logits").reshape(logits.shape), np.asarray(targets)
    nll, totals = np.empty(len(lines), dtype=np.float32), np.empty(len(lines), dtype=np.float32)
    count = max(1, _BLOCK // lines.shape[1])
    for first in range(0, len(lines), count):
        block = slice(first, first + count)
        part, total = lines[block], totals[block]
        picked = part[np.arange(len(part)), ids[block]]
        top = part.max(axis=-1)
        np.exp(np.subtract(part, top[:, None], out=part), out=part)
        part.sum(axis=-1, out=total)
        np.subtract(np.log(total) + top, picked, out=nll[block])
    return fresh(nll), fresh(totals)


@_nll_in_place.vjp  # pyright: ignore[reportUnknownMemberType, reportUntypedFunctionDecorator] (untyped in MLX)
@np.errstate(all="ignore")
def _slope(primals: Any, cotangents: Any, outputs: Any) -> Any:
    """D nll / d logits = softmax - one-hot."""
    logits, targets = primals
    lines, weight = flat_view(logits, "logits").reshape(logits.shape), view(cotangents[0])
    np.multiply(lines, (weight / view(outputs[1]))[:, None], out=lines)
    lines[np.arange(len(lines)), np.asarray(targets)] -= weight
    return logits, mx.zeros_like(targets)
