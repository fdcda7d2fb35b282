"""The errors of lazarus-models.

LazarusError                  every expected failure of every Lazarus package
└── ModelsError               bad input or usage, exit 2
    ├── ConfigError           a config.json is missing, unreadable or contradictory          LM-E10x, E231 to E233, E265
    ├── UnsupportedModel      a valid config of a model that this version does not support   LM-E11x, E18x, E266, E268
    ├── WeightsError          safetensors missing, damaged, or different from the config     LM-E12x, E264
    ├── AdapterError          a LoRA adapter does not fit its model                          LM-E13x
    ├── GenerationError       an invalid prompt or generation setting                        LM-E14x, E230, E260 to E262
    ├── EvaluationError       a task, its data or a report cannot be used, exit 2            LM-E50x, E51x
    │   └── BelowThreshold    a score is worse than its threshold, exit 1                   LM-E512
    ├── BlasError             `LAZARUS_BLAS` names no BLAS, or memory for a BLAS is refused  LM-E15x
    ├── DeviceError           MLX does not start, or the device's driver is missing          LM-E57x
    └── ServingError          unsafe settings of a server, or a missing extra                LM-E16x, E263
"""

from lazarus_core.errors import LazarusError


class ModelsError(LazarusError):
    """Base of the errors of lazarus-models."""


class ConfigError(ModelsError):
    """A config is missing, unreadable or contradictory; the message names file and key."""


class UnsupportedModel(ModelsError):
    """A valid config has an architecture or setting that this version does not support."""


class WeightsError(ModelsError):
    """The safetensors are missing, damaged, or not the tensors that the config describes."""


class AdapterError(ModelsError):
    """A LoRA adapter does not fit the model."""


class GenerationError(ModelsError):
    """A prompt or a generation setting is invalid."""


class EvaluationError(ModelsError):
    """A task of an evaluation, its data or a report cannot be used; the message names the place."""


class BelowThreshold(EvaluationError):
    """A score is worse than its threshold."""

    exit_code = 1


class BlasError(ModelsError):
    """`LAZARUS_BLAS` names no loadable BLAS, or the memory that a BLAS needs is refused."""


class DeviceError(ModelsError):
    """MLX does not start: its library or the driver of its device is missing or does not fit."""


class ServingError(ModelsError):
    """The server's settings would give access to everyone, or a required package is not installed."""
