"""Finds rows with nothing to learn: preferences whose answers are equal, and empty answers. Counts them for one warning.

A preference of equal answers has nothing to prefer. A row with an empty answer teaches to answer nothing, because its
end-of-turn token carries loss. Both stay: a plan numbers samples by the rows of the file, so a reader may leave none out.
`prepare_samples`, which makes a new file, leaves equal preferences out.
"""

import logging
from dataclasses import dataclass
from functools import cache

from lazarus_tokenkit.samples.kinds import (
    ASSISTANT,
    ChatSample,
    CompletionSample,
    LabelledSample,
    Message,
    PreferenceSample,
    Sample,
)

logger = logging.getLogger(__name__)


@dataclass
class UselessRows:
    """Counts of rows with nothing to learn, and the place of the first of each kind."""

    equal: int = 0
    empty: int = 0
    first_equal: str = ""
    first_empty: str = ""

    def count(self, sample: Sample, place: str) -> None:
        """Counts a row if it has nothing to learn.

        Args:
            sample: The sample.
            place: File and line.
        """
        if has_equal_answers(sample):
            self.equal += 1
            self.first_equal = self.first_equal or place
        if has_empty_answer(sample):
            self.empty += 1
            self.first_empty = self.first_empty or place

    def warn(self) -> None:
        """Logs one warning for each kind that occurred. A command that reads the data twice warns once."""
        if self.equal:
            _warn_once(
                f"{_rows(self.equal)} with equal chosen and rejected, the first in {self.first_equal}: there is nothing to"
                " prefer; `prepare_samples` (command line: `lazarus data samples prepare`) leaves them out"
            )
        if self.empty:
            _warn_once(
                f"{_rows(self.empty)} with an empty answer, the first in {self.first_empty}: a model learns to answer"
                " nothing; remove them if that is not wanted"
            )


def has_equal_answers(sample: Sample) -> bool:
    """Whether a preference has nothing to prefer: its chosen and rejected answers are equal."""
    return isinstance(sample, PreferenceSample) and sample.chosen == sample.rejected


def has_empty_answer(sample: Sample) -> bool:
    """Whether an answer that carries loss has no text, no reasoning and no call."""
    match sample:
        case CompletionSample():
            return not sample.completion or sample.completion.isspace()
        case ChatSample():
            return any(map(_is_empty, sample.messages))
        case LabelledSample():
            return any(map(_is_empty, sample.completion))
        case PreferenceSample():
            return any(map(_is_empty, sample.chosen))
        case _:
            return False


def _is_empty(turn: Message) -> bool:
    if turn.role != ASSISTANT or not turn.has_loss or turn.tool_calls or turn.reasoning:
        return False
    return not turn.content or turn.content.isspace()


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


@cache
def _warn_once(words: str) -> None:
    logger.warning("%s", words)
