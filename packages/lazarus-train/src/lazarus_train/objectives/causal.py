"""Next-token prediction. The one place where labels are shifted.

R = rows, T = tokens a row, L = labels, V = vocabulary

A label is a token that is predicted from the one before it and counts. Where only the places
before labels are asked for their logits, a prompt costs no head and no softmax.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import Any, cast

from jaxtyping import Bool, Float, Int

from lazarus_models.backend import mx, nn


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


def token_nll_keeping(logits: Float[mx.array, "L V"], targets: Int[mx.array, " L"]) -> Float[mx.array, " L"]:
    """`token_nll`, whose backward pass takes the exponentials of the forward pass.

    On a CPU MLX computes exponentials in scalar code, and a second time for the gradient. Kept, they cost no more memory
    than the logits do: 0.6 of the time for 4,096 lines of 8,192, the same bits.
    """
    return cast("tuple[mx.array, ...]", _nll_and_exponentials(logits.astype(mx.float32), targets))[0]


@mx.custom_function
def _nll_and_exponentials(logits: Any, targets: Any) -> Any:
    top = mx.stop_gradient(mx.max(logits, axis=-1, keepdims=True))
    exponentials = mx.exp(logits - top)
    total = exponentials.sum(axis=-1, keepdims=True)
    picked = mx.take_along_axis(logits, targets[:, None], axis=-1)
    return (mx.log(total) + top - picked)[:, 0], exponentials, total


@_nll_and_exponentials.vjp  # pyright: ignore[reportUnknownMemberType, reportUntypedFunctionDecorator] (untyped in MLX)
def _slope(primals: Any, cotangents: Any, outputs: Any) -> Any:
    """D nll / d logits = softmax - one-hot."""
    _, targets = primals
    weight = cotangents[0][:, None]
    _, exponentials, total = outputs
    slope = exponentials * (weight / total)
    at = targets[:, None]
    slope = mx.put_along_axis(slope, at, mx.take_along_axis(slope, at, axis=-1) - weight, axis=-1)
    return slope, mx.zeros_like(targets)
