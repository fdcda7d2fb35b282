"""Random truncation of some samples, as LLaDA trains for texts of every length (arXiv 2502.09992).

R = rows, T = tokens per row

The cut depends only on the step's seed and the row's index in the step. A truncated sample keeps its total weight:
its remaining labels weigh more. So the denominator of a step is the plan's, and the mean over samples is LLaDA's,
which divides by the length after truncation.
"""

from typing import Any, NamedTuple, cast

import numpy as np

from lazarus_models.backend import mx
from lazarus_train.data.batches import PADDING, Batch


class Truncated(NamedTuple):
    """A batch with some samples truncated.

    Args:
        segment_ids: Padding after the cut; int (R, T).
        is_label: Whether a token counts; false after the cut; bool (R, T).
        weight: Weight of each label; float (R, T).
    """

    segment_ids: mx.array
    is_label: mx.array
    weight: mx.array


def truncate(batch: Batch, share: float, seed: int) -> Truncated:
    """Truncates each sample with probability `share`, after one of its labels drawn uniformly.

    Args:
        batch: Some rows of a step.
        share: Probability of a cut.
        seed: Seed of the step.
    """
    is_kept = np.ones(batch.ids.shape, dtype=np.bool_)
    weight = np.ones(batch.ids.shape, dtype=np.float32)
    # One generator per row, seeded by its index in the step: micro-batches do not change the draws.
    draws = {row: np.random.default_rng([seed, number]) for row, number in enumerate(batch.numbers)}
    labels = np.asarray(batch.is_label, dtype=np.bool_)
    for part in batch.parts:
        # Draw both numbers for every part, so that a decision does not shift the draws of later parts.
        is_cut, place = draws[part.row].random(2)
        if part.labels == 0 or is_cut >= share:
            continue
        # Uniform in 1..labels: the number of labels before the cut.
        left = 1 + int(place * part.labels)
        # Position of the last label that is left.
        last = part.start + int(np.flatnonzero(labels[part.row, part.start : part.end])[left - 1])
        is_kept[part.row, last + 1 : part.end] = False
        # Scale the remaining labels, so that the weights of the sample still add up to its number of labels.
        weight[part.row, part.start : part.end] = part.labels / left
    kept = mx.array(cast("Any", is_kept))  # the stub knows no numpy booleans
    return Truncated(mx.where(kept, batch.segment_ids, PADDING), batch.is_label & kept, mx.array(weight))
