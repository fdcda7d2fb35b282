"""A sample of a stream: token ids, their loss mask, and where it comes from."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_ID = 2**31 - 1


class SampleSource(StrEnum):
    """Where a sample comes from."""

    GYM = "gym"
    OFFLINE = "offline"
    SYNTHETIC = "synthetic"
    ROLLOUT = "rollout"


class StreamSample(BaseModel):
    """One training sample."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    input_ids: tuple[Annotated[int, Field(ge=0, le=MAX_ID)], ...] = Field(min_length=1)
    """Token ids."""
    loss_mask: tuple[Annotated[int, Field(ge=0, le=1)], ...] = ()
    """1 where a token carries loss; empty for all tokens."""
    source: SampleSource = SampleSource.OFFLINE
    difficulty: float | None = Field(default=None, ge=0, le=1)
    """Measured difficulty; None where it is not known."""
    group: str = Field(default="", max_length=200)
    """Task that the sample belongs to, such as `sudoku/easy`; success is tracked by group."""
    success: bool | None = None
    """Whether its episode was solved; None where that is not known."""

    @model_validator(mode="after")
    def _mask_fits(self) -> Self:
        if self.loss_mask and len(self.loss_mask) != len(self.input_ids):
            raise ValueError(
                f"`loss_mask` has {len(self.loss_mask)} values for {len(self.input_ids)} values of `input_ids`"
            )
        return self
