"""Samples cut to a random length, some of them: what LLaDA does to be at home in texts of every length (arXiv 2502.09992).

R = rows, T = tokens a row

What is cut is decided by the step's seed and the row's number in it, whatever the row is computed with. A sample that is cut
counts as much as it did: its labels that are left weigh more. So a step's denominator is the plan's, and the mean over
samples is LLaDA's, which divides by the length after the cut.
"""

from typing import Any, NamedTuple, cast

import numpy as np

from lazarus_models.backend import mx
from lazarus_train.data.batches import PADDING, Batch


class Truncated(NamedTuple):
    """A batch with some samples cut.

    Args:
        segment_ids: Padding behind the cut; int (R, T).
        is_label: Whether a token counts; none behind the cut; bool (R, T).
        weight: What a label counts; float (R, T).
    """

    segment_ids: mx.array
    is_label: mx.array
    weight: mx.array


def truncate(batch: Batch, share: float, seed: int) -> Truncated:
    """Cuts each sample with probability `share` behind a label drawn evenly from its own.

    Args:
        batch: Some rows of a step.
        share: Probability of a cut.
        seed: Of the step.
    """
    is_kept = np.ones(batch.ids.shape, dtype=np.bool_)
    weight = np.ones(batch.ids.shape, dtype=np.float32)
    draws = {row: np.random.default_rng([seed, number]) for row, number in enumerate(batch.numbers)}
    labels = np.asarray(batch.is_label, dtype=np.bool_)
    for part in batch.parts:
        is_cut, place = draws[part.row].random(2)
        if part.labels == 0 or is_cut >= share:
            continue
        left = 1 + int(place * part.labels)
        last = part.start + int(np.flatnonzero(labels[part.row, part.start : part.end])[left - 1])
        is_kept[part.row, last + 1 : part.end] = False
        weight[part.row, part.start : part.end] = part.labels / left
    kept = mx.array(cast("Any", is_kept))  # the stub knows no numpy booleans
    return Truncated(mx.where(kept, batch.segment_ids, PADDING), batch.is_label & kept, mx.array(weight))
