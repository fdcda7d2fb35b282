"""What a plan is asked for. The resolved form stands in `metadata.json` and is part of the plan's identity."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, model_validator

from lazarus_plan.canonical import JSON, MAX_INTEGER

OversizePolicy = Literal["error", "exclude", "truncate", "split"]
ZeroLengthPolicy = Literal["error", "exclude"]


class PlanConfig(BaseModel):
    """How samples become steps."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)

    token_budget: PositiveInt
    """Tokens a step, padding included: a step holds floor(token_budget / row_len) rows."""
    row_len: PositiveInt | None = None
    """Tokens a row; None takes the smallest multiple of 64 that holds the longest sample."""
    epochs: PositiveInt = 1
    """Passes over the data, each shuffled by a key of its own."""
    seed: NonNegativeInt = 0
    """Decides every order. Zero is a seed."""
    mode: Literal["packed"] = "packed"
    """packed: samples share rows, best fit first, and never cross one another's borders."""
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
        return self

    def canonical(self) -> JSON:
        """The members that are hashed, all of them, defaults too."""
        return self.model_dump(mode="json")
