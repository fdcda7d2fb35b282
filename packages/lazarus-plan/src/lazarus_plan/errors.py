"""Errors of lazarus-plan.

LazarusError                  lazarus_core.errors
└── PlanError                 bad input or usage                     exit 2
    ├── LengthsError          a length cache cannot be read          LP-E0xx
    ├── PlanningError         these lengths cannot be planned        LP-E005, E13x
    ├── FormatError           a newer format, or one too old         LP-E160, E161
    └── CheckFailed           a check failed                         exit 1
        ├── CorruptPlan       the plan contradicts itself            LP-E10x, E11x, E12x, E151..E153, E174
        └── StalePlan         an input of a valid plan changed       LP-E13x, E14x, E150, E172

Every error has a stable `code` (FORMAT.md lists them) and the exit code a command ends with.
"""

from lazarus_core.errors import LazarusError as LazarusError


class PlanError(LazarusError):
    """Base of everything that lazarus-plan raises."""


class LengthsError(PlanError):
    """A length cache cannot be read; the message names file and line."""


class PlanningError(PlanError):
    """These lengths cannot be planned with this configuration."""


class FormatError(PlanError):
    """Written in a newer format than this version reads, or in one that proves too little."""


class CheckFailed(PlanError):
    """A check failed: drift, mismatch or damage."""

    exit_code = 1


class CorruptPlan(CheckFailed):
    """The plan contradicts itself: it is damaged, truncated or edited."""


class StalePlan(CheckFailed):
    """The plan is valid, but one of its inputs has changed."""
