"""Count the rows and tokens of each source, step by step, and compare them with the weights of the plan's stages.

The counts since the start come from the plan, not from a log, so a resumed run counts the same. A row has samples of one
source in every mode. Cost: 40 to 70 microseconds a step (2 to 8 sources, 2 cores), and one pass over the earlier steps when
counting begins later.

K = sources
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_core.canonical import JSON
from lazarus_plan.numbering import Numbering
from lazarus_plan.packing.mixture import stages_of
from lazarus_plan.plan import BatchPlan

Counts = tuple[int, ...]


class StepMixture(NamedTuple):
    """Sources of one step. Every tuple has one number for each source, in the order of the plan's sources, (K,).

    Args:
        asked: Weights of the step's stage, 0 for a source that it does not mix. A stage without weights mixes in proportion
            to the rows of its sources, which are then the weights.
        rows: Rows of the step.
        tokens: Tokens of the step, without padding.
        seen_rows: Rows since the first step, this step included.
        seen_tokens: Tokens since the first step, this step included.
        due_rows: Rows since the first step that the weights ask for.
    """

    asked: Counts
    rows: Counts
    tokens: Counts
    seen_rows: Counts
    seen_tokens: Counts
    due_rows: tuple[float, ...]

    def to_json(self) -> JSON:
        """The integers, by name. Shares follow from them."""
        return {name: list(value) for name, value in self._asdict().items() if name != "due_rows"}


def count_mixture(plan: BatchPlan, first_step: int = 0) -> Iterator[StepMixture]:
    """Yield the mixture of every step from `first_step` on.

    >>> from lazarus_plan import LengthCache, LengthRow, PlanConfig, Stage, build_plan
    >>> caches = [LengthCache.from_rows([LengthRow(f"{name}{n}", 4) for n in range(6)]) for name in "ab"]
    >>> stage = Stage(sources=(0, 1), weights=(2, 1))
    >>> plan = build_plan(caches, PlanConfig(token_budget=12, row_len=4, stages=(stage,)))
    >>> last = list(count_mixture(plan))[-1]
    >>> last.asked, last.rows, last.seen_rows
    ((2, 1), (2, 1), (12, 6))

    Args:
        plan: The plan.
        first_step: First step to yield; earlier ones are counted only, 0..len(plan).
    """
    numbering = Numbering.of_plan(plan.metadata)
    parts = _stages(plan)
    seen_rows, seen_tokens = (np.zeros(numbering.num_sources, dtype=np.int64) for _ in range(2))
    in_stage = [0] * len(parts)
    place = 0
    for number, (_, begin, end) in enumerate(parts):
        for block in plan.blocks(begin, min(end, first_step)):
            rows, tokens = _count(block, numbering)
            seen_rows += rows
            seen_tokens += tokens
            in_stage[number] += int(rows.sum())
    for index in range(first_step, len(plan)):
        while parts[place][2] <= index:
            place += 1
        rows, tokens = _count(plan.steps(index, index + 1), numbering)
        seen_rows += rows
        seen_tokens += tokens
        in_stage[place] += int(rows.sum())
        due = np.sum(
            [np.multiply(done / sum(asked), asked) for done, (asked, *_) in zip(in_stage, parts, strict=True)], axis=0
        )
        yield StepMixture(
            parts[place][0],
            *(tuple(each.tolist()) for each in (rows, tokens, seen_rows, seen_tokens)),
            due_rows=tuple(due.tolist()),
        )


def _stages(plan: BatchPlan) -> list[tuple[Counts, int, int]]:
    """Weights, first step and end (exclusive) of every stage that has steps, in order."""
    count = len(plan.metadata.sources)
    found: list[tuple[Counts, int, int]] = []
    for epoch in plan.metadata.epochs:
        for stage, part in zip(stages_of(plan.metadata.config, count), epoch.stages, strict=True):
            if part.steps:
                weights = _spread(part.sources, stage.weights or part.rows, count)
                found.append((weights, part.first_step, part.first_step + part.steps))
    return found


def _spread(sources: Sequence[int], weights: Sequence[int], count: int) -> Counts:
    by_source = dict(zip(sources, weights, strict=True))
    return tuple(by_source.get(source, 0) for source in range(count))


def _count(part: BatchPlan, numbering: Numbering) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and tokens of each source in some steps, int64 (K,)."""
    source = numbering.source_of(part.sample)
    row_lens = part.row_lens[0] if len(part) == 1 else np.repeat(part.row_lens, np.diff(part.step_splits))
    rows = np.bincount(source[part.start % row_lens == 0], minlength=numbering.num_sources)
    # Weights of `bincount` are float64: exact for the tokens of a block of steps.
    tokens = np.bincount(source, weights=part.length, minlength=numbering.num_sources)
    return rows, tokens.astype(np.int64)
