"""NEFTune (Jain et al. 2023, arXiv 2310.05914): noise on the embeddings in training, uniform in +-alpha / sqrt(L
d).

R = rows, T = tokens per row, D = model width

L is the length of a token's part, not of the row, so the noise of a sample does not depend on packing. The noise of a
row depends only on the step's seed and the row's index in the step.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Float

from lazarus_models.backend import mx, nn
from lazarus_models.trees import part
from lazarus_train.data.batches import Batch

if TYPE_CHECKING:
    from lazarus_models.components import Decoder


class Noisy(nn.Module):
    """Mixin for an embedding of any kind (plain, low-memory, quantized, adapted): adds noise in training."""

    _noise: mx.array | None

    def __call__(self, x: mx.array) -> mx.array:
        """Embeddings of ids, with noise in training."""
        kind = cast("Any", super())  # the class before it was wrapped
        embedded: mx.array = kind.__call__(x)
        if self._noise is None or not self.training:
            return embedded
        return embedded + self._noise.astype(embedded.dtype)

    def add(self, noise: mx.array | None) -> None:
        """Sets the noise of the next calls, (R, T, D); None adds none."""
        self._noise = noise


def embedding_of(model: nn.Module) -> nn.Module:
    """The layer that embeds the token ids of a model."""
    return cast("nn.Module", part(model, ".".join(cast("Decoder", model).config.names[:2])))


@contextlib.contextmanager
def noisy(model: nn.Module, noise: mx.array) -> Generator[None]:
    """Context manager: adds noise to the embeddings of the model's calls.

    Args:
        model: A model whose embedding was wrapped for noise.
        noise: Numbers to add to the embeddings, (R, T, D); R = rows, T = tokens per row, D = model width.
    """
    embedding = cast("Noisy", embedding_of(model))
    embedding.add(noise)
    try:
        yield
    finally:
        embedding.add(None)


def embedding_width(model: nn.Module) -> int:
    """Width D of the model's embeddings."""
    return cast("Decoder", model).config.width  # of the weight it is another where that is packed


def embedding_noise(batch: Batch, width: int, alpha: float, seed: int) -> Float[mx.array, "R T D"]:
    """Noise of a batch's tokens; 0 for padding.

    Args:
        batch: Batch with parts and row indices.
        width: D.
        alpha: Strength; 5 is usual.
        seed: Seed of the step.
    """
    tokens = batch.ids.shape[1]
    scale = np.zeros(batch.ids.shape, dtype=np.float32)
    for each in batch.parts:
        scale[each.row, each.start : each.end] = alpha / np.sqrt((each.end - each.start) * width)
    keys = mx.random.split(mx.random.key(seed), batch.step_rows)
    draws = [mx.random.uniform(-1.0, 1.0, (tokens, width), key=keys[number]) for number in batch.numbers]
    return mx.stack(draws) * mx.array(scale)[..., None]
