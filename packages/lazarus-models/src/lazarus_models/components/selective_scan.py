"""The recurrence of Mamba (arXiv 2312.00752), with a gradient that keeps one state a chunk instead of one a token.

B = rows, T = tokens a row, C = channels, S = numbers of state a channel, L = tokens of a chunk

    state[t] = exp(step[t] * rate) * state[t - 1] + step[t] * x[t] * b[t],    y[t] = sum over S of state[t] * c[t]

Kept for the gradient are the arguments and the state before each chunk; the states within a chunk are computed again.
Plain automatic differentiation keeps about thirty arrays of (B, T, C, S): 6 MiB a token of a model of 1.5 million parameters.

On a CPU exponentials are NumPy's and a state is moved token by token in a core's cache; elsewhere a chunk is scanned in
log2(L) passes.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
# MLX leaves its functions untyped:
# pyright: reportUnknownMemberType=false
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lazarus_models.backend import mx
from lazarus_models.ops.cpu.numpy_views import fresh, view
from lazarus_models.ops.recomputation import recomputed

CHUNK = 64
"""Tokens of a chunk at most."""
_SMALLEST = 16
"""Tokens of a chunk at least: with 16 numbers of state a channel, the kept states are then as large as `x`."""
_PARTS = 8
"""Of an array that MLX 0.32 splits without slices."""
_WORKING_SET = 2**19
"""Numbers of state in a chunk: three such arrays of 2 MiB stay near a core's cache."""
_Numbers = NDArray[np.float32]


def selective_scan(
    steps: Float[mx.array, "B T C"],
    x: Float[mx.array, "B T C"],
    rates: Float[mx.array, "C S"],
    b: Float[mx.array, "B T S"],
    c: Float[mx.array, "B T S"],
    state: Float[mx.array, "B C S"] | None = None,
) -> tuple[Float[mx.array, "B T C"], Float[mx.array, "B C S"]]:
    """What the states give, and the last state.

    Args:
        steps: Time that passes at each token, at least 0; at 0 the state stays.
        x: Input of each channel.
        rates: Below zero: how fast each number of state decays.
        b: How the input enters the state.
        c: How the state is read.
        state: Before the first token; None for zero.
    """
    if state is None:
        state = mx.zeros((x.shape[0], x.shape[2], rates.shape[1]), dtype=x.dtype)
    arrays = (steps, x, rates, b, c, state)
    if x.shape[1] > 1 and mx.default_device().type == mx.cpu and all(each.dtype == mx.float32 for each in arrays):
        y, last, _ = cast("tuple[mx.array, ...]", _by_vectors(*arrays))
        return y, last
    done: list[mx.array] = []
    for some_steps, some_x, some_b, some_c in zip(*map(in_chunks, (steps, x, b, c)), strict=True):
        y, state = _by_passes(some_steps, some_x, rates, some_b, some_c, state)
        done.append(y)
    return (done[0] if len(done) == 1 else mx.concatenate(done, axis=1)), state


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
    if state is None:
        state = mx.zeros_like(drive[:, 0])
    done: list[mx.array] = []
    for some_decay, some_drive in zip(in_chunks(decay), in_chunks(drive), strict=True):
        states, state = recomputed(_scan_chunk, some_decay, some_drive, state)
        done.append(states)
    return mx.concatenate(done, axis=1)


def in_chunks(x: Float[mx.array, "B T ..."]) -> list[mx.array]:
    """Tokens in groups of `CHUNK`, so that their gradients are put together by one copy.

    The gradient of a slice is as large as `x`, and `mx.split` makes slices where there are many parts: few at once, then.
    """
    tokens = x.shape[1]
    length = CHUNK * max(1, -(-tokens // (CHUNK * _PARTS)))
    if tokens <= length:
        return [x]
    parts = list(mx.split(x, list(range(length, tokens, length)), axis=1))
    return parts if length == CHUNK else [chunk for part in parts for chunk in in_chunks(part)]


def _scan_chunk(decay: mx.array, drive: mx.array, state: mx.array) -> tuple[mx.array, mx.array]:
    a, b = decay, mx.concatenate([drive[:, :1] + decay[:, :1] * state[:, None], drive[:, 1:]], axis=1)
    reach = 1
    while reach < b.shape[1]:
        b = mx.concatenate([b[:, :reach], b[:, reach:] + a[:, reach:] * b[:, :-reach]], axis=1)
        a = mx.concatenate([a[:, :reach], a[:, reach:] * a[:, :-reach]], axis=1)
        reach *= 2
    return b, b[:, -1]


def _by_passes(*arrays: mx.array) -> tuple[mx.array, mx.array]:
    """One chunk, by MLX's own operations."""

    def chunk(
        steps: mx.array, x: mx.array, rates: mx.array, b: mx.array, c: mx.array, state: mx.array
    ) -> tuple[mx.array, mx.array]:
        decay = mx.exp(steps[..., None] * rates)  # (B, L, C, S)
        states, last = _scan_chunk(decay, (steps * x)[..., None] * b[:, :, None], state)
        return (states @ c[..., None]).squeeze(-1), last

    if arrays[1].shape[1] == 1:  # a token of an answer: nothing is worth computing again
        return chunk(*arrays)
    y, state = recomputed(chunk, *arrays)
    return y, state


class _Chunk(NamedTuple):
    """Arguments of a few tokens of one row, and what is computed of them."""

    steps: _Numbers
    x: _Numbers
    b: _Numbers
    c: _Numbers
    decay: _Numbers
    states: _Numbers


@mx.custom_function
@np.errstate(all="ignore")  # what is not finite shows in the loss
def _by_vectors(steps: Any, x: Any, rates: Any, b: Any, c: Any, state: Any) -> Any:
    """Outputs, last state, and the state before each chunk (B, chunks, C, S)."""
    arrays = [view(mx.contiguous(each)) for each in (steps, x, b, c)]
    rate, now = view(mx.contiguous(rates)), np.array(view(state))
    chunks = _chunks(x.shape[1], rate.size)
    y = np.empty(x.shape, dtype=np.float32)
    kept = np.empty((x.shape[0], len(chunks), *rate.shape), dtype=np.float32)
    for row in range(x.shape[0]):
        for number, chunk in enumerate(chunks):
            kept[row, number] = now[row]
            found = _states([each[row, chunk] for each in arrays], rate, now[row])
            now[row] = found.states[-1]
            y[row, chunk] = (found.states @ found.c[..., None])[..., 0]
    return fresh(y), fresh(now), fresh(kept)


@_by_vectors.vjp  # pyright: ignore[reportUntypedFunctionDecorator] (untyped in MLX)
@np.errstate(all="ignore")
def _slopes(primals: Any, cotangents: Any, outputs: Any) -> Any:
    """Gradients of all arguments, chunk by chunk from the last.

    With g[t] the gradient of state[t], g[t] = dy[t] c[t] + decay[t + 1] g[t + 1]: b has sum of g step x, x and step have
    sum of g b times the other, and step * rate has g[t] decay[t] state[t - 1].
    """
    steps, x, rates, b, c, _ = primals
    arrays = [view(mx.contiguous(each)) for each in (steps, x, b, c)]
    rate, kept = view(mx.contiguous(rates)), view(outputs[2])
    of_y = view(mx.contiguous(cotangents[0]))
    later = np.array(view(cotangents[1]))  # gradient of the state after the chunk
    of_steps, of_x, of_b, of_c = (np.empty(each.shape, dtype=np.float32) for each in arrays)
    of_rate = np.zeros(rate.shape, dtype=np.float32)
    chunks = _chunks(x.shape[1], rate.size)
    for row in range(x.shape[0]):
        for number, chunk in reversed(list(enumerate(chunks))):
            found = _states([each[row, chunk] for each in arrays], rate, kept[row, number])
            dy = of_y[row, chunk]
            of_c[row, chunk] = (dy[:, None] @ found.states)[:, 0]
            g = dy[..., None] * found.c[:, None]  # (L, C, S)
            _accumulate_back(g, found.decay, later[row])  # decay is now g * decay
            entering = (g @ found.b[..., None])[..., 0]  # (L, C)
            of_b[row, chunk] = ((found.steps * found.x)[:, None] @ g)[:, 0]
            np.multiply(entering, found.steps, out=of_x[row, chunk])
            passing = found.decay
            passing[0] *= kept[row, number]
            passing[1:] *= found.states[:-1]
            np.multiply(passing, rate, out=g)
            np.add(entering * found.x, g.sum(axis=-1), out=of_steps[row, chunk])
            passing *= found.steps[..., None]
            of_rate += passing.sum(axis=0)
    return tuple(fresh(each) for each in (of_steps, of_x, of_rate, of_b, of_c, later))


def _chunks(tokens: int, numbers: int) -> list[slice]:
    length = min(CHUNK, max(_SMALLEST, _WORKING_SET // numbers))
    return [slice(start, min(start + length, tokens)) for start in range(0, tokens, length)]


def _states(arguments: list[_Numbers], rate: _Numbers, before: _Numbers) -> _Chunk:
    """The states of a chunk, each after its token."""
    steps, x, b, c = arguments
    decay = steps[..., None] * rate  # (L, C, S)
    np.exp(decay, out=decay)
    states = (steps * x)[..., None] * b[:, None]
    moved = np.empty(rate.shape, dtype=np.float32)
    for token in range(len(steps)):
        np.multiply(decay[token], before, out=moved)
        states[token] += moved
        before = states[token]
    return _Chunk(steps, x, b, c, decay, states)


def _accumulate_back(g: _Numbers, decay: _Numbers, later: _Numbers) -> None:
    """Adds what later tokens ask of each state, in place; `decay` becomes g * decay, `later` the gradient of the first state."""
    asked = later
    for token in reversed(range(len(g))):
        g[token] += asked
        decay[token] *= g[token]
        asked = decay[token]
    later[...] = asked
