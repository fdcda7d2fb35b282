"""Error classes.

GymError                      bad input or usage                     exit 2
├── TaskError                 the requested tasks cannot be made     LG-E10x, LG-E178
├── SamplesError              a file cannot be read or written       LG-E11x
├── RewardError               a reward is unknown or fails           LG-E12x
├── EnvironmentUseError       an environment is used wrongly         LG-E130 to LG-E132
├── JailError                 a worker cannot start or be called     LG-E133 to LG-E134
├── AuditError                tasks cannot be audited                LG-E135 to LG-E137
├── WireError                 a puzzle server fails or cannot play   LG-E14x
│   └── OpenEnvError          an OpenEnv server fails                LG-E17x
├── EpisodeError              episodes cannot be collected           LG-E15x
└── ReplayError               a replay buffer is used wrongly        LG-E16x
"""

from lazarus_core.errors import LazarusError


class GymError(LazarusError):
    """Base class of all errors of lazarus-gym."""


class TaskError(GymError):
    """The requested tasks do not exist: a kind is unknown, or the count exceeds the number of tasks."""


class SamplesError(GymError):
    """A file of samples or replies cannot be read or written; the message names file and line."""


class RewardError(GymError):
    """A reward cannot be loaded or used: an unknown name, a broken package, a file that is not valid, a row without answer."""


class EnvironmentUseError(GymError):
    """No environment or task has the name, or there is no episode in progress."""


class WireError(GymError):
    """A puzzle server cannot be reached, broke the connection, was too slow or sent something unknown."""


class OpenEnvError(WireError):
    """An OpenEnv server cannot be reached, was too slow, or refused a request."""


class EpisodeError(GymError):
    """Episodes cannot be collected as requested, or none was saved."""


class ReplayError(GymError):
    """A sample or setting of a replay buffer is invalid, or its checkpoint cannot be read."""


class JailError(GymError):
    """The worker of a jail cannot start, or a call cannot be sent to it."""


class AuditError(GymError):
    """A target cannot be audited: it is unknown, not installed or its tasks cannot be made."""
