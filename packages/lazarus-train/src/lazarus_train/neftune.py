"""NEFTune (Jain et al. 2023, arXiv 2310.05914): noise on the embeddings of training, uniform in +-alpha / sqrt(L d).

R = rows, T = tokens a row, D = model width

L is the length of the part that a token belongs to, not of the row: so a sample gets the noise that it would get alone.
The noise of a row is decided by the step's seed and the row's number in the step.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Float

from lazarus_models.backend import mx, nn
from lazarus_models.parameters import flatten, part, replace_modules
from lazarus_train.batches import Batch

if TYPE_CHECKING:
    from lazarus_models.decoder import Decoder


class NoisyEmbedding(nn.Embedding):
    """An embedding that adds the noise it was given; its weights have the name and values that they had."""

    def __init__(self, plain: nn.Embedding) -> None:
        nn.Module.__init__(self)
        self.weight = plain.weight
        self._noise: mx.array | None = None
        if not flatten(plain.trainable_parameters()):
            self.freeze()

    def __call__(self, x: mx.array) -> mx.array:
        """Embeddings of ids, with noise in training."""
        return _with_noise(self.weight[x], self._noise if self.training else None)

    def add(self, noise: mx.array | None) -> None:
        """Sets the noise of the next calls."""
        self._noise = noise


class NoisyQuantizedEmbedding(nn.QuantizedEmbedding):
    """The same of an embedding whose weights are packed: what they stand for is the embedding, not what they hold."""

    def __call__(self, x: mx.array) -> mx.array:
        """Embeddings of ids, with noise in training."""
        embedded = super().__call__(x)  # pyright: ignore[reportUnknownMemberType] (untyped in MLX)
        return _with_noise(embedded, self._noise if self.training else None)

    def add(self, noise: mx.array | None) -> None:
        """Sets the noise of the next calls."""
        self._noise = noise


def make_noisy(model: nn.Module) -> None:
    """Puts a noisy embedding in the place of a model's own."""
    plain = part(model, _path(model))
    if isinstance(plain, nn.QuantizedEmbedding):
        plain.__class__ = NoisyQuantizedEmbedding
        cast("NoisyQuantizedEmbedding", plain).add(None)
    else:
        replace_modules(model, {_path(model): NoisyEmbedding(plain)})


@contextlib.contextmanager
def noisy(model: nn.Module, noise: mx.array) -> Generator[None]:
    """Noise on the embeddings of a model's calls for a while."""
    embedding = cast("NoisyEmbedding | NoisyQuantizedEmbedding", part(model, _path(model)))
    embedding.add(noise)
    try:
        yield
    finally:
        embedding.add(None)


def embedding_width(model: nn.Module) -> int:
    """D."""
    return cast("Decoder", model).config.width  # of the weight it is another where that is packed


def _with_noise(embedded: mx.array, noise: mx.array | None) -> mx.array:
    return embedded if noise is None else embedded + noise.astype(embedded.dtype)


def _path(model: nn.Module) -> str:
    return ".".join(cast("Decoder", model).config.names[:2])


def embedding_noise(batch: Batch, width: int, alpha: float, seed: int) -> Float[mx.array, "R T D"]:
    """Noise of a batch's tokens; padding has none.

    Args:
        batch: Tells the parts and the rows' numbers.
        width: D.
        alpha: Strength; 5 is usual.
        seed: Of the step.
    """
    tokens = batch.ids.shape[1]
    scale = np.zeros(batch.ids.shape, dtype=np.float32)
    for each in batch.parts:
        scale[each.row, each.start : each.end] = alpha / np.sqrt((each.end - each.start) * width)
    keys = mx.random.split(mx.random.key(seed), batch.step_rows)
    draws = [mx.random.uniform(-1.0, 1.0, (tokens, width), key=keys[number]) for number in batch.numbers]
    return mx.stack(draws) * mx.array(scale)[..., None]
