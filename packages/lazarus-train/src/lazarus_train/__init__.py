"""Trainers that obey the batch plan: enforced, audited, resumable to the bit."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazarus_train.config import LoraSettings as LoraSettings
    from lazarus_train.config import OptimizerSettings as OptimizerSettings
    from lazarus_train.config import TrainConfig as TrainConfig
    from lazarus_train.errors import CorruptCheckpoint as CorruptCheckpoint
    from lazarus_train.errors import ForeignCheckpoint as ForeignCheckpoint
    from lazarus_train.errors import Interrupted as Interrupted
    from lazarus_train.errors import NonFinite as NonFinite
    from lazarus_train.errors import SetupError as SetupError
    from lazarus_train.errors import TrainError as TrainError
    from lazarus_train.gate import enforce as enforce
    from lazarus_train.links import How as How
    from lazarus_train.links import Link as Link
    from lazarus_train.provenance import Elsewhere as Elsewhere
    from lazarus_train.provenance import Pins as Pins
    from lazarus_train.provenance import verify_run as verify_run
    from lazarus_train.trainer import RunResult as RunResult
    from lazarus_train.trainer import train as train
    from lazarus_train.watcher import StepReport as StepReport
    from lazarus_train.watcher import Watcher as Watcher

_HOME = {  # public name -> module that defines it, imported at first use
    "CorruptCheckpoint": "errors",
    "ForeignCheckpoint": "errors",
    "Interrupted": "errors",
    "Elsewhere": "provenance",
    "How": "links",
    "Link": "links",
    "LoraSettings": "config",
    "NonFinite": "errors",
    "OptimizerSettings": "config",
    "Pins": "provenance",
    "RunResult": "trainer",
    "SetupError": "errors",
    "StepReport": "watcher",
    "TrainConfig": "config",
    "TrainError": "errors",
    "Watcher": "watcher",
    "enforce": "gate",
    "train": "trainer",
    "verify_run": "provenance",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
