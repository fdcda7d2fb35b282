"""Error classes.

GymError                      bad input or usage                     exit 2
├── TaskError                 the requested tasks cannot be made     LG-E10x
├── SamplesError              a file cannot be read or written       LG-E11x
└── RewardError               a reward is unknown or fails           LG-E12x
"""

from lazarus_core.errors import LazarusError


class GymError(LazarusError):
    """Base class of all errors of lazarus-gym."""


class TaskError(GymError):
    """The requested tasks do not exist: a kind is unknown, or the count exceeds the number of tasks."""


class SamplesError(GymError):
    """A file of samples or replies cannot be read or written; the message names file and line."""


class RewardError(GymError):
    """No package provides a reward, or the package that does is broken; the message names it."""
