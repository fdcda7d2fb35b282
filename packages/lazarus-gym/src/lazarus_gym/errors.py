"""What can go wrong, as a tree.

GymError                      bad input or usage                     exit 2
├── TaskError                 these tasks cannot be made             LG-E10x
├── SamplesError              a file cannot be read or written       LG-E11x
└── RewardError               a reward is unknown or fails           LG-E12x
"""

from lazarus_core.errors import LazarusError


class GymError(LazarusError):
    """Base of everything that lazarus-gym raises."""


class TaskError(GymError):
    """Tasks as asked for do not exist: an unknown kind, or more of them than there are."""


class SamplesError(GymError):
    """A file of samples or replies cannot be read or written; the message names file and line."""


class RewardError(GymError):
    """No package provides a reward, or the package that does is broken; the message names it."""
