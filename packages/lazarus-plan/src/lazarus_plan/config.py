"""What a plan is asked for. The resolved form stands in `metadata.json` and is part of the plan's identity.

Writers spell out every member. A stored configuration has the members that its writer knew, and is hashed with just those:
so a member that a later version adds, with a default that changes nothing, leaves every stored plan its identity.
"""

from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, model_validator

from lazarus_core.canonical import JSON, MAX_INTEGER

Mode = Literal["packed", "stable", "padded", "bucketed"]
OversizePolicy = Literal["error", "exclude", "truncate", "split"]
ZeroLengthPolicy = Literal["error", "exclude"]
Until = Literal["all", "first"]


AS_STORED = object()
"""Validation context of what is read from a plan: members that do not stand there stay out of its identity."""


class _Stored(BaseModel):
    """What stands in `metadata.json` and is hashed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)

    def model_post_init(self, context: Any, /) -> None:
        """Spells out the defaults, but for what was read."""
        if context is not AS_STORED:
            self.model_fields_set.update(type(self).model_fields)

    def canonical(self) -> JSON:
        """The members that are hashed: all of them, defaults too; of a stored configuration those that stand there."""
        return self.model_dump(mode="json", exclude_unset=True)


class Stage(_Stored):
    """One part of an epoch: which sources it mixes. Stages follow one another: a curriculum."""

    sources: tuple[NonNegativeInt, ...]
    """Positions of the length caches, in the order they were given."""
    weights: tuple[PositiveInt, ...] = ()
    """Rows of each source, as integer ratios; empty mixes in proportion to the rows that there are."""
    until: Until = "all"
    """With weights: go on until all sources are used up, the early ones starting again; or until the first is."""

    @model_validator(mode="after")
    def _is_consistent(self) -> "Stage":
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise ValueError(f"`sources` {list(self.sources)} must name at least one source, each once")
        if self.weights and len(self.weights) != len(self.sources):
            raise ValueError(f"{len(self.weights)} `weights` for {len(self.sources)} `sources`")
        if self.until == "first" and not self.weights:
            raise ValueError("`until` 'first' has no effect without `weights`")
        return self


class PlanConfig(_Stored):
    """How samples become steps."""

    token_budget: PositiveInt
    """Tokens a step, padding included: a step holds floor(token_budget / row_len) rows."""
    row_len: PositiveInt | None = None
    """Tokens a row; None takes the smallest multiple of 64 that holds the longest sample."""
    epochs: PositiveInt = 1
    """Passes over the data, each shuffled by a key of its own."""
    seed: NonNegativeInt = 0
    """Decides every order. Zero is a seed."""
    mode: Mode = "packed"
    """packed: samples share rows and never cross one another's borders. stable: the same, ordered and packed by content, so that a
    changed sample changes few steps. padded: a row a sample, rows of a step about
    equally long. bucketed: a row a sample, as long as the next of `bucket_edges`."""
    align: PositiveInt = 1
    """Segments start at multiples of this, and rows are multiples of it, as some attention kernels ask."""
    window: PositiveInt | None = None
    """Samples that are packed, or sorted by length, at a time; None takes all (packed), 4 to 8 steps (stable) or 16,384
    (padded)."""
    bucket_edges: tuple[PositiveInt, ...] = ()
    """Row lengths of mode bucketed, ascending; `row_len` is the last one."""
    repeats: tuple[PositiveInt, ...] = ()
    """Passes over each source an epoch (a stage, where there are several); empty is one each."""
    stages: tuple[Stage, ...] = ()
    """What an epoch consists of; empty is one stage of all sources."""
    oversize: OversizePolicy = "error"
    """What becomes of a sample longer than a row: error (refuse to plan), exclude, truncate (keep its first row_len
    tokens), split (consecutive pieces of row_len tokens)."""
    zero_length: ZeroLengthPolicy = "error"
    """What becomes of a sample without tokens: error (refuse to plan) or exclude."""

    @model_validator(mode="after")
    def _budget_holds_a_row(self) -> "PlanConfig":
        if self.row_len is not None and self.row_len > self.token_budget:
            raise ValueError(
                f"`row_len` {self.row_len} is above `token_budget` {self.token_budget}: no row fits a step"
            )
        if max(self.token_budget, self.seed) > MAX_INTEGER:
            raise ValueError("`token_budget` and `seed` must stay below 2^53")
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
            raise ValueError(f"`bucket_edges` {list(self.bucket_edges)} do not ascend")
        if self.bucket_edges and (self.align > 1 or self.window is not None):
            raise ValueError("`align` and `window` have no effect in `mode` bucketed")
        if self.bucket_edges and self.row_len not in (None, self.bucket_edges[-1]):
            raise ValueError(f"`row_len` {self.row_len} is not the last of `bucket_edges` {list(self.bucket_edges)}")
        if self.mode == "stable" and max(self.repeats, default=1) > 1:
            raise ValueError("`repeats` have no effect in `mode` stable")
        if self.mode != "packed" and any(stage.weights for stage in self.stages):
            raise ValueError("`weights` of stages schedule rows of `mode` packed only")
        return self

    @property
    def resolved_row_len(self) -> int:
        """`row_len`, in the configuration of a plan, where it is a number."""
        assert self.row_len is not None, "a plan's configuration is resolved"
        return self.row_len

    @property
    def shares_rows(self) -> bool:
        """Whether samples share rows of one length; otherwise every sample has a row of its own."""
        return self.mode in ("packed", "stable")

    @property
    def rows_per_step(self) -> int:
        """Rows of full length that a step of a plan holds."""
        return self.token_budget // self.resolved_row_len
