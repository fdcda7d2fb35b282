"""The recurrence of Mamba (arXiv 2312.00752), with a gradient that keeps one state a chunk instead of one a token.

B = rows, T = tokens a row, C = channels, S = state elements a channel, L = tokens of a chunk

    state[t] = exp(step[t] * rate) * state[t - 1] + step[t] * x[t] * b[t],    y[t] = sum over S of state[t] * c[t]

The gradient keeps the arguments and the state before each chunk; the states within a chunk are recomputed. Plain automatic
differentiation keeps about thirty arrays of (B, T, C, S): 6 MiB a token for a model of 1.5 million parameters.

On a CPU, NumPy computes the exponentials and updates the state token by token within a core's cache. On other devices a
chunk is scanned in log2(L) passes.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
# MLX leaves its functions untyped:
# pyright: reportUnknownMemberType=false
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lazarus_models.backend import mx, on_cpu
from lazarus_models.ops.cpu.numpy_views import fresh, view
from lazarus_models.ops.recomputation import recomputed

CHUNK = 64
"""Largest number of tokens of a chunk."""
_SMALLEST = 16
"""Smallest number of tokens of a chunk: with 16 state elements a channel, the kept states are then as large as `x`."""
_PARTS = 8
"""Parts into which MLX 0.32 splits an array without slices."""
_WORKING_SET = 2**19
"""State elements of a chunk: three arrays of 2 MiB each, about a core's cache."""
_Numbers = NDArray[np.float32]


def selective_scan(
    steps: Float[mx.array, "B T C"],
    x: Float[mx.array, "B T C"],
    rates: Float[mx.array, "C S"],
    b: Float[mx.array, "B T S"],
    c: Float[mx.array, "B T S"],
    state: Float[mx.array, "B C S"] | None = None,
) -> tuple[Float[mx.array, "B T C"], Float[mx.array, "B C S"]]:
    """The outputs and the last state of Mamba's recurrence.

    Args:
        steps: Time steps, at least 0, float, (B, T, C). A step of 0 leaves the state as it is.
        x: Inputs, float, (B, T, C).
        rates: Decay rates, below 0, float, (C, S).
        b: Weights with which the input enters the state, float, (B, T, S).
        c: Weights with which the state is read, float, (B, T, S).
        state: State before the first token, float, (B, C, S); None for zeros.

    Returns:
        The outputs (B, T, C) and the last state (B, C, S).
    """
    if state is None:
        state = mx.zeros((x.shape[0], x.shape[2], rates.shape[1]), dtype=x.dtype)
    arrays = (steps, x, rates, b, c, state)
    if x.shape[1] > 1 and on_cpu() and all(each.dtype == mx.float32 for each in arrays):
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
    """Every state of state[t] = decay[t] * state[t - 1] + drive[t], (B, T, C, S).

    A chunk takes log2(chunk) passes over all tokens, instead of one pass a token. Only factors of at most one are
    multiplied, so nothing overflows.

    Args:
        decay: Decay factors in [0, 1], float, (B, T, C, S).
        drive: Inputs of the state, float, (B, T, C, S).
        state: State before the first token, float, (B, C, S); None for zeros.

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
    """Splits the token axis into chunks of `CHUNK` tokens, so that one copy concatenates their gradients.

    `mx.split` into many parts makes slices, and the gradient of a slice is as large as `x`. So long inputs are split in
    two stages, each into few parts.
    """
    tokens = x.shape[1]
    length = CHUNK * max(1, -(-tokens // (CHUNK * _PARTS)))
    if tokens <= length:
        return [x]
    parts = list(mx.split(x, list(range(length, tokens, length)), axis=1))
    return parts if length == CHUNK else [chunk for part in parts for chunk in in_chunks(part)]


def _scan_chunk(decay: mx.array, drive: mx.array, state: mx.array) -> tuple[mx.array, mx.array]:
    """Hillis-Steele scan: after each pass, a and b describe the map over twice as many tokens, s -> a s + b."""
    a, b = decay, mx.concatenate([drive[:, :1] + decay[:, :1] * state[:, None], drive[:, 1:]], axis=1)
    reach = 1
    while reach < b.shape[1]:
        b = mx.concatenate([b[:, :reach], b[:, reach:] + a[:, reach:] * b[:, :-reach]], axis=1)
        a = mx.concatenate([a[:, :reach], a[:, reach:] * a[:, :-reach]], axis=1)
        reach *= 2
    return b, b[:, -1]


def _by_passes(*arrays: mx.array) -> tuple[mx.array, mx.array]:
    """One chunk, with MLX operations."""

    def chunk(
        steps: mx.array, x: mx.array, rates: mx.array, b: mx.array, c: mx.array, state: mx.array
    ) -> tuple[mx.array, mx.array]:
        decay = mx.exp(steps[..., None] * rates)  # (B, L, C, S)
        states, last = _scan_chunk(decay, (steps * x)[..., None] * b[:, :, None], state)
        return (states @ c[..., None]).squeeze(-1), last

    if arrays[1].shape[1] == 1:  # one token of an answer: nothing to recompute
        return chunk(*arrays)
    y, state = recomputed(chunk, *arrays)
    return y, state


class _Chunk(NamedTuple):
    """The arguments of one chunk of one row, with its decay factors and states."""

    steps: _Numbers
    x: _Numbers
    b: _Numbers
    c: _Numbers
    decay: _Numbers
    states: _Numbers


@mx.custom_function
@np.errstate(all="ignore")  # non-finite numbers appear in the loss
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
    """The gradients of all arguments, from the last chunk to the first.

    Let g[t] be the gradient of state[t]: g[t] = dy[t] c[t] + decay[t + 1] g[t + 1]. Then the gradient of b is the sum over
    C of g step x. The gradients of x and step contain the sum over S of g b, times the other one. The gradient of
    step * rate is g[t] decay[t] state[t - 1].
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
            _accumulate_back(g, found.decay, later[row])  # found.decay becomes g * decay
            entering = (g @ found.b[..., None])[..., 0]  # (L, C)
            of_b[row, chunk] = ((found.steps * found.x)[:, None] @ g)[:, 0]
            np.multiply(entering, found.steps, out=of_x[row, chunk])
            # g * decay * previous state = gradient of step * rate; the state before the first token is the kept one.
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
    """The state after each token of a chunk."""
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
    """Adds the gradients from later tokens to g, in place.

    `decay` becomes g * decay, and `later` becomes the gradient of the state before the chunk.
    """
    asked = later
    for token in reversed(range(len(g))):
        g[token] += asked
        decay[token] *= g[token]
        asked = decay[token]
    later[...] = asked
