"""Selective state spaces: Mamba, with a decay rate a state element, and Mamba 2, with one a head.

B = rows, T = tokens a row, D = model width, C = channels, S = state elements a channel

The cache of a layer has two arrays: the last inputs of the convolution and the state. Masked tokens change neither.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
# MLX leaves its activations and the shapes of arrays untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from typing import Any

from jaxtyping import Bool, Float

from lazarus_models.backend import mx, nn
from lazarus_models.components.norm import make_norm
from lazarus_models.components.selective_scan import in_chunks, selective_scan
from lazarus_models.config.architecture import Mamba2Config, MambaConfig
from lazarus_models.ops.depthwise import depthwise_convolution
from lazarus_models.ops.recomputation import Function, recomputed
from lazarus_models.ops.state_space_step import state_space_step


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
        inner = _activated(self.conv1d, inner, mask, cache)
        steps, b, c = mx.split(self.x_proj(inner), [config.rank, config.rank + config.state], axis=-1)
        if config.norm:
            steps, b, c = self.dt_layernorm(steps), self.b_layernorm(b), self.c_layernorm(c)
        steps = nn.softplus(self.dt_proj(steps))  # (B, T, C)
        if mask is not None:
            steps = steps * mask[..., None]  # a time step of 0 leaves the state as it is
        y, state = selective_scan(
            steps, inner, -mx.exp(self.A_log), b, c, cache[1] if cache is not None else None
        )  # (B, T, C)
        if cache is not None:
            cache[1] = state
        return self.out_proj(_gated(gate, y, inner, self.D, cache))


class Mamba2(nn.Module):
    """State space with one decay rate a head (arXiv 2405.21060); several tokens are computed in chunks."""

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

    def __call__(self, x: Float[mx.array, "B T D"], mask: Any = None, cache: Any = None) -> Float[mx.array, "B T D"]:
        config = self.config
        rows, tokens, _ = x.shape
        inner, shared = config.num_heads * config.head_dim, config.groups * config.state
        gate, heard, steps = mx.split(self.in_proj(x), [inner, 2 * inner + 2 * shared], axis=-1)
        heard = _activated(self.conv1d, heard, mask, cache)
        inputs, b, c = mx.split(heard, [inner, inner + shared], axis=-1)
        inputs = inputs.reshape(rows, tokens, config.num_heads, config.head_dim)
        b, c = (each.reshape(rows, tokens, config.groups, config.state) for each in (b, c))
        state = cache[1] if cache is not None else None
        if tokens > 1 or state is None or mask is not None:
            steps = mx.clip(nn.softplus(steps.astype(mx.float32) + self.dt_bias), *config.time_step_limit)
            if mask is not None:
                steps = steps * mask[..., None]  # a time step of 0 leaves the state as it is
            y, state = state_space_duality(inputs, steps, -mx.exp(self.A_log), b, c, state)
            each = mx.repeat(self.D, config.head_dim)  # one value a channel
            y, inputs = y.astype(x.dtype).reshape(gate.shape), inputs.reshape(gate.shape)
            out = _gated(gate, y, inputs, each, cache)
        else:  # one token of an answer
            out, state = state_space_step(
                *(inputs, steps, b, c, state),
                log_rates=self.A_log,
                skip=self.D,
                steps_bias=self.dt_bias,
                limit=config.time_step_limit,
            )
            out = nn.silu(gate) * out.reshape(rows, tokens, inner)
        if cache is not None:
            cache[1] = state
        return self.out_proj(self._normed(out))

    def _normed(self, x: Float[mx.array, "B T E"]) -> Float[mx.array, "B T E"]:
        """The gated output, each group of heads normed separately."""
        if self.config.groups == 1:
            return self.norm(x)
        grouped = mx.unflatten(x, -1, (self.config.groups, -1))
        weight: mx.array = self.norm["weight"]
        return mx.fast.rms_norm(grouped, None, self.config.norm.eps).flatten(-2) * weight


def state_space_duality(
    x: Float[mx.array, "B T H P"],
    steps: Float[mx.array, "B T H"],
    rates: Float[mx.array, " H"],
    b: Float[mx.array, "B T G S"],
    c: Float[mx.array, "B T G S"],
    state: Float[mx.array, "B H P S"] | None = None,
) -> tuple[Float[mx.array, "B T H P"], Float[mx.array, "B H P S"]]:
    """Mamba 2's recurrence as matrix products, chunk by chunk. A chunk is recomputed for its gradient.

    H = heads, P = channels a head, G = groups of heads that share b and c

    Args:
        x: Inputs, float, (B, T, H, P).
        steps: Time steps, at least 0, float, (B, T, H). A step of 0 leaves the state as it is.
        rates: Decay rates, below 0, float, (H,).
        b: Weights with which the input enters the state, float, (B, T, G, S).
        c: Weights with which the state is read, float, (B, T, G, S).
        state: State before the first token, float, (B, H, P, S); None for zeros.

    Returns:
        The outputs (B, T, H, P) and the last state (B, H, P, S).
    """
    if state is None:
        rows, _, heads, width = x.shape
        state = mx.zeros((rows, heads, width, b.shape[-1]), dtype=x.dtype)
    done: list[mx.array] = []
    for some_x, some_steps, some_b, some_c in zip(*map(in_chunks, (x, steps, b, c)), strict=True):
        y, state = recomputed(_dual_chunk, some_x, some_steps, rates, some_b, some_c, state)
        done.append(y)
    return mx.concatenate(done, axis=1), state


def _dual_chunk(
    x: mx.array, steps: mx.array, rates: mx.array, b: mx.array, c: mx.array, state: mx.array
) -> tuple[mx.array, mx.array]:
    """One chunk of L tokens: attention with decay within the chunk, and the contribution of the state before it."""
    rows, tokens, heads, width = x.shape
    groups, numbers = b.shape[-2:]
    by_group = (rows, groups, heads // groups, tokens, -1)
    decays = mx.swapaxes(steps * rates, 1, 2)  # (B, H, L), logarithms of the decay at each token
    # between[i, j] = product of the decays at j + 1 ... i: a cumulative sum of logarithms down each column, 0 above
    # the diagonal. Sums of at most 0 are exponentiated, so nothing overflows.
    between = mx.tril(mx.broadcast_to(decays[..., None], (*decays.shape, tokens)), -1)
    between = mx.tril(mx.exp(mx.cumsum(between, axis=-2)))  # (B, H, L, L)
    b, c = mx.swapaxes(b, 1, 2), mx.swapaxes(c, 1, 2)  # (B, G, L, S)
    driven = mx.swapaxes(x * steps[..., None], 1, 2)  # (B, H, L, P)
    weights = (c @ mx.swapaxes(b, 2, 3))[:, :, None] * between.reshape(by_group)  # (B, G, H / G, L, L)
    within = (weights @ driven.reshape(by_group)).reshape(driven.shape)
    # The state before the chunk, read by c and decayed up to each token.
    grouped = state.reshape(rows, groups, -1, numbers)  # (B, G, P H / G, S)
    before = (c @ mx.swapaxes(grouped, 2, 3)).reshape(rows, groups, tokens, -1, width)
    before = mx.swapaxes(before, 2, 3).reshape(driven.shape)
    since = mx.exp(mx.cumsum(decays, axis=-1))  # (B, H, L)
    y = within + since[..., None] * before
    # The state after the chunk: inputs decayed from their token to the last one, and the decayed state before.
    left = mx.swapaxes(driven * between[:, :, -1, :, None], 2, 3).reshape(rows, groups, -1, tokens)
    entered = (left @ b).reshape(state.shape)
    return mx.swapaxes(y, 1, 2), since[..., -1, None, None] * state + entered


def _activated(layer: nn.Conv1d, x: mx.array, mask: mx.array | None, cache: Any) -> mx.array:
    """SiLU of a causal convolution, (B, T, C). Without a cache, intermediate results are recomputed for the gradient."""
    if cache is not None:
        return nn.silu(convolve(layer, x, mask, cache))
    if mask is not None:
        x = mx.where(mask[..., None], x, 0)

    def activated(x: mx.array, weight: mx.array, *bias: mx.array) -> tuple[mx.array]:
        before = mx.pad(x, [(0, 0), (weight.shape[1] - 1, 0), (0, 0)])
        heard = depthwise_convolution(before, weight)
        return (nn.silu(heard + bias[0] if bias else heard),)

    return recomputed(activated, x, layer.weight, *([layer.bias] if "bias" in layer else []))[0]


def _gated(gate: mx.array, y: mx.array, x: mx.array, skip: mx.array, cache: Any) -> mx.array:
    """SiLU(gate) * (y + skip * x), with skip (C,) and the others (B, T, C). Without a cache, only the arguments are kept."""

    def gated(gate: mx.array, y: mx.array, x: mx.array, skip: mx.array) -> tuple[mx.array]:
        return (nn.silu(gate) * (y + skip * x),)

    return (recomputed if cache is None else _kept)(gated, gate, y, x, skip)[0]


def _kept(function: Function, *arrays: mx.array) -> list[mx.array]:
    return list(function(*arrays))


def convolve(
    layer: nn.Conv1d, x: Float[mx.array, "B T C"], mask: Bool[mx.array, "B T"] | None, cache: Any
) -> Float[mx.array, "B T C"]:
    """A causal convolution that continues after the cached tokens.

    Args:
        layer: Depthwise convolution of the last `kernel` tokens.
        x: Inputs, float, (B, T, C).
        mask: Tokens that count, bool, (B, T); None for all. Other tokens are zeros.
        cache: Cache of the layer; place 0 holds the last `kernel - 1` inputs, and is updated. None for zeros.
    """
    kept = layer.weight.shape[1] - 1
    if mask is not None:
        x = mx.where(mask[..., None], x, 0)
    before = cache[0] if cache is not None else None
    if before is None:
        before = mx.zeros((x.shape[0], kept, x.shape[2]), dtype=x.dtype)
    x = mx.concatenate([before, x], axis=1)
    if cache is not None:
        cache[0] = x[:, x.shape[1] - kept :]
    return layer(x)


def _convolution(channels: int, kernel: int, bias: bool) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, groups=channels, bias=bias)
