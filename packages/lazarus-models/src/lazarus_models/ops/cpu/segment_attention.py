"""Causal attention within runs of tokens, on a CPU, with scores that never exist whole.

B = rows, N = tokens a row, H = query heads, K = key/value heads, D = width of a head; of a block, L = lines (its queries, those
of a group's heads one after the other) and M = keys that it sees

Blocks of queries look at no later key than their own. The forward pass keeps the logarithm of every sum of exponentials, from
which the backward pass computes a block's probabilities again (Dao et al. 2022, arXiv 2205.14135). Matrix products are MLX's,
exponentials NumPy's (`vectors`): forward and backward pass of 4 rows of 512 tokens, 8 heads of 32, on one core take 34 ms; by MLX's
own operations, in the same blocks, 92 ms.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
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
"""Queries computed at once: of 64 to 512 the fastest."""
TOGETHER = 2**15
"""Scores, of all heads, up to which short runs are computed at once, as a block with a mask: so many cost less than the calls."""


class _Block(NamedTuple):
    """Queries `first:last` of a row, which see its keys `start:last` as far as the mask, of its own keys, lets them."""

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
    """Causal attention within each run of tokens, in float32.

    Args:
        queries: Of every head.
        keys: Of every group of heads.
        values: Likewise.
        runs: Half-open token ranges of each row, which together are the row.
        scale: What scores are multiplied by.
        sinks: A score of each head that takes a share of every softmax and gives nothing.
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


@np.errstate(all="ignore")  # what is not finite tells itself by the loss
def _gather(
    queries: mx.array, keys: mx.array, values: mx.array, sinks: mx.array, runs: list[list[tuple[int, int]]]
) -> tuple[mx.array, mx.array]:
    """What each query gathers, and the logarithm of its sum of exponentials; queries are scaled."""
    rows, heads, tokens, width = queries.shape
    gathered = np.empty((rows, tokens, heads, width), dtype=np.float32)  # laid out as the next layer reads it
    logs = np.empty((rows, heads, tokens), dtype=np.float32)
    sink = view(sinks)[:, None]
    for block in _blocks(runs, heads):
        row, start, first, last, mask = block
        products = _products(queries, keys, block)
        scores = _by_head(products, heads)
        scores[..., first - start :] += mask
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
    """With shares p = exp(score - log of the sum) and slope s of what is gathered: d/d value = p s, and d/d score =
    p (value s - gathered s), of which queries and keys have their gradients; queries are scaled.
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
        np.exp(np.subtract(p, logs[row, :, first:last, None], out=p), out=p)
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
    of_sinks = -(np.exp(view(sinks)[:, None] - logs) * shared).sum(axis=(0, 2))
    return fresh(of_queries), fresh(of_keys), fresh(of_values), fresh(of_sinks)


def _blocks(runs: list[list[tuple[int, int]]], heads: int) -> Iterator[_Block]:
    """Long runs in blocks of their own, short ones that follow each other in one."""
    most = min(BLOCK, math.isqrt(TOGETHER // heads))
    for row, bounds in enumerate(runs):
        start, short = 0, list[int]()
        for first, last in bounds:
            if short and last - start > most:
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
    """What is added to scores within runs of these lengths: minus infinity for later keys and those of other runs."""
    number = np.repeat(np.arange(len(lengths)), lengths)
    is_seen = np.tri(len(number), dtype=np.bool_) & (number[:, None] == number)
    return np.where(is_seen, np.float32(0), np.float32(-np.inf))


def _products(
    left: Float[mx.array, "B H N D"], right: Float[mx.array, "B K N D"], block: _Block
) -> Float[mx.array, "K L M"]:
    """Products of a block's lines with the keys that they see."""
    seen = right[block.row, :, block.start : block.last]
    return _lines(left, block, len(seen)) @ mx.swapaxes(seen, 1, 2)


def _lines(x: Float[mx.array, "B H N D"], block: _Block, groups: int) -> Float[mx.array, "K L D"]:
    return mx.reshape(x[block.row, :, block.first : block.last], (groups, -1, x.shape[-1]))


def _by_head(lines: Float[mx.array, "K L M"], heads: int) -> NDArray[np.float32]:
    """The numbers of a block, (H, queries, M), in the memory of the lines."""
    return flat_view(lines, "a block of scores").reshape(heads, -1, lines.shape[-1])
