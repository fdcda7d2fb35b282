"""`dpo`: trains on preferences, or on labelled answers."""

from lazarus_cli.recipes.stages.training import TrainingSettings, TrainingStage
from lazarus_train import PreferenceSettings


class _Dpo(TrainingSettings, frozen=True):
    objective: PreferenceSettings = PreferenceSettings()
    """Objective to minimise."""


class DpoStage(TrainingStage):
    """A model, trained on preferences by DPO or one of its variants."""

    base = _Dpo
