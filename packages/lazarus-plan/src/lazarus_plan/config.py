"""The configuration of a plan. Its resolved form is stored in `metadata.json` and is part of the plan's identity.

All members are written, including defaults. A stored configuration is hashed with exactly the members that it has, so a
member that a later version adds does not change the identity of stored plans.
"""

from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, model_validator

from lazarus_core.canonical import JSON, MAX_INTEGER
from lazarus_core.printable import listed

Mode = Literal["packed", "stable", "padded", "bucketed"]
OversizePolicy = Literal["error", "exclude", "truncate", "split"]
ZeroLengthPolicy = Literal["error", "exclude"]
Until = Literal["all", "first"]


AS_STORED = object()
"""Validation context for stored configurations: absent members stay out of the identity."""


class _Stored(BaseModel):
    """Base of models that are stored in `metadata.json` and hashed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)

    def model_post_init(self, context: Any, /) -> None:
        """Mark defaults as set, except in stored configurations."""
        if context is not AS_STORED:
            self.model_fields_set.update(type(self).model_fields)

    def canonical(self) -> JSON:
        """The hashed members: all including defaults; for a stored configuration, those that it has."""
        return self.model_dump(mode="json", exclude_unset=True)


class Stage(_Stored):
    """One part of an epoch and the sources that it mixes. Consecutive stages form a curriculum."""

    sources: tuple[NonNegativeInt, ...]
    """Positions of the length caches, in the given order."""
    weights: tuple[PositiveInt, ...] = ()
    """Share of rows of each source, as integer weights; empty mixes in proportion to the available rows."""
    until: Until = "all"
    """With weights: continue until all sources are exhausted, repeating the early ones, or until the first one is."""

    @model_validator(mode="after")
    def _is_consistent(self) -> "Stage":
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ValueError(f"`sources` {listed(self.sources)}: name at least one source, each once")
        if self.weights and len(self.weights) != len(self.sources):
            raise ValueError(f"{len(self.weights)} `weights` for {len(self.sources)} `sources`")
        if self.until == "first" and not self.weights:
            raise ValueError("`until` 'first' has no effect without `weights`")
        return self


class PlanConfig(_Stored):
    """Configuration of a plan."""

    token_budget: PositiveInt
    """Tokens per step, padding included: a step has floor(token_budget / row_len) rows."""
    row_len: PositiveInt | None = None
    """Tokens per row; None takes the smallest multiple of 64 that fits the longest sample."""
    epochs: PositiveInt = 1
    """Passes over the data, each with its own shuffle."""
    seed: NonNegativeInt = 0
    """Random seed of all shuffles. Zero is valid."""
    mode: Mode = "packed"
    """packed: samples share rows; attention never crosses samples. stable: packed and ordered by content, so that a changed
    sample changes few steps. padded: one sample per row; rows of a step have similar lengths. bucketed: one sample per row;
    the row length is the next of `bucket_edges`."""
    align: PositiveInt = 1
    """Segments start at multiples of this, and rows are multiples of it, as some attention kernels require."""
    window: PositiveInt | None = None
    """Number of samples that are packed or sorted together; None takes all (packed), 4 to 8 steps (stable) or 16,384 (padded)."""
    bucket_edges: tuple[PositiveInt, ...] = ()
    """Row lengths of mode bucketed, ascending; `row_len` is the last one."""
    repeats: tuple[PositiveInt, ...] = ()
    """Passes over each source per epoch, or per stage if there are several; empty means one each."""
    stages: tuple[Stage, ...] = ()
    """Stages of an epoch; empty means one stage of all sources."""
    oversize: OversizePolicy = "error"
    """Policy for samples longer than a row: error (refuse to plan), exclude, truncate (keep the first row_len tokens), split
    (consecutive pieces of row_len tokens)."""
    zero_length: ZeroLengthPolicy = "error"
    """Policy for samples without tokens: error (refuse to plan) or exclude."""

    @model_validator(mode="after")
    def _budget_holds_a_row(self) -> "PlanConfig":
        if self.row_len is not None and self.row_len > self.token_budget:
            raise ValueError(
                f"`row_len` {self.row_len} is above `token_budget` {self.token_budget}: no row fits a step"
            )
        if max(self.token_budget, self.seed) > MAX_INTEGER:
            raise ValueError("`token_budget` and `seed` must stay below 2^53")
        if max(self.epochs, self.align, self.window or 0, *self.repeats, 0) > MAX_INTEGER:
            raise ValueError("`epochs`, `align`, `window` and `repeats` must stay below 2^53")
        if self.row_len is not None and self.row_len % self.align:
            raise ValueError(f"`row_len` {self.row_len} is not a multiple of `align` {self.align}")
        if self.row_len is None and self.align > self.token_budget:
            raise ValueError(f"`align` {self.align} is above `token_budget` {self.token_budget}")
        return self

    @model_validator(mode="after")
    def _mode_uses_every_setting(self) -> "PlanConfig":
        if bool(self.bucket_edges) != (self.mode == "bucketed"):
            raise ValueError("`bucket_edges` and `mode` bucketed need each other")
        if any(first >= second for first, second in pairwise(self.bucket_edges)):
            raise ValueError(f"`bucket_edges` {listed(self.bucket_edges)} do not ascend")
        if self.bucket_edges and (self.align > 1 or self.window is not None):
            raise ValueError("`align` and `window` have no effect in `mode` bucketed")
        if self.bucket_edges and self.row_len not in (None, self.bucket_edges[-1]):
            raise ValueError(f"`row_len` {self.row_len} is not the last of `bucket_edges` {listed(self.bucket_edges)}")
        if self.mode == "stable" and max(self.repeats, default=1) > 1:
            raise ValueError("`repeats` have no effect in `mode` stable")
        if self.mode != "packed" and any(stage.weights for stage in self.stages):
            raise ValueError("`weights` of stages schedule rows of `mode` packed only")
        return self

    @property
    def resolved_row_len(self) -> int:
        """`row_len` of a resolved configuration, where it is a number."""
        assert self.row_len is not None, "a plan's configuration is resolved"
        return self.row_len

    @property
    def shares_rows(self) -> bool:
        """Whether samples share rows; otherwise each sample has its own row."""
        return self.mode in ("packed", "stable")

    @property
    def rows_per_step(self) -> int:
        """Number of full rows per step."""
        return self.token_budget // self.resolved_row_len
