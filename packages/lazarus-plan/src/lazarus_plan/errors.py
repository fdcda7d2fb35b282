"""What can go wrong, as a tree.

LazarusError                  every expected failure of every Lazarus package
└── PlanError                 bad input or usage                     exit 2
    ├── LengthsError          a length cache cannot be read          LP-E0xx
    ├── PlanningError         these lengths cannot be planned        LP-E005, E13x
    ├── FormatError           a newer format, or one too old         LP-E160, E161
    ├── OutputTaken           an output would replace something else LP-E010, or the code of the command's package
    ├── MalformedJson         a text is not the JSON that is read    LP-E003
    └── CheckFailed           the check said no                      exit 1
        ├── CorruptPlan       the artifact contradicts itself        LP-E10x, E11x, E12x, E151..E153, E174
        └── StalePlan         the artifact is sound, the world moved LP-E13x, E14x, E150, E172

Every error has a stable `code` (FORMAT.md lists them) and the exit code a command ends with.
"""

from lazarus_plan.printable import printable_line

MESSAGE_CHARS = 2000
"""Of a message: longer ones, as of a file with names of megabytes, lose their middle."""


class LazarusError(Exception):
    """An expected failure: one line for a person, a stable code for a program.

    Args:
        message: What, where and the way out, in one line.
        code: Stable identifier, such as `LP-E107`.
    """

    exit_code = 2

    def __init__(self, message: str, code: str) -> None:
        super().__init__(_shortened(printable_line(message)))
        self.code = code

    @property
    def message(self) -> str:
        """The line for a person, without the code."""
        return str(self.args[0])


def _shortened(message: str) -> str:
    half = MESSAGE_CHARS // 2 - 50
    if len(message) <= MESSAGE_CHARS:
        return message
    return f"{message[:half]} ... ({len(message) - 2 * half:,} characters left out) ... {message[-half:]}"


class PlanError(LazarusError):
    """Base of everything that lazarus-plan raises."""


class LengthsError(PlanError):
    """A length cache cannot be read; the message names file and line."""


class PlanningError(PlanError):
    """These lengths cannot be planned with this configuration."""


class FormatError(PlanError):
    """Written in a newer format than this version reads, or in one that proves too little."""


class OutputTaken(PlanError):
    """An output would replace what its command did not write; nothing was changed."""


class CheckFailed(PlanError):
    """A check said no: drift, mismatch or damage."""

    exit_code = 1


class CorruptPlan(CheckFailed):
    """The artifact contradicts itself: damaged, truncated or edited."""


class StalePlan(CheckFailed):
    """The artifact is sound, but something it was made from has changed."""
