"""`pretrain`: trains on documents."""

from pydantic import Field

from lazarus_cli.recipes.stages.training import TrainingSettings, TrainingStage
from lazarus_train import CausalSettings, DiffusionSettings, MntpSettings


class _Pretrain(TrainingSettings, frozen=True):
    objective: CausalSettings | DiffusionSettings | MntpSettings = Field(
        default_factory=CausalSettings, discriminator="kind"
    )
    """Objective to minimise."""


class PretrainStage(TrainingStage):
    """A model, trained on the next token or on masked tokens."""

    base = _Pretrain
