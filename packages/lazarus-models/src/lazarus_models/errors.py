"""What can go wrong, as a tree.

LazarusError                  every expected failure of every Lazarus package
└── ModelsError               bad input or usage, exit 2
    ├── ConfigError           a config.json is absent, unreadable or contradicts itself      LM-E10x
    ├── UnsupportedModel      a sound config that asks for what this version does not do     LM-E11x
    ├── WeightsError          safetensors absent, damaged, or not the config's tensors       LM-E12x
    ├── AdapterError          a LoRA adapter does not fit its model                          LM-E13x
    ├── GenerationError       a prompt or setting that cannot be generated from              LM-E14x
    ├── BlasError             `LAZARUS_BLAS` names no BLAS; too little room for one          LM-E15x
    └── ServingError          settings of a server that would be unsafe, or a missing extra  LM-E16x
"""

from lazarus_core.errors import LazarusError


class ModelsError(LazarusError):
    """Base of everything that lazarus-models raises."""


class ConfigError(ModelsError):
    """A config is absent, unreadable or contradicts itself; the message names file and key."""


class UnsupportedModel(ModelsError):
    """A sound config asks for an architecture or setting that this version would get wrong."""


class WeightsError(ModelsError):
    """The safetensors are absent, damaged, or not the tensors that the config describes."""


class AdapterError(ModelsError):
    """A LoRA adapter does not fit the model."""


class GenerationError(ModelsError):
    """A prompt or setting that cannot be generated from."""


class BlasError(ModelsError):
    """`LAZARUS_BLAS` names something that cannot be loaded as a BLAS, or the memory that a BLAS needs is refused."""


class ServingError(ModelsError):
    """The server's settings would let anybody in, or what it needs is not installed."""
