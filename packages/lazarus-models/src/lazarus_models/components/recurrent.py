"""Recurrent layers with an output projection; the state between calls is in the layer's cache.

B = rows, T = tokens a row, D = model width, R = width of the state
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
# MLX leaves its activations and the shapes of arrays untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from typing import Any, cast

from jaxtyping import Float

from lazarus_models.backend import mx, nn
from lazarus_models.components.selective_scan import scan
from lazarus_models.config.architecture import RecurrentConfig
from lazarus_models.errors import UnsupportedModel


class Recurrent(nn.Module):
    """An LSTM, a GRU or a minGRU (arXiv 2410.01201)."""

    def __init__(self, width: int, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        if config.kind == "min_gru":
            self.gate_proj = nn.Linear(width, config.inner)
            self.hidden_proj = nn.Linear(width, config.inner)
        else:
            cell: Any = nn.LSTM if config.kind == "lstm" else nn.GRU
            self.cell: Any = cell(width, config.inner)
        self.out_proj = nn.Linear(config.inner, width, bias=False)

    def __call__(self, x: Float[mx.array, "B T D"], mask: Any = None, cache: Any = None) -> Float[mx.array, "B T D"]:
        if mask is not None and self.config.kind != "min_gru":
            raise UnsupportedModel(
                f"a layer of kind {self.config.kind!r} cannot skip padding; give rows of one length", "LM-E116"
            )
        before: Any = (None, None) if cache is None else (cache[0], cache[1])
        nothing = mx.zeros((x.shape[0], 0))
        if self.config.kind == "min_gru":
            update = mx.sigmoid(self.gate_proj(x))
            if mask is not None:
                update = update * mask[..., None]  # an update of 0 leaves the state as it is
            states = scan((1 - update)[..., None], (update * self.hidden_proj(x))[..., None], before[0])[..., 0]
            after = (states[:, -1, :, None], nothing)
        elif self.config.kind == "lstm":
            states, cells = cast("tuple[mx.array, mx.array]", self.cell(x, *before))
            after = (states[:, -1], cells[:, -1])
        else:
            states = cast("mx.array", self.cell(x, before[0]))
            after = (states[:, -1], nothing)
        if cache is not None:
            cache[0], cache[1] = after
        return self.out_proj(states)
