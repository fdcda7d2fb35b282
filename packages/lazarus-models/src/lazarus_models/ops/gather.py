"""Rows of a table by index, with a gradient that adds the rows of one index in a fixed order.

V = rows of the table, N = indices, D = numbers a row

MLX's gradient of `table[ids]` is a scattered sum: on a GPU, threads add the rows of one index in any order. Here the rows
are sorted by index, and each index's rows are added in pairs, then pairs of pairs, by log2(N) element-wise passes. The
order depends on nothing but the sequence of an index's rows, so every device gives the same bits.

Two other ways were measured on two cores with `tools/benchmarks/gather_gradient.py`. A product with a one-hot matrix costs
2 N V D operations instead of about 3 N D log2(N): 2, 19 and 18 times slower at V = 512, 8,192 and 49,152. MLX's product of
segments with ones is 3 to 17 times faster on a CPU, but its order and its precision (TF32) are the library's, and it
multiplies one matrix an index. For an H200, float32 without TF32, 16,384 tokens, V = 49,152 and D = 576, the one-hot product
is 0.9 TFLOP, about 15 ms; the passes move 2.6 GB of memory, about 0.6 ms (computed from the card's figures, not measured).
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
# MLX leaves its functions untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from typing import Any, cast

from jaxtyping import Float, Integer

from lazarus_models.backend import mx
from lazarus_models.ops.gradient_order import has_fixed_gradient_order

_BLOCK = 2**24
"""Numbers that a pass adds at once: 64 MiB. More columns are added in blocks, with the same bits."""


def gather_rows(
    table: Float[mx.array, "V ..."], ids: Integer[mx.array, "..."], *, is_distinct: bool = False
) -> Float[mx.array, "..."]:
    """The rows `table[ids]`. If `has_fixed_gradient_order()`, the gradient is added in a fixed order.

    Args:
        table: Rows, float, (V, ...).
        ids: Indices in [0, V), integer, of any shape. MLX does not check them.
        is_distinct: Whether no index occurs twice, so that the gradient adds nothing.
    """
    if not has_fixed_gradient_order():
        return table[ids]
    return cast("mx.array", (_picked if is_distinct else _gathered)(table, ids))


def permute_rows(
    rows: Float[mx.array, "N ..."], order: Integer[mx.array, " N"], inverse: Integer[mx.array, " N"]
) -> Float[mx.array, "N ..."]:
    """`rows[order]` for a permutation; its gradient is a gather, too, and adds nothing.

    Args:
        rows: Rows, float, (N, ...).
        order: Permutation of the rows, integer, (N,).
        inverse: The inverse permutation, integer, (N,).
    """
    return cast("mx.array", _permuted(rows, order, inverse))


def sum_rows_by_id(rows: Float[mx.array, "N D"], ids: Integer[mx.array, " N"], count: int) -> Float[mx.array, "V D"]:
    """For each index, the sum of the rows with that index, in float32 and in a fixed order.

    Args:
        rows: Rows to add, float, (N, D).
        ids: Index of each row, in [0, V), integer, (N,).
        count: V.

    >>> sum_rows_by_id(mx.array([[1.0], [2.0], [4.0]]), mx.array([1, 0, 1]), 3).flatten()
    array([2, 5, 0], dtype=float32)
    """
    if not ids.size:
        return mx.zeros((count, rows.shape[1]))
    order = mx.argsort(ids)  # stable: rows of an index keep their order
    ascending = ids[order]
    last = _last_places(ascending, count)
    width = max(1, _BLOCK // ids.size)
    blocks: list[mx.array] = []
    for first in range(0, max(1, rows.shape[1]), width):
        sums = _running_sums(rows[:, first : first + width][order].astype(mx.float32), ascending)
        blocks.append(_rows_at(sums, last))
    return blocks[0] if len(blocks) == 1 else mx.concatenate(blocks, axis=1)


def _last_places(ids: mx.array, count: int) -> mx.array:
    """The last place of each index, counted from 1; 0 for an index that does not occur."""
    # A maximum of integers is the same in any order.
    return mx.zeros((count,), mx.int32).at[ids].maximum(mx.arange(1, ids.size + 1, dtype=mx.int32))


def _rows_at(rows: mx.array, places: mx.array) -> mx.array:
    """Rows at places counted from 1; zeros at place 0."""
    return mx.where((places > 0)[:, None], rows[mx.maximum(places - 1, 0)], 0.0)


def _running_sums(rows: mx.array, ids: mx.array) -> mx.array:
    """For each row, the sum of the rows of its index up to itself; ids ascend."""
    reach = 1
    while reach < ids.size:
        # Each row is the sum of the last `reach` rows of its index up to itself; afterwards of twice as many.
        is_same = (ids[reach:] == ids[:-reach])[:, None]
        rows = mx.concatenate([rows[:reach], rows[reach:] + mx.where(is_same, rows[:-reach], 0.0)])
        reach *= 2
    return rows


@mx.custom_function
def _gathered(table: Any, ids: Any) -> Any:
    return table[ids]


@_gathered.vjp  # pyright: ignore[reportUntypedFunctionDecorator] (untyped in MLX)
def _of_table(primals: Any, cotangent: Any, _: Any) -> Any:
    table, ids = primals
    flat = mx.reshape(cotangent, (ids.size, table.size // table.shape[0]))
    sums = sum_rows_by_id(flat, mx.flatten(ids), table.shape[0])
    return mx.reshape(sums, table.shape).astype(table.dtype), mx.zeros_like(ids)


@mx.custom_function
def _picked(table: Any, ids: Any) -> Any:
    return table[ids]


@_picked.vjp  # pyright: ignore[reportUntypedFunctionDecorator] (untyped in MLX)
def _of_picked(primals: Any, cotangent: Any, _: Any) -> Any:
    table, ids = primals
    if not ids.size:
        return mx.zeros_like(table), mx.zeros_like(ids)
    flat = mx.reshape(cotangent, (ids.size, table.size // table.shape[0]))
    slopes = _rows_at(flat, _last_places(mx.flatten(ids), table.shape[0]))
    return mx.reshape(slopes, table.shape).astype(table.dtype), mx.zeros_like(ids)


@mx.custom_function
def _permuted(rows: Any, order: Any, _: Any) -> Any:
    return rows[order]


@_permuted.vjp  # pyright: ignore[reportUntypedFunctionDecorator] (untyped in MLX)
def _of_rows(primals: Any, cotangent: Any, _: Any) -> Any:
    _, order, inverse = primals
    return cotangent[inverse], mx.zeros_like(order), mx.zeros_like(inverse)
