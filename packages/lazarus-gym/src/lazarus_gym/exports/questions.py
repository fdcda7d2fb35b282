"""The questions of an exported file as episodes with one action."""

from typing import Any, NamedTuple

from lazarus_gym.exports.substitutes import EnvironmentUseError
from lazarus_gym.tasks.replies import last_number, replies_call


class Outcome(NamedTuple):
    """What the answer led to.

    Args:
        text: Whether it is right, in a word.
        reward: 1 or 0.
        is_over: Always true.
        is_truncated: Always false.
        info: Whether it is right.
    """

    text: str
    reward: float
    is_over: bool
    is_truncated: bool
    info: dict[str, Any]


def is_right(row: dict[str, Any], reply: str) -> bool:
    """Whether a reply answers a question: its last number is the answer, or it is the call as JSON and nothing else.

    Args:
        row: The question, with `answer` or `call`.
        reply: The reply.
    """
    return replies_call(reply, row["call"]) if "call" in row else last_number(reply) == str(row["answer"])


class QuestionEpisode:
    """A question; the first answer ends it."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row
        self.is_ended = False

    def first_text(self) -> str:
        """The question."""
        return str(self.row["prompt"])

    def act(self, action: str) -> Outcome:
        """Answers the question.

        Raises:
            EnvironmentUseError: It is answered already (LG-E132).
        """
        if self.is_ended:
            raise EnvironmentUseError("the episode has ended: call `reset`", "LG-E132")
        self.is_ended = True
        solved = is_right(self.row, action)
        return Outcome("Correct." if solved else "Wrong.", float(solved), True, False, {"solved": solved})
