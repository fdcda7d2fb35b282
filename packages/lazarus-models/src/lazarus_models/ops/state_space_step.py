"""One token of Mamba 2's recurrence (arXiv 2405.21060).

B = rows, H = heads, P = channels a head, G = groups of heads that share b and c, S = numbers of state a channel

The Metal kernel and the order of the operations are those of mlx-lm 0.32 (MIT License, Copyright © 2025 Apple Inc.).
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
# MLX leaves its functions untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from functools import cache
from typing import Any

from jaxtyping import Float

from lazarus_models.backend import mx, nn

_SOURCE = """
    auto n = thread_position_in_grid.z;
    auto h_idx = n % H;
    auto g_idx = n / G;
    constexpr int n_per_t = Ds / 32;

    auto x = X + n * Dh;
    out += n * Dh;
    auto i_state = state_in + n * Dh * Ds;
    auto o_state = state_out + n * Dh * Ds;

    // C and B have shape [batch, group, state_dim]: both are offset by group
    auto C_ = C + g_idx * Ds;
    auto B_ = B + g_idx * Ds;

    auto ds_idx = thread_position_in_threadgroup.x;
    auto d_idx = thread_position_in_grid.y;

    auto dt_ = static_cast<float>(dt[n]);
    auto A = -fast::exp(static_cast<float>(A_log[h_idx]));
    auto dA = fast::exp(A * dt_);

    float acc = 0.0;
    auto x_ = static_cast<float>(x[d_idx]);

    for (int i = 0; i < n_per_t; ++i) {
        auto s_idx = n_per_t * ds_idx + i;
        auto idx = d_idx * Ds + s_idx;
        auto dB_by_x = x_ * dt_ * static_cast<float>(B_[s_idx]);
        auto state = dA * i_state[idx] + dB_by_x;
        o_state[idx] = static_cast<U>(state);
        acc += state * C_[s_idx];
    }
    acc = simd_sum(acc);
    if (thread_index_in_simdgroup == 0) {
        out[d_idx] = static_cast<T>(acc + x_ * D[h_idx]);
    }
"""


def state_space_step(
    x: Float[mx.array, "B 1 H P"],
    steps: Float[mx.array, "B 1 H"],
    b: Float[mx.array, "B 1 G S"],
    c: Float[mx.array, "B 1 G S"],
    state: Float[mx.array, "B H P S"],
    *,
    log_rates: Float[mx.array, " H"],
    skip: Float[mx.array, " H"],
    steps_bias: Float[mx.array, " H"],
    limit: tuple[float, float],
) -> tuple[Float[mx.array, "B 1 H P"], Float[mx.array, "B H P S"]]:
    """The output of one token and the state after it.

    Args:
        x: Input, float, (B, 1, H, P).
        steps: Time steps before bias and softplus, float, (B, 1, H).
        b: Weights with which the input enters the state, float, (B, 1, G, S).
        c: Weights with which the state is read, float, (B, 1, G, S).
        state: State before the token, float, (B, H, P, S).
        log_rates: Logarithms of the decay rates, float, (H,).
        skip: Factor of the input that is added to the output, float, (H,).
        steps_bias: Added to the time steps, float, (H,).
        limit: Lower and upper bound of a time step.
    """
    steps = _time_steps(steps, steps_bias, limit)
    if mx.default_device().type == mx.gpu and mx.metal.is_available():
        return _by_kernel(x, steps, b, c, state, log_rates, skip)
    rows, _, heads, width = x.shape
    groups, numbers = b.shape[2:]
    shared = heads // groups
    decay = mx.exp(steps * -mx.exp(log_rates).astype(steps.dtype))  # (B, 1, H)
    driven = mx.swapaxes(steps[..., None] * x, 1, 2)  # (B, H, 1, P)
    products = mx.swapaxes(c, 1, 2) @ b.transpose(0, 2, 3, 1)  # (B, G, 1, 1): c . b
    y = mx.swapaxes(mx.repeat(products, shared, axis=1) * driven, 1, 2)
    entering = mx.repeat(b.transpose(0, 2, 3, 1), shared, axis=1).swapaxes(2, 3)  # (B, H, 1, S)
    after = driven.swapaxes(2, 3) * entering + decay[:, 0, :, None, None] * state
    grouped = state.reshape(rows, 1, groups, shared, width, numbers)
    before = (grouped @ c.reshape(rows, 1, groups, 1, numbers, 1)).squeeze(-1).flatten(2, 3)  # (B, 1, H, P)
    y = (y + decay[..., None] * before).astype(x.dtype)
    return y + x * skip.reshape(1, 1, heads, 1), after


@mx.compile
def _time_steps(steps: mx.array, bias: mx.array, limit: tuple[float, float]) -> mx.array:
    return mx.clip(nn.softplus(steps.astype(mx.float32) + bias), limit[0], limit[1])


@cache
def _kernel() -> Any:
    names = ["X", "A_log", "B", "C", "D", "dt", "state_in"]
    return mx.fast.metal_kernel(name="ssm_kernel", input_names=names, output_names=["out", "state_out"], source=_SOURCE)


def _by_kernel(
    x: mx.array, steps: mx.array, b: mx.array, c: mx.array, state: mx.array, log_rates: mx.array, skip: mx.array
) -> tuple[mx.array, mx.array]:
    """One launch on Metal instead of some fifteen."""
    rows, _, heads, width = x.shape
    groups, numbers = b.shape[-2:]
    y, after = _kernel()(
        inputs=[x, log_rates, b, c, skip, steps, state],
        template=[
            ("T", x.dtype),
            ("U", state.dtype),
            ("Dh", width),
            ("Ds", numbers),
            ("H", heads),
            ("G", heads // groups),
        ],
        grid=(32, width, heads * rows),
        threadgroup=(32, 8, 1),
        output_shapes=[(rows, 1, heads, width), state.shape],
        output_dtypes=[x.dtype, state.dtype],
    )
    return y, after
