"""Settings of LoRA adapters, for models and for training runs. This module imports no MLX."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class LoraConfig(BaseModel):
    """Low-rank adapters instead of all weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    kind: Literal["lora", "dora"] = "lora"
    """Kind of the adapters. `dora` (arXiv 2402.09353) learns the length of each row of a weight as well."""
    rank: Annotated[int, Field(gt=0, lt=2**31)] = 8
    """Width of the adapters."""
    # pydantic 2.10 makes the default also where it refused the rank, which is missing then
    alpha: float = Field(default_factory=lambda settings: 2.0 * settings.get("rank", 1), gt=0.0)
    """Strength of the adapters: the update is scaled by alpha / rank. Default: twice the rank."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the adapters' inputs that training drops, from 0 to below 1."""
    targets: tuple[str, ...] | None = None
    """Last names or patterns of the layers to adapt, such as `q_proj`. Default: every linear layer of the blocks."""

    @property
    def scale(self) -> float:
        """The factor of B A x (mlx-lm's `scale`)."""
        return self.alpha / self.rank
