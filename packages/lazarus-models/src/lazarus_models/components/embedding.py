"""The embedding of token ids or positions."""

from lazarus_models.backend import mx, nn
from lazarus_models.ops.gather import gather_rows


class Embedding(nn.Embedding):
    """MLX's embedding; its gradient repeats on every device (`lazarus_models.ops.gather`)."""

    def __call__(self, x: mx.array) -> mx.array:
        return gather_rows(self.weight, x)
