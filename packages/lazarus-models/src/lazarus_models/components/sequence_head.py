"""Models with a sequence-level head: one score, or one score a class, for each row.

B = rows, T = tokens a row, D = model width, O = outputs
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from typing import Literal

from jaxtyping import Float, Int, Integer

from lazarus_models.backend import mx, nn
from lazarus_models.components.decoder import Block, Body
from lazarus_models.config.architecture import DecoderConfig
from lazarus_models.trees import part, put


class SequenceModel(nn.Module):
    """A body with a linear layer on one pooled vector a row: a classifier, a reward model or a regression.

    Tensors have the names of transformers' `...ForSequenceClassification`: those of the body, and `score.weight`. The
    attributes `config`, `body`, `layers` and `head` are those of a `Decoder`, so packing, adapters and training work.
    """

    def __init__(self, config: DecoderConfig, outputs: int, *, pooling: Literal["last", "mean"] = "last") -> None:
        """Makes the layers.

        Args:
            config: Architecture of the body.
            outputs: Scores a row, at least 1.
            pooling: The vector that the head reads: of the last token, or the mean over the tokens.
        """
        super().__init__()
        self.config = config
        self.pooling = pooling
        put(self, config.names[0], Body(config))
        self.score = nn.Linear(config.width, outputs, bias=False)

    def __call__(
        self, ids: Integer[mx.array, "B T"], lengths: Integer[mx.array, " B"] | None = None
    ) -> Float[mx.array, "B O"]:
        """The scores of each row, (B, O).

        Args:
            ids: Token ids, padded on the right, integer, (B, T).
            lengths: Tokens of each row, in [1, T], integer, (B,); None if no row is padded. Other values score NaN.
        """
        x = self.body(ids)  # (B, T, D)
        if lengths is None:
            lengths = mx.full((ids.shape[0],), ids.shape[1])
        if self.pooling == "last":
            last = mx.clip(lengths - 1, 0, ids.shape[1] - 1)  # MLX does not check indices
            scores = self.head(mx.take_along_axis(x, last[:, None, None], axis=1)[:, 0])
            return mx.where((last == lengths - 1)[:, None], scores, mx.nan)
        real = (mx.arange(ids.shape[1]) < lengths[:, None])[..., None]
        return self.head((x * real).sum(axis=1) / lengths[:, None])

    def head(self, x: Float[mx.array, "... D"]) -> Float[mx.array, "... O"]:
        """The scores of a normed residual stream."""
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
    """Mean cross-entropy, in nats.

    Args:
        scores: Logits, float, (B, O).
        labels: Classes in [0, O), integer, (B,). Another label makes the loss NaN.

    >>> classification_loss(mx.zeros((2, 4)), mx.array([0, 3])).item()
    1.3862943649291992
    """
    known = mx.clip(labels, 0, scores.shape[-1] - 1)  # MLX does not check indices
    losses = nn.losses.cross_entropy(scores, known)
    return mx.where(known == labels, losses, mx.nan).mean()


def regression_loss(scores: Float[mx.array, "B 1"], targets: Float[mx.array, " B"]) -> Float[mx.array, ""]:
    """Mean squared error.

    Args:
        scores: Predictions, float, (B, 1).
        targets: Values, float, (B,).

    >>> regression_loss(mx.array([[1.0], [3.0]]), mx.array([2.0, 3.0])).item()
    0.5
    """
    return mx.square(scores[:, 0] - targets).mean()
