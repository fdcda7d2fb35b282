"""Error classes.

LazarusError                  every expected failure of every Lazarus package
└── TrainError                bad input or usage, exit 2
    ├── SetupError            settings, model, data or folder that cannot be trained with    LR-E1xx
    └── RunFailed             a run or a verification failed, exit 1
        ├── CorruptCheckpoint a checkpoint is damaged or incomplete                          LR-E20x
        ├── ForeignCheckpoint an undamaged checkpoint of another run                         LR-E21x
        ├── NonFinite         loss or gradient is NaN or infinite                            LR-E22x
        ├── Interrupted       stopped on request; the checkpoint is written, exit 130 or 143 LR-E230
        │   └── TimeIsUp      the time box of the run ended, exit 0                          LR-E280
        └── PeerLost          another process of the run ended                               LR-E240
"""

from pathlib import Path
from typing import NamedTuple

from lazarus_core.errors import LazarusError


class TrainError(LazarusError):
    """Base class of all errors of lazarus-train."""


class SetupError(TrainError):
    """Settings, model, data or folder that cannot be trained with."""


class RunFailed(TrainError):
    """A run or a verification failed."""

    exit_code = 1


class CorruptCheckpoint(RunFailed):
    """A checkpoint is damaged or incomplete; the message names the last good one."""


class ForeignCheckpoint(RunFailed):
    """An undamaged checkpoint that belongs to another run: other settings, plan or model."""


class NonFinite(RunFailed):
    """Loss or gradient is NaN or infinite; the message names step and samples."""


class Interrupted(RunFailed):
    """Stopped on request after a whole step, with a checkpoint."""

    exit_code = 130


class Left(NamedTuple):
    """What is left of a run when its time box ends.

    Args:
        done: Steps done since the start of the run.
        steps: Steps that are left.
        tokens: Real tokens of these steps.
        seconds: Estimated seconds for them; None if no step was measured.
        checkpoint: The newest checkpoint, read back and verified; None if there is none.
    """

    done: int
    steps: int
    tokens: int
    seconds: float | None
    checkpoint: Path | None


class TimeIsUp(Interrupted):
    """The time box ended before the run. The same call continues.

    Args:
        message: What was done and what is left.
        left: What is left; None if the box ended before the plan was read.
    """

    exit_code = 0

    def __init__(self, message: str, left: Left | None = None) -> None:
        super().__init__(message, "LR-E280")
        self.left = left


class PeerLost(RunFailed):
    """Another process of the run ended, and this one cannot continue."""
