"""Next-token prediction. The one place where labels are shifted.

R = rows, T = tokens a row, V = vocabulary
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
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
    nll = nn.losses.cross_entropy(logits[:, :-1].astype(mx.float32), ids[:, 1:])
    return mx.where(is_label[:, 1:], nll, 0.0).sum()
