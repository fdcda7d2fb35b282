"""Mode stable: rows are shared, and an edited, added or removed sample changes few steps.

Samples are ordered by a hash of their content, and the range of hashes is cut into equal chunks. Each chunk is packed and
assigned to steps separately. A change affects the chunk that a sample leaves and the chunk that it enters. All other steps
keep their content; their numbers shift if a chunk gains or loses a step. The number of chunks is a power of two, so it
changes only if the data grows or shrinks across one.

The cost: the last row and step of each chunk are not full (`tools/benchmarks/plan_stable.py` measures it).
"""

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.config import PlanConfig, Stage
from lazarus_plan.packing.balance import deal, even_sizes, row_costs
from lazarus_plan.packing.items import Items, Placed
from lazarus_plan.packing.permutation import shuffle_key, splitmix64
from lazarus_plan.packing.rows import Rows, join_rows, lay_out, pack_window
from lazarus_plan.packing.sorting import order_by
from lazarus_plan.plan import WHOLE, Integers, StagePart, narrow, narrow_lengths

STEPS_PER_CHUNK = 4
"""A chunk has 4 to 8 steps of tokens unless `window` is given. One edit affects two chunks, and padding rises by about half
a row per chunk."""


def place_stable(
    items: Items, config: PlanConfig, epoch: int, number: int, stage: Stage, consumed: NDArray[np.int64] | None
) -> Placed:
    """Place one stage of an epoch, packed and ordered by content (mode stable).

    Args:
        items: Items of all sources.
        config: Resolved configuration.
        epoch: 0-based epoch.
        number: 0-based stage within the epoch.
        stage: Sources of the stage.
        consumed: How often each item was already placed in this stage, (M,), or None for never.
    """
    every = np.concatenate([_positions(items.of(source)) for source in stage.sources])
    chosen = every if consumed is None else every[consumed[every] == 0]
    hashed = _hashes(items, chosen, shuffle_key(f"stable-{number}", config.seed, 0, epoch))
    # Stable, because samples of equal content have equal hashes.
    order = np.argsort(hashed, kind="stable")  # equal content: in the order of the data
    chosen, hashed = narrow(chosen[order], len(items)), hashed[order]
    borders = np.searchsorted(hashed, _chunk_starts(items, chosen, config))
    chunks = [part for part in np.split(chosen, borders[1:]) if len(part)]
    packed = [_pack_chunk(part, items, config, stage) for part in chunks]
    sizes = [even_sizes(len(rows.row_splits) - 1, config.rows_per_step) for rows in packed]
    source_rows = _rows_by_source(packed, items, stage)
    part = StagePart(
        first_step=0,
        steps=sum(map(len, sizes)),
        sources=stage.sources,
        rows=source_rows,
        passes=tuple((1, 0) for _ in stage.sources),
    )
    if not packed:  # all of it was placed before
        nothing = np.zeros(0, dtype=np.int64)
        return Placed(nothing, nothing, nothing, np.zeros(1, dtype=np.int64), nothing, (part,))
    first_steps = np.cumsum([0, *map(len, sizes)])
    # Steps of each chunk count from 0; add the number of steps in earlier chunks.
    step = np.concatenate(
        [
            _deal_chunk(rows, size, config, epoch) + first
            for rows, size, first in zip(packed, sizes, first_steps, strict=False)
        ]
    )
    rows = join_rows(packed)
    row_order = narrow(order_by(step, _cheapness(rows, config)), len(step))
    return lay_out(rows, row_order, np.concatenate(sizes), config, part)


def _positions(of: slice) -> NDArray[np.int64]:
    return np.arange(int(of.start), int(of.stop))


def _hashes(items: Items, chosen: NDArray[np.int64], key: int) -> NDArray[np.uint64]:
    """Hash of each item: of its sample's content and, for a cut sample, of its piece number."""
    assert items.content is not None, "mode stable reads the content of samples"
    start = items.span_starts(chosen)
    # The inner hash makes pieces of one sample differ; the outer one mixes content and key.
    piece = np.where(start == WHOLE, 0, start).astype(np.uint64)
    return splitmix64(items.content[items.samples(chosen)] ^ splitmix64(piece + np.uint64(key)))


def _chunk_starts(items: Items, chosen: Integers, config: PlanConfig) -> NDArray[np.uint64]:
    """First hash of each chunk; the chunks are 2^n equal parts of the range of hashes."""
    tokens = int(items.length[chosen].sum(dtype=np.int64))
    chunks = len(chosen) // config.window if config.window else tokens // (STEPS_PER_CHUNK * config.token_budget)
    # Largest power of two <= chunks. Chunk i starts at i * 2^(64 - bits), that is, i in the top bits.
    # One chunk would need a shift by 64 bits, so it is a separate case.
    bits = max(chunks, 1).bit_length() - 1
    return np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits) if bits else np.zeros(1, dtype=np.uint64)


def _pack_chunk(chosen: Integers, items: Items, config: PlanConfig, stage: Stage) -> Rows:
    """Pack a chunk. Each row has samples of one source."""
    # Last split <= item is the first item of its source.
    source = np.searchsorted(items.splits, chosen, side="right") - 1
    parts = [chosen[source == each] for each in stage.sources]
    return join_rows([pack_window(part, items, config) for part in parts if len(part)])


def _rows_by_source(packed: list[Rows], items: Items, stage: Stage) -> tuple[int, ...]:
    # All items of a row come from one source, so the first one determines it.
    firsts = [rows.item[rows.row_splits[:-1]] for rows in packed] or [np.zeros(0, dtype=np.int64)]
    source = np.searchsorted(items.splits, np.concatenate(firsts), side="right") - 1
    return tuple(int((source == each).sum()) for each in stage.sources)


def _deal_chunk(rows: Rows, sizes: NDArray[np.int64], config: PlanConfig, epoch: int) -> NDArray[np.int32]:
    """Assign the rows of a chunk to steps, counted from 0."""
    samples = narrow_lengths(np.diff(rows.row_splits), config.resolved_row_len)
    return deal(_cheapness(rows, config), samples, sizes, seed=config.seed, source=0, epoch=epoch)


def _cheapness(rows: Rows, config: PlanConfig) -> Integers:
    """Cost of the most expensive possible row minus the cost of each row, so that it depends on no other row."""
    most = config.resolved_row_len**2
    return narrow(most - row_costs(rows.length, rows.row_splits), most)
