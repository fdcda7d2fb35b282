"""An answer to judge, and its reward."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lazarus_gym.interface import Message


@dataclass(frozen=True)
class Answer:
    """A completion with its question and row.

    Args:
        prompt: The question, as text or messages.
        completion: Text of the reply.
        row: Fields of the data set's row.
    """

    prompt: str | Sequence[Message]
    completion: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class RewardVerdict:
    """The reward of an answer.

    Args:
        reward: Weighted sum of the parts; None when the verdict is aborted.
        parts: Values of the parts by name, each without its weight. An aborted part is absent.
        status: `ok` or `aborted`.
        reason: Why it was aborted, in one line.
    """

    reward: float | None
    parts: dict[str, float]
    status: Literal["ok", "aborted"] = "ok"
    reason: str = ""
