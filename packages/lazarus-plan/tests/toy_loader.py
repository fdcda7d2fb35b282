"""A loader that follows a plan, and every fault of the table of `lazarus_plan.testing`, to plant in it."""

import random
from collections.abc import Iterator
from typing import Any

from lazarus_plan import BatchPlan, LengthCache, LengthRow, PlanConfig, PlanCursor, build_plan
from lazarus_plan.plan import Row, Segment
from lazarus_plan.testing import numbered_tokens

LENGTHS = [17, 30, 64, 5, 12, 40, 33, 9, 21, 58, 3, 47]
Batch = dict[str, Any]

FAULTS: dict[str, str] = {
    "a cut sample begins at its first token in every row": "check_tokens",
    "two samples of a row change places": "check_tokens",
    "a sample begins one token late in its row": "check_tokens",
    "the last token of every sample is missing": "check_coverage",
    "a sample has the tokens of another version of the data": "check_coverage",
    "padding has another id": "check_tokens",
    "padding is a segment of its own": "check_tokens",
    "padding is predicted": "check_tokens",
    "labels are shifted by one": "check_tokens",
    "labels ignore the loss mask": "check_tokens",
    "the first token of a sample is predicted from the sample before it": "check_tokens",
    "all samples of a row are one segment": "check_tokens",
    "positions run on from one sample to the next": "check_tokens",
    "a rank leaves its last row out": "check_coverage",
    "every rank has all rows": "check_coverage",
    "a rank without rows has no micro-batch": "check_micro_batches",
    "the last step is missing": "check_micro_batches",
    "two steps change places": "check_tokens",
    "the second epoch is the first again": "check_tokens",
    "rows are drawn from a random state that all loaders share": "check_determinism",
    "rows are drawn from a shared random state that each loader seeds at its start": "check_determinism",
    "resuming starts again at the first step": "check_resume",
    "resuming leaves a step out": "check_resume",
    "the state counts steps of all ranks together": "check_elastic_resume",
}
"""Each fault, and the law that is meant for it."""


def toy_plan() -> tuple[BatchPlan, list[list[int]], list[list[int]]]:
    """A plan with cut samples, padding, two epochs and steps of two rows; its tokens; loss masks."""
    cache = LengthCache.from_rows(LengthRow(f"s{number}", length) for number, length in enumerate(LENGTHS))
    plan = build_plan(cache, PlanConfig(token_budget=96, row_len=48, epochs=2, oversize="split"))
    tokens = numbered_tokens(LENGTHS)
    return plan, tokens, [[int(at >= len(ids) // 2) for at in range(len(ids))] for ids in tokens]


class ToyLoader:
    """Micro-batches of one row of a rank, step by step.

    Args:
        plan: The plan to follow.
        tokens: Token ids by sample.
        masks: 1 where a token is predicted.
        rank: 0-based.
        world_size: Number of ranks.
        state: What `state` was when the run stopped; 0 for a new run.
        fault: What it does wrong, of `FAULTS`; nothing by default.
    """

    shared = random.Random(0)

    def __init__(
        self,
        plan: BatchPlan,
        tokens: list[list[int]],
        masks: list[list[int]],
        rank: int,
        world_size: int,
        state: int,
        fault: str = "",
    ) -> None:
        assert fault in {"", *FAULTS}, fault
        self.plan, self.tokens, self.masks, self.fault = plan, tokens, masks, fault
        self.rank, self.world_size = rank, world_size
        self.next_step = state // world_size if self.has("the state counts steps of all ranks together") else state
        if self.has("rows are drawn from a shared random state that each loader seeds at its start"):
            self.shared.seed(0)
        if state and self.has("resuming starts again at the first step"):
            self.next_step = 0
        if state and self.has("resuming leaves a step out"):
            self.next_step = state + 1

    def has(self, fault: str) -> bool:
        assert fault in FAULTS, fault
        return self.fault == fault

    @property
    def state(self) -> int:
        """What a checkpoint keeps."""
        return self.next_step * (self.world_size if self.has("the state counts steps of all ranks together") else 1)

    def __iter__(self) -> Iterator[list[Batch]]:
        while self.next_step < len(self.plan) - self.has("the last step is missing"):
            self.next_step += 1
            yield self.step(self.next_step - 1)

    def step(self, index: int) -> list[Batch]:
        if index < 2 and self.has("two steps change places"):
            index = 1 - index
        if self.has("the second epoch is the first again"):
            index %= self.plan.metadata.epochs[0].steps
        step = self.plan.step(index)
        share = PlanCursor(self.plan, self.rank, self.world_size, micro_rows=1).share(index).micro_batches
        rows = [list(batch) for batch in share]
        if self.has("every rank has all rows"):
            rows = [[row] for row in step.rows]
        if self.has("rows are drawn from a random state that all loaders share") or self.has(
            "rows are drawn from a shared random state that each loader seeds at its start"
        ):
            shuffled = self.shared.sample(step.rows, len(step.rows))
            rows = [shuffled[number : number + 1] for number in range(self.rank, len(shuffled), self.world_size)]
            rows += [[]] * (len(share) - len(rows))
        if self.has("a rank leaves its last row out") and rows[-1]:
            rows[-1] = []
        if self.has("a rank without rows has no micro-batch"):
            rows = [batch for batch in rows if batch]
        return [self.batch(batch, step.row_len) for batch in rows]

    def batch(self, rows: list[Row], row_len: int) -> Batch:
        made = [self.row(row, row_len) for row in rows]
        names = ("input_ids", "position_ids", "segment_ids", "labels", "samples")
        return {name: [row[name] for row in made] for name in names}

    def row(self, row: Row, row_len: int) -> Batch:
        padding = {
            "input_ids": 7 if self.has("padding has another id") else 0,
            "position_ids": 0,
            "segment_ids": len(row.segments) + 1 if self.has("padding is a segment of its own") else 0,
            "labels": 0 if self.has("padding is predicted") else -100,
        }
        made: Batch = {name: [value] * row_len for name, value in padding.items()}
        segments = list(row.segments)
        if len(segments) > 1 and self.has("two samples of a row change places"):
            first, second = segments[:2]
            segments[0] = Segment(second.sample, 0, second.end - second.start, second.span)
            segments[1] = Segment(first.sample, segments[0].end, segments[0].end + first.end - first.start, first.span)
        for number, segment in enumerate(segments, 1):
            self.fill(made, number, segment)
        return made | {"samples": tuple(segment.sample for segment in segments)}

    def fill(self, made: Batch, number: int, segment: Segment) -> None:
        """Writes one sample into a row."""
        size = segment.end - segment.start
        first = segment.span[0] if segment.span else 0
        if self.has("a cut sample begins at its first token in every row"):
            first = 0
        ids = self.tokens[segment.sample][first : first + size]
        if segment.sample == 3 and self.has("a sample has the tokens of another version of the data"):
            ids = [number + 1000 for number in ids]
        mask = self.masks[segment.sample][first : first + size]
        labels = [number if is_predicted else -100 for number, is_predicted in zip(ids, mask, strict=True)]
        if self.has("labels ignore the loss mask"):
            labels = list(ids)
        if not self.has("the first token of a sample is predicted from the sample before it"):
            labels[0] = -100
        else:
            labels[0] = ids[0]
        if self.has("labels are shifted by one"):
            labels = [*labels[1:], -100]
        start = segment.start
        if self.has("a sample begins one token late in its row") and segment.end < len(made["input_ids"]):
            start += 1
        if self.has("the last token of every sample is missing"):
            size -= 1
        where = slice(start, start + size)
        shift = segment.start if self.has("positions run on from one sample to the next") else 0
        made["input_ids"][where] = ids[:size]
        made["labels"][where] = labels[:size]
        made["position_ids"][where] = range(shift, shift + size)
        made["segment_ids"][where] = [1 if self.has("all samples of a row are one segment") else number] * size
