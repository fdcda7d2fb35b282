"""Figures that interventions are measured by, from logits of one position.

B = rows, V = vocabulary
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lazarus_models.backend import mx

Numbers = NDArray[np.float64]


def numbers(x: mx.array) -> Numbers:
    """An array as float64 in NumPy."""
    return np.array(x.astype(mx.float32)).astype(np.float64)


def log_softmax(logits: Numbers) -> Numbers:
    """The logarithm of the softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def logit_difference(logits: Float[mx.array, "B V"], positive: int, negative: int) -> Float[mx.array, " B"]:
    """logit[positive] - logit[negative] of each row.

    Args:
        logits: Logits of one position, float, (B, V).
        positive: Token whose logit counts.
        negative: Token whose logit is subtracted.
    """
    return (logits[:, positive] - logits[:, negative]).astype(mx.float32)


def kl_divergence(clean: Float[mx.array, " V"], changed: Float[mx.array, " V"]) -> float:
    """KL(clean || changed) of the next token, in nats.

    Args:
        clean: Logits before the intervention, (V,).
        changed: Logits after it, (V,).
    """
    before, after = log_softmax(numbers(clean)), log_softmax(numbers(changed))
    return float(max(0.0, (np.exp(before) * (before - after)).sum()))
