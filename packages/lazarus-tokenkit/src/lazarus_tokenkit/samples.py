"""The kinds of samples. A sample's digest covers what it says, not how its file spells it.

Order of fields, white space, escapes and unused fields of a file's row do not count; the id does not either.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from lazarus_plan import canonical_json

ASSISTANT = "assistant"
"""The role whose words carry loss."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class TextSample:
    """A document: every token carries loss.

    >>> TextSample("0", "one").digest == TextSample("1", "one").digest
    True
    """

    id: str
    text: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return _digest({"text": self.text})


@dataclass(frozen=True)
class ChatSample:
    """A conversation: the assistant's turns carry loss."""

    id: str
    messages: tuple[Message, ...]

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return _digest({"messages": [{"role": turn.role, "content": turn.content} for turn in self.messages]})


@dataclass(frozen=True)
class CompletionSample:
    """A question and its answer: the answer carries loss."""

    id: str
    prompt: str
    completion: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return _digest({"prompt": self.prompt, "completion": self.completion})

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation of two turns that it stands for."""
        return (Message("user", self.prompt), Message(ASSISTANT, self.completion))


Sample = TextSample | ChatSample | CompletionSample


def _digest(content: dict[str, Any]) -> bytes:
    return hashlib.sha256(canonical_json(content)).digest()
