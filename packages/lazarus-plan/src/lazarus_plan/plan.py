"""The plan in memory: which samples stand where, in which row, of which step.

N = placed samples (over all epochs), S = steps. A *segment* is one sample's place in a row; a *row* has `row_len`
tokens; a *step* is what one optimizer update sees, a flat buffer of rows laid end to end.
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
Integers = NDArray[np.signedinteger[Any]]
"""A column: 4 bytes an element where its values allow, which halves the memory of a large plan."""
WHOLE = -1
"""Stands in `span_start` for a sample that is neither split nor truncated. In a step that has spans, a sample that
fills its row counts as cut, since its line cannot tell the two apart."""


BLOCK_STEPS = 1 << 12
"""Steps looked at together."""


class Segment(NamedTuple):
    """One sample's place in a row.

    Args:
        sample: Position in the length cache.
        start: First token in the row.
        end: One past the last token in the row.
        span: Half-open token range of the sample that stands here, None for all of it.
    """

    sample: int
    start: int
    end: int
    span: tuple[int, int] | None = None


class Row(NamedTuple):
    """Segments that share `row_len` tokens of memory and nothing else."""

    segments: tuple[Segment, ...]

    @property
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return sum(segment.end - segment.start for segment in self.segments)

    @property
    def cost(self) -> int:
        """Sum of squared segment lengths: what attention costs."""
        return sum((segment.end - segment.start) ** 2 for segment in self.segments)


@dataclass(frozen=True, eq=False)
class Step:
    """What one optimizer update sees. Its rows are made when they are asked for, so reading it costs little.

    Args:
        index: Its number.
        row_len: Tokens a row.
        sample: Samples in the order of the plan's line, (n,).
        start: First token of each in the step's flat buffer, (n,).
        length: Tokens of each, (n,).
        span_start: First token of the sample that stands here, WHOLE where all of it does, (n,).
    """

    index: int
    row_len: int
    sample: Integers
    start: Integers
    length: Integers
    span_start: Integers

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Its rows, each with its segments."""
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
        return tuple(Row(tuple(segments)) for segments in rows)

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


class Source(BaseModel):
    """A length cache that the plan was made from."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    """File name of the length cache."""
    offset: Count
    """Added to a position in the cache to give the plan's sample id."""
    count: Count
    """Samples in the cache."""
    lengths: str
    """Digest of the cache."""


class StagePart(BaseModel):
    """Steps of an epoch that mix some sources."""

    model_config = ConfigDict(frozen=True, extra="allow")

    first_step: Count
    steps: Count
    sources: tuple[Count, ...]
    """Positions in `metadata.sources`."""
    rows: tuple[Count, ...]
    """Rows of each of them."""
    passes: tuple[tuple[Count, Count], ...]
    """Whole passes over each of them, and rows of one more that is not whole."""

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
    """Samples that it lacks, where that is not what `excluded` says: they came during a run, too late for it."""


class Excluded(BaseModel):
    """Samples left out of every epoch, by reason."""

    model_config = ConfigDict(frozen=True, extra="allow")

    oversize: Count = 0
    zero_length: Count = 0


class Parent(BaseModel):
    """The plan whose first steps this one repeats."""

    model_config = ConfigDict(frozen=True, extra="allow")

    plan_id: str
    steps: Count
    """Steps that both have."""
    prefix_root: str
    """Merkle root of their lines."""
    token_budget: Count
    """Of those steps."""


class Metadata(BaseModel):
    """`metadata.json`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    plan_format_version: int
    tool_version: str
    seed: int
    created_at: datetime
    config: PlanConfig
    """Resolved: `row_len` is a number."""
    sources: tuple[Source, ...]
    epochs: tuple[Epoch, ...]
    excluded: Excluded = Excluded()
    parent: Parent | None = None


@dataclass(frozen=True)
class BatchPlan:
    """A plan, as arrays.

    Args:
        metadata: What was asked for, of what, and the epochs.
        fingerprints: `fingerprints.json`: the chain, `plan_sha256`, `merkle_root`, `plan_id`.
        sample: Position in the length caches, (N,), step after step.
        start: First token in the step's flat buffer, (N,).
        length: Tokens, 2 bytes each where `row_len` allows: widen them before adding up, (N,).
        step_splits: Step i places sample[step_splits[i]:step_splits[i + 1]], int64 (S + 1,).
        row_lens: Tokens a row of each step, int64 (S,).
        span_start: First token of the sample that stands here, WHOLE where all of it does, (N,).
        prefixes: First 4 bytes of each sample's row digest and token digest, uint32 (samples, 2), where the length
            caches had them: they let a mismatch name the row.
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
        """`sha256:` and 64 hex: the identity of schedule, lengths and configuration."""
        return str(self.fingerprints["plan_id"])

    @property
    def encoding(self) -> JSON:
        """The parameters that the first source was encoded with; empty where nobody recorded them."""
        return dict(self.fingerprints["lengths"]["parts"][0].get("encoding", {}))

    @property
    def row_len(self) -> int:
        """Tokens of the longest row there may be; in mode packed, of every row."""
        return self.metadata.config.resolved_row_len

    @property
    def end(self) -> Integers:
        """One past the last token in the step's flat buffer, (N,)."""
        return self.start + self.length

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each step that are not padding, int64 (S,)."""
        sums = [np.add.reduceat(each.length, each.step_splits[:-1], dtype=np.int64) for each in self.blocks()]
        return np.concatenate(sums)

    def blocks(self, begin: int = 0, end: int | None = None) -> Iterator["BatchPlan"]:
        """Steps begin..end (half-open) in parts, so that what is made of each is small."""
        end = len(self) if end is None else end
        for first in range(begin, end, BLOCK_STEPS):
            yield self.steps(first, min(first + BLOCK_STEPS, end))

    def steps(self, begin: int, end: int) -> "BatchPlan":
        """Steps begin..end (half-open) by themselves, still numbered from 0."""
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
    """`values` in 4 bytes an element, if `largest` allows; the same array where it has that type."""
    return values.astype(narrow_type(largest), copy=False)


def narrow_lengths(values: Integers, row_len: int) -> Integers:
    """Lengths up to `row_len` in as few bytes as `length_type` allows; the same array where it has that type."""
    return values.astype(length_type(row_len), copy=False)


def length_type(row_len: int) -> type[np.signedinteger[Any]]:
    """The type of a column of lengths up to `row_len`: 2 bytes, if that allows. Sums of them need a wider one."""
    return np.int16 if row_len <= np.iinfo(np.int16).max else narrow_type(row_len)


def narrow_type(largest: int) -> type[np.signedinteger[Any]]:
    """The type of a column whose values go up to `largest`."""
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64
