"""Settings of a sweep: the setups to try, and the limits of each trial."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

ROW_LEN_LEAST = 2
"""Smallest row length: one input token and one label."""


class SweepSettings(BaseModel):
    """Settings of `lazarus sweep`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    model: Path
    """Model directory."""
    output: Path = Path("sweep")
    """Folder for trials.jsonl and summary.md."""
    row_len: tuple[Annotated[int, Field(ge=ROW_LEN_LEAST)], ...] = Field(default=(512,), min_length=1)
    """Tokens per row; several values separated by commas. Default: 512."""
    lora_rank: tuple[NonNegativeInt, ...] = Field(default=(0,), min_length=1)
    """Ranks of adapters, separated by commas; 0 trains all weights. Default: 0."""
    gradient_checkpointing: bool = False
    """Try each setup with gradient checkpointing too."""
    max_rows: PositiveInt = 64
    """Largest number of rows per micro-batch to try."""
    steps: PositiveInt = 3
    """Measured steps per trial."""
    time_limit: float = Field(default=120.0, ge=1.0)
    """Seconds that a trial may take."""
    memory: float | None = Field(default=None, ge=0.01)
    """Memory that a trial may use, in GiB. Default: 80 % of the machine's."""
