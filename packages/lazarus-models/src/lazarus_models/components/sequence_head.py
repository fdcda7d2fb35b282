"""What stands on a body in the place of a language model's head: one score, or one a class, for a whole row.

B = rows, T = tokens a row, D = model width, O = outputs
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from typing import Literal

from jaxtyping import Float, Int, Integer

from lazarus_models.backend import mx, nn
from lazarus_models.components.decoder import Block, Body
from lazarus_models.config.architecture import DecoderConfig
from lazarus_models.trees import part, put


class SequenceModel(nn.Module):
    """A body and a linear layer on one vector a row: a classifier, a reward model, a regression.

    Tensors are named as in transformers' `...ForSequenceClassification`: the body's, and `score.weight`. Its `config`,
    `body`, `layers` and `head` are a `Decoder`'s, so that what packs, adapts and trains those does the same to these.
    """

    def __init__(self, config: DecoderConfig, outputs: int, *, pooling: Literal["last", "mean"] = "last") -> None:
        super().__init__()
        self.config = config
        self.pooling = pooling
        put(self, config.names[0], Body(config))
        self.score = nn.Linear(config.width, outputs, bias=False)

    def __call__(
        self, ids: Integer[mx.array, "B T"], lengths: Integer[mx.array, " B"] | None = None
    ) -> Float[mx.array, "B O"]:
        """Scores of each row.

        Args:
            ids: Padded on the right.
            lengths: Tokens of each row, 1 to T; None where none is padded. An impossible one scores NaN.
        """
        x = self.body(ids)  # (B, T, D)
        if lengths is None:
            lengths = mx.full((ids.shape[0],), ids.shape[1])
        if self.pooling == "last":
            last = mx.clip(lengths - 1, 0, ids.shape[1] - 1)  # MLX would read beyond the row
            scores = self.head(mx.take_along_axis(x, last[:, None, None], axis=1)[:, 0])
            return mx.where((last == lengths - 1)[:, None], scores, mx.nan)
        real = (mx.arange(ids.shape[1]) < lengths[:, None])[..., None]
        return self.head((x * real).sum(axis=1) / lengths[:, None])

    def head(self, x: Float[mx.array, "... D"]) -> Float[mx.array, "... O"]:
        """Scores of a normed residual stream."""
        return self.score(x)

    @property
    def body(self) -> Body:
        """Embedding, blocks and the last norm."""
        return part(self, self.config.names[0])

    @property
    def layers(self) -> list[Block]:
        """The blocks."""
        return self.body.layers


def classification_loss(scores: Float[mx.array, "B O"], labels: Int[mx.array, " B"]) -> Float[mx.array, ""]:
    """Mean cross-entropy, in nats; NaN where a label is no class, 0 <= label < O.

    >>> classification_loss(mx.zeros((2, 4)), mx.array([0, 3])).item()
    1.3862943649291992
    """
    known = mx.clip(labels, 0, scores.shape[-1] - 1)  # MLX would read beyond the scores
    losses = nn.losses.cross_entropy(scores, known)
    return mx.where(known == labels, losses, mx.nan).mean()


def regression_loss(scores: Float[mx.array, "B 1"], targets: Float[mx.array, " B"]) -> Float[mx.array, ""]:
    """Mean squared error.

    >>> regression_loss(mx.array([[1.0], [3.0]]), mx.array([2.0, 3.0])).item()
    0.5
    """
    return mx.square(scores[:, 0] - targets).mean()
