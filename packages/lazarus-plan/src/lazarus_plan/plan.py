"""The plan in memory: the samples of every row of every step.

N = placed samples (over all epochs), S = steps. A *segment* is the range of one sample in a row; a *row* has `row_len`
tokens; a *step* is the batch of one optimizer update, a flat buffer of concatenated rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lazarus_core.canonical import JSON, MAX_INTEGER
from lazarus_plan.config import PlanConfig

FORMAT_VERSION = 2
"""Version 2: `plan_id` covers data, template, tokenizer and parent too; version 1 left them out."""
NEWEST_VERSION = 3
"""Version 3 is version 2 with a list of the ranges of sample numbers. Only plans that need the list have it (`numbering`)."""
Integers = NDArray[np.signedinteger[Any]]
"""A column with 4 bytes per element if its values allow, which halves the memory of a large plan."""
WHOLE = -1
"""Value of `span_start` for a sample that is neither split nor truncated. In a step with spans, a sample that fills its row
counts as cut, because its line cannot distinguish the two."""


BLOCK_STEPS = 1 << 12
"""Steps per block."""


class Segment(NamedTuple):
    """The range of one sample in a row.

    Args:
        sample: Position in the length cache.
        start: First token in the row.
        end: Position after the last token in the row.
        span: Half-open token range within the sample, or None for a whole sample.
    """

    sample: int
    start: int
    end: int
    span: tuple[int, int] | None = None


class Row(NamedTuple):
    """Segments that share a row of `row_len` tokens; attention never crosses them.

    Args:
        segments: In the order of their tokens.
        number: 0-based index of the row in its step.
    """

    segments: tuple[Segment, ...]
    number: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return sum(segment.end - segment.start for segment in self.segments)

    @property
    def cost(self) -> int:
        """Attention cost: the sum of squared segment lengths."""
        return sum((segment.end - segment.start) ** 2 for segment in self.segments)


@dataclass(frozen=True, eq=False)
class Step:
    """The batch of one optimizer update. Rows are created on demand, so reading a step is cheap.

    Args:
        index: 0-based number.
        row_len: Tokens per row.
        sample: Samples in the order of the plan's line, (n,).
        start: First token of each in the step's flat buffer, (n,).
        length: Number of tokens of each, (n,).
        span_start: First token within the sample; WHOLE for a whole sample, (n,).
    """

    index: int
    row_len: int
    sample: Integers
    start: Integers
    length: Integers
    span_start: Integers

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Rows of the step, each with its segments."""
        rows: list[list[Segment]] = []
        current = -1
        columns = (column.tolist() for column in (self.sample, self.start, self.length, self.span_start))
        for sample, start, length, span_start in zip(*columns, strict=True):
            row, first = divmod(start, self.row_len)
            if row != current:
                rows.append([])
                current = row
            span = None if span_start == WHOLE else (span_start, span_start + length)
            rows[-1].append(Segment(sample, first, first + length, span))
        return tuple(Row(tuple(segments), number) for number, segments in enumerate(rows))

    @property
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return int(self.length.sum())

    @property
    def samples(self) -> tuple[int, ...]:
        """Samples in the order of the plan's line."""
        return tuple(self.sample.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[int, int, tuple[Row, ...]]:
        return self.index, self.row_len, self.rows


Count = Annotated[int, Field(ge=0, le=MAX_INTEGER, strict=True)]
"""A number in a stored document."""


Ranges = tuple[tuple[Count, Count], ...]
"""Pairs of a source and a number of rows; each gives the next sample numbers to the next rows of its source."""


class Source(BaseModel):
    """A length cache of the plan."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    """File name of the length cache."""
    offset: Count
    """Number of its first sample. Further samples follow it, unless the plan lists its ranges (`numbering`)."""
    count: Count
    """Samples in the cache."""
    lengths: str
    """Digest of the cache."""


class StagePart(BaseModel):
    """Consecutive steps of an epoch that mix the same sources."""

    model_config = ConfigDict(frozen=True, extra="allow")

    first_step: Count
    steps: Count
    sources: tuple[Count, ...]
    """Positions in `metadata.sources`."""
    rows: tuple[Count, ...]
    """Number of rows of each source."""
    passes: tuple[tuple[Count, Count], ...]
    """For each source: number of whole passes, and number of rows of a further, partial pass."""

    @model_validator(mode="after")
    def _has_one_entry_per_source(self) -> "StagePart":
        if not len(self.sources) == len(self.rows) == len(self.passes):
            raise ValueError("`sources`, `rows` and `passes` have different lengths")
        return self


class Epoch(BaseModel):
    """One pass over the data."""

    model_config = ConfigDict(frozen=True, extra="allow")

    epoch: Count
    first_step: Count
    steps: Count
    samples: Count
    tokens: Count
    stages: tuple[StagePart, ...]
    absent: Count | None = None
    """Number of samples missing from this epoch, if it differs from `excluded`: they were added during a run, after the epoch began."""


class Excluded(BaseModel):
    """Samples left out of every epoch, by reason."""

    model_config = ConfigDict(frozen=True, extra="allow")

    oversize: Count = 0
    zero_length: Count = 0


class Parent(BaseModel):
    """The parent of a rebased plan, whose first steps it repeats."""

    model_config = ConfigDict(frozen=True, extra="allow")

    plan_id: str
    steps: Count
    """Number of common steps."""
    prefix_root: str
    """Merkle root of the common lines."""
    token_budget: Count
    """Token budget of the common steps."""


class Metadata(BaseModel):
    """`metadata.json`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    plan_format_version: int
    tool_version: str
    seed: int
    created_at: datetime
    config: PlanConfig
    """Resolved configuration: `row_len` is a number."""
    sources: tuple[Source, ...]
    epochs: tuple[Epoch, ...]
    excluded: Excluded = Excluded()
    parent: Parent | None = None
    numbering: Ranges | None = None
    """Ranges of sample numbers, for a plan that was rebased with rows appended to a source before the last one."""


@dataclass(frozen=True)
class BatchPlan:
    """A plan, as arrays.

    Args:
        metadata: Configuration, sources and epochs.
        fingerprints: `fingerprints.json`: the chain, `plan_sha256`, `merkle_root`, `plan_id`.
        sample: Sample numbers, step by step, (N,). `lazarus_plan.numbering` gives their sources and positions.
        start: First token in the step's flat buffer, (N,).
        length: Tokens, in 2 bytes if `row_len` allows; convert to a wider type before adding, (N,).
        step_splits: Step i places sample[step_splits[i]:step_splits[i + 1]], int64 (S + 1,).
        row_lens: Tokens per row of each step, int64 (S,).
        span_start: First token within the sample; WHOLE for a whole sample, (N,).
        prefixes: First 4 bytes of each sample's row digest and token digest, uint32 (samples, 2), if the length caches
            have them. With them a mismatch names the row.
    """

    metadata: Metadata
    fingerprints: JSON
    sample: Integers
    start: Integers
    length: Integers
    step_splits: NDArray[np.int64]
    row_lens: NDArray[np.int64]
    span_start: Integers
    prefixes: NDArray[np.uint32] | None = None

    def __len__(self) -> int:
        return len(self.step_splits) - 1

    @property
    def plan_id(self) -> str:
        """Identity of the plan: `sha256:` and 64 hexadecimal digits. It covers inputs, configuration and every line."""
        return str(self.fingerprints["plan_id"])

    @property
    def encoding(self) -> JSON:
        """Encoding parameters of the first source; empty if they are not recorded."""
        return dict(self.fingerprints["lengths"]["parts"][0].get("encoding", {}))

    @property
    def row_len(self) -> int:
        """Maximum tokens per row; in modes packed and stable, the tokens of every row."""
        return self.metadata.config.resolved_row_len

    @property
    def end(self) -> Integers:
        """Position after the last token in the step's flat buffer, (N,)."""
        return self.start + self.length

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each step that are not padding, int64 (S,)."""
        sums = [np.add.reduceat(each.length, each.step_splits[:-1], dtype=np.int64) for each in self.blocks()]
        return np.concatenate(sums)

    def blocks(self, begin: int = 0, end: int | None = None) -> Iterator["BatchPlan"]:
        """Split the steps begin..end (half-open) into ranges, so that intermediate arrays stay small.

        Args:
            begin: First step, 0..end.
            end: Step after the last one, begin..len(plan); None takes all remaining steps.

        Returns:
            Plans of at most `BLOCK_STEPS` steps, in order. Their steps are numbered from 0.
        """
        end = len(self) if end is None else end
        for first in range(begin, end, BLOCK_STEPS):
            yield self.steps(first, min(first + BLOCK_STEPS, end))

    def steps(self, begin: int, end: int) -> "BatchPlan":
        """A plan of the steps begin..end (half-open), which are numbered from 0. The large arrays are views.

        Args:
            begin: First step, 0..end.
            end: Step after the last one, begin..len(plan).
        """
        place = slice(int(self.step_splits[begin]), int(self.step_splits[end]))
        return replace(
            self,
            sample=self.sample[place],
            start=self.start[place],
            length=self.length[place],
            step_splits=self.step_splits[begin : end + 1] - self.step_splits[begin],
            row_lens=self.row_lens[begin:end],
            span_start=self.span_start[place],
        )

    def step(self, index: int) -> Step:
        """One step, in O(1).

        Raises:
            IndexError: Outside 0..len(self)-1.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"step {index} is outside 0..{len(self) - 1}")
        place = slice(int(self.step_splits[index]), int(self.step_splits[index + 1]))
        columns = (column[place] for column in (self.sample, self.start, self.length, self.span_start))
        return Step(index, int(self.row_lens[index]), *columns)


def narrow(values: Integers, largest: int) -> Integers:
    """Convert integers to 4 bytes per element if `largest` fits, else to 8.

    Args:
        values: Integers 0..largest, of any shape.
        largest: Upper bound of the values.

    Returns:
        The same array if it already has that type, else a copy.
    """
    return values.astype(narrow_type(largest), copy=False)


def narrow_lengths(values: Integers, row_len: int) -> Integers:
    """Convert lengths to the type of `length_type(row_len)`.

    Args:
        values: Lengths 0..row_len in tokens, of any shape.
        row_len: Tokens per row.

    Returns:
        The same array if it already has that type, else a copy.
    """
    return values.astype(length_type(row_len), copy=False)


def length_type(row_len: int) -> type[np.signedinteger[Any]]:
    """The type of a column of lengths up to `row_len`: 2 bytes if possible. Sums need a wider type."""
    return np.int16 if row_len <= np.iinfo(np.int16).max else narrow_type(row_len)


def narrow_type(largest: int) -> type[np.signedinteger[Any]]:
    """The type of a column with values up to `largest`."""
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64
