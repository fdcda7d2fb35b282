"""`sft`: trains on prompts and answers."""

from pydantic import Field

from lazarus_cli.recipes.stages.training import TrainingSettings, TrainingStage
from lazarus_train import CausalSettings, DiffusionSettings


class _Sft(TrainingSettings, frozen=True):
    objective: CausalSettings | DiffusionSettings = Field(default_factory=CausalSettings, discriminator="kind")
    """Objective to minimise."""


class SftStage(TrainingStage):
    """A model, fine-tuned on answers."""

    base = _Sft
