"""Selective state spaces: Mamba, with a state a channel, and Mamba 2, with a decay a head.

B = rows, T = tokens a row, D = model width, C = channels, S = numbers of state a channel

Both keep two arrays between calls, the last inputs of their convolution and the state. Tokens that a mask leaves out
(padding of a batch) change neither.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
# MLX leaves its activations and the shapes of arrays untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from typing import Any

from jaxtyping import Bool, Float

from lazarus_models.architecture import Mamba2Config, MambaConfig
from lazarus_models.backend import mx, nn
from lazarus_models.components.norm import make_norm
from lazarus_models.mlx_lm import import_mlx_lm

CHUNK = 64
"""Tokens scanned at once: the working set of 128 channels of 8 stays in a CPU's second-level cache."""


class Mamba(nn.Module):
    """Selective state space (arXiv 2312.00752)."""

    def __init__(self, width: int, config: MambaConfig) -> None:
        super().__init__()
        self.config = config
        self.in_proj = nn.Linear(width, 2 * config.inner, bias=config.bias)
        self.conv1d = _convolution(config.inner, config.kernel, config.conv_bias)
        self.x_proj = nn.Linear(config.inner, config.rank + 2 * config.state, bias=False)
        self.dt_proj = nn.Linear(config.rank, config.inner, bias=True)
        self.A_log = mx.log(mx.broadcast_to(mx.arange(1.0, config.state + 1), (config.inner, config.state)))
        self.D = mx.ones((config.inner,))
        self.out_proj = nn.Linear(config.inner, width, bias=config.bias)
        if config.norm:
            self.dt_layernorm = make_norm(config.norm, config.rank)
            self.b_layernorm = make_norm(config.norm, config.state)
            self.c_layernorm = make_norm(config.norm, config.state)

    def __call__(self, x: Float[mx.array, "B T D"], mask: Any = None, cache: Any = None) -> Float[mx.array, "B T D"]:
        config = self.config
        inner, gate = mx.split(self.in_proj(x), 2, axis=-1)
        inner = nn.silu(convolve(self.conv1d, inner, mask, cache))
        steps, b, c = mx.split(self.x_proj(inner), [config.rank, config.rank + config.state], axis=-1)
        if config.norm:
            steps, b, c = self.dt_layernorm(steps), self.b_layernorm(b), self.c_layernorm(c)
        steps = nn.softplus(self.dt_proj(steps))  # (B, T, C)
        if mask is not None:
            steps = steps * mask[..., None]  # no time passes: the state stays
        decay = mx.exp(steps[..., None] * -mx.exp(self.A_log))  # (B, T, C, S)
        states = scan(decay, (steps * inner)[..., None] * b[:, :, None], cache[1] if cache is not None else None)
        if cache is not None:
            cache[1] = states[:, -1]
            cache.advance(x.shape[1])
        out = (states @ c[..., None]).squeeze(-1) + self.D * inner
        return self.out_proj(nn.silu(gate) * out)


class Mamba2(nn.Module):
    """State space with one decay a head (arXiv 2405.21060), computed by mlx-lm's chunked product."""

    def __init__(self, width: int, config: Mamba2Config) -> None:
        super().__init__()
        self.config = config
        inner, shared = config.num_heads * config.head_dim, config.groups * config.state
        self.in_proj = nn.Linear(width, 2 * inner + 2 * shared + config.num_heads, bias=config.bias)
        self.conv1d = _convolution(inner + 2 * shared, config.kernel, config.conv_bias)
        self.dt_bias = mx.ones((config.num_heads,))
        self.A_log = mx.log(mx.arange(1.0, config.num_heads + 1))
        self.D = mx.ones((config.num_heads,))
        self.norm = make_norm(config.norm, inner)
        self.out_proj = nn.Linear(inner, width, bias=config.bias)
        self._update = import_mlx_lm("models.ssm").ssm_update

    def __call__(self, x: Float[mx.array, "B T D"], mask: Any = None, cache: Any = None) -> Float[mx.array, "B T D"]:
        config = self.config
        rows, tokens, _ = x.shape
        inner, shared = config.num_heads * config.head_dim, config.groups * config.state
        gate, heard, steps = mx.split(self.in_proj(x), [inner, 2 * inner + 2 * shared], axis=-1)
        heard = nn.silu(convolve(self.conv1d, heard, mask, cache))
        inputs, b, c = mx.split(heard, [inner, inner + shared], axis=-1)
        out, state = self._update(
            inputs.reshape(rows, tokens, config.num_heads, config.head_dim),
            self.A_log,
            b.reshape(rows, tokens, config.groups, config.state),
            c.reshape(rows, tokens, config.groups, config.state),
            self.D,
            steps,
            self.dt_bias,
            cache[1] if cache is not None else None,
            config.time_step_limit,
            mask,
            cache.lengths if cache is not None else None,
        )
        if cache is not None:
            cache[1] = state
            cache.advance(tokens)
        return self.out_proj(self._normed(nn.silu(gate) * out.reshape(rows, tokens, inner)))

    def _normed(self, x: Float[mx.array, "B T E"]) -> Float[mx.array, "B T E"]:
        """Each group of heads by itself."""
        if self.config.groups == 1:
            return self.norm(x)
        grouped = mx.unflatten(x, -1, (self.config.groups, -1))
        weight: mx.array = self.norm["weight"]
        return mx.fast.rms_norm(grouped, None, self.config.norm.eps).flatten(-2) * weight


def scan(
    decay: Float[mx.array, "B T C S"], drive: Float[mx.array, "B T C S"], state: Float[mx.array, "B C S"] | None = None
) -> Float[mx.array, "B T C S"]:
    """Every state of state[t] = decay[t] * state[t - 1] + drive[t].

    Within a chunk in log2(chunk) passes over all tokens instead of a pass a token; only factors of at most one are
    multiplied, so nothing grows.

    >>> halves, ones = mx.full((1, 4, 1, 1), 0.5), mx.ones((1, 4, 1, 1))
    >>> scan(halves, ones).flatten()
    array([1, 1.5, 1.75, 1.875], dtype=float32)
    """
    done: list[mx.array] = []
    for start in range(0, drive.shape[1], CHUNK):
        a, b = decay[:, start : start + CHUNK], drive[:, start : start + CHUNK]
        if state is not None:
            b = mx.concatenate([b[:, :1] + a[:, :1] * state[:, None], b[:, 1:]], axis=1)
        reach = 1
        while reach < b.shape[1]:
            b = mx.concatenate([b[:, :reach], b[:, reach:] + a[:, reach:] * b[:, :-reach]], axis=1)
            a = mx.concatenate([a[:, :reach], a[:, reach:] * a[:, :-reach]], axis=1)
            reach *= 2
        state = b[:, -1]
        done.append(b)
    return mx.concatenate(done, axis=1)


def convolve(
    layer: nn.Conv1d, x: Float[mx.array, "B T C"], mask: Bool[mx.array, "B T"] | None, cache: Any
) -> Float[mx.array, "B T C"]:
    """A causal convolution that goes on where the cache's last tokens ended."""
    kept = layer.weight.shape[1] - 1
    if mask is not None:
        x = mx.where(mask[..., None], x, 0)
    before = cache[0] if cache is not None else None
    if before is None:
        before = mx.zeros((x.shape[0], kept, x.shape[2]), dtype=x.dtype)
    x = mx.concatenate([before, x], axis=1)
    if cache is not None and cache.lengths is not None:  # rows end at different tokens
        ends = mx.clip(cache.lengths, 0, x.shape[1] - kept)
        cache[0] = mx.take_along_axis(x, (ends[:, None] + mx.arange(kept))[..., None], axis=1)
    elif cache is not None:
        cache[0] = x[:, x.shape[1] - kept :]
    return layer(x)


def _convolution(channels: int, kernel: int, bias: bool) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, groups=channels, bias=bias)
