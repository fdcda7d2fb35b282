"""Causal attention within segments on a CPU, computed block by block.

B = rows, N = tokens a row, H = query heads, K = key/value heads, D = width of a head. In a block: L = lines (its queries, the
heads of a group one after the other), M = keys that it sees

A block of queries reads no key after its last query. The forward pass keeps the logarithm of every softmax denominator, from
which the backward pass recomputes the probabilities (FlashAttention, arXiv 2205.14135). MLX computes matrix products, NumPy
computes exponentials (`numpy_views`). Forward and backward pass of 4 rows of 512 tokens, 8 heads of 32, take 34 ms on one core;
MLX operations in the same blocks take 92 ms.
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lazarus_models.backend import mx
from lazarus_models.ops.cpu.numpy_views import flat_view, fresh, view
from lazarus_models.trees import evaluate

BLOCK = 128
"""Queries of a block: the fastest size between 64 and 512."""
TOGETHER = 2**15
"""Scores of all heads up to which neighbouring short runs form one block with a mask: masked scores cost less than calls."""


class _Block(NamedTuple):
    """Queries `first:last` of a row, which see the keys `start:last`; the mask applies to the keys `first:last`."""

    row: int
    start: int
    first: int
    last: int
    mask: NDArray[np.float32]


def attend_runs(
    queries: Float[mx.array, "B H N D"],
    keys: Float[mx.array, "B K N D"],
    values: Float[mx.array, "B K N D"],
    runs: list[list[tuple[int, int]]],
    scale: float,
    sinks: Float[mx.array, " H"] | None = None,
) -> Float[mx.array, "B H N D"]:
    """Causal attention within each run of tokens, computed in float32.

    Args:
        queries: Queries, float, (B, H, N, D); H is a multiple of K.
        keys: Keys, float, (B, K, N, D).
        values: Values, float, (B, K, N, D).
        runs: Half-open token ranges of each row, ascending, which cover the row.
        scale: Factor of the scores.
        sinks: A score a head, float, (H,), that takes a share of every softmax and adds nothing; None for no sinks.
    """

    @mx.custom_function
    def attend(queries: Any, keys: Any, values: Any, sinks: Any) -> Any:
        return _gather(queries * scale, keys, mx.contiguous(values), sinks, runs)

    @attend.vjp  # pyright: ignore[reportUnknownMemberType, reportUntypedFunctionDecorator] (untyped in MLX)
    def slopes(primals: Any, cotangents: Any, outputs: Any) -> Any:
        queries, keys, values, sinks = primals
        slope = mx.contiguous(cotangents[0])
        return _slopes(queries * scale, keys, mx.contiguous(values), sinks, runs, scale, slope, *outputs)

    if sinks is None:
        sinks = mx.full((queries.shape[1],), -mx.inf)
    attended = cast("Any", attend(*(each.astype(mx.float32) for each in (queries, keys, values, sinks))))
    return attended[0].astype(queries.dtype)


@np.errstate(all="ignore")  # non-finite numbers appear in the loss
def _gather(
    queries: mx.array, keys: mx.array, values: mx.array, sinks: mx.array, runs: list[list[tuple[int, int]]]
) -> tuple[mx.array, mx.array]:
    """The attention output, and the logarithm of each softmax denominator; queries are scaled already."""
    rows, heads, tokens, width = queries.shape
    gathered = np.empty((rows, tokens, heads, width), dtype=np.float32)  # the layout that the next layer reads
    logs = np.empty((rows, heads, tokens), dtype=np.float32)
    sink = view(sinks)[:, None]
    for block in _blocks(runs, heads):
        row, start, first, last, mask = block
        products = _products(queries, keys, block)
        scores = _by_head(products, heads)
        scores[..., first - start :] += mask  # earlier keys are visible to every query of the block
        # Softmax: the largest score is subtracted before exp; a sink adds to the denominator only.
        top = np.maximum(scores.max(axis=-1), sink)
        np.exp(np.subtract(scores, top[..., None], out=scores), out=scores)
        total = scores.sum(axis=-1) + np.exp(sink - top)
        found = _by_head(products @ values[row, :, start:last], heads)
        np.divide(found, total[..., None], out=gathered[row, first:last].swapaxes(0, 1))
        np.add(np.log(total), top, out=logs[row, :, first:last])
    return mx.swapaxes(fresh(gathered), 1, 2), fresh(logs)


@np.errstate(all="ignore")
def _slopes(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    sinks: mx.array,
    runs: list[list[tuple[int, int]]],
    scale: float,
    slope: mx.array,
    gathered: mx.array,
    sums: mx.array,
) -> tuple[mx.array, ...]:
    """The gradients of queries, keys, values and sinks; queries are scaled already.

    Let p = exp(score - log of the denominator) and s the gradient of the output. The gradient of a value is p s, and that
    of a score is p (value . s - output . s).
    """
    heads, logs = queries.shape[1], view(sums)
    shared = (view(slope) * view(gathered)).sum(axis=-1)  # (B, H, N)
    of_queries = np.empty(queries.shape, dtype=np.float32)
    of_keys, of_values = np.zeros(keys.shape, dtype=np.float32), np.zeros(values.shape, dtype=np.float32)
    for block in _blocks(runs, heads):
        row, start, first, last, mask = block
        shares, changes = _products(queries, keys, block), _products(slope, values, block)
        evaluate([shares, changes])
        p, change = _by_head(shares, heads), _by_head(changes, heads)
        p[..., first - start :] += mask
        np.exp(np.subtract(p, logs[row, :, first:last, None], out=p), out=p)  # probabilities, recomputed
        # `change` holds value . s; it becomes the gradient of the scores.
        np.multiply(np.subtract(change, shared[row, :, first:last, None], out=change), p, out=change)
        found = [
            changes @ keys[row, :, start:last],
            mx.swapaxes(changes, 1, 2) @ _lines(queries, block, len(changes)),
            mx.swapaxes(shares, 1, 2) @ _lines(slope, block, len(shares)),
        ]
        evaluate(found)
        np.multiply(_by_head(found[0], heads), scale, out=of_queries[row, :, first:last])
        of_keys[row, :, start:last] += view(found[1])
        of_values[row, :, start:last] += view(found[2])
    # A sink has probability exp(sink - log of the denominator) and value 0: its score's gradient is -p (output . s).
    of_sinks = -(np.exp(view(sinks)[:, None] - logs) * shared).sum(axis=(0, 2))
    return fresh(of_queries), fresh(of_keys), fresh(of_values), fresh(of_sinks)


def _blocks(runs: list[list[tuple[int, int]]], heads: int) -> Iterator[_Block]:
    """Splits runs into blocks: a long run becomes several blocks, neighbouring short runs share one."""
    most = min(BLOCK, math.isqrt(TOGETHER // heads))
    for row, bounds in enumerate(runs):
        start, short = 0, list[int]()
        for first, last in bounds:
            if short and last - start > most:  # this run no longer fits: the short ones before it form a block
                yield _Block(row, start, start, first, _mask(*short))
                short.clear()
            if last - first > most:
                for block in range(first, last, BLOCK):
                    end = min(block + BLOCK, last)
                    yield _Block(row, first, block, end, _mask(end - block))
            else:
                start = start if short else first
                short.append(last - first)
        if short:
            yield _Block(row, start, start, start + sum(short), _mask(*short))


@lru_cache(maxsize=256)
def _mask(*lengths: int) -> NDArray[np.float32]:
    """The additive mask of neighbouring runs: minus infinity for later keys and for keys of other runs."""
    number = np.repeat(np.arange(len(lengths)), lengths)
    is_seen = np.tri(len(number), dtype=np.bool_) & (number[:, None] == number)
    return np.where(is_seen, np.float32(0), np.float32(-np.inf))


def _products(
    left: Float[mx.array, "B H N D"], right: Float[mx.array, "B K N D"], block: _Block
) -> Float[mx.array, "K L M"]:
    """The products of a block's lines with the keys that they see."""
    seen = right[block.row, :, block.start : block.last]
    return _lines(left, block, len(seen)) @ mx.swapaxes(seen, 1, 2)


def _lines(x: Float[mx.array, "B H N D"], block: _Block, groups: int) -> Float[mx.array, "K L D"]:
    return mx.reshape(x[block.row, :, block.first : block.last], (groups, -1, x.shape[-1]))


def _by_head(lines: Float[mx.array, "K L M"], heads: int) -> NDArray[np.float32]:
    """A view of a block's lines by head, (H, queries, M)."""
    return flat_view(lines, "a block of scores").reshape(heads, -1, lines.shape[-1])
