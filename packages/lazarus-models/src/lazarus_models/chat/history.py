"""A conversation, and the model's place in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from lazarus_tokenkit import Message


class Role(StrEnum):
    """Who says a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True)
class ChatHistory:
    """Messages in their order; adding one gives a new history.

    >>> history = ChatHistory.of("Be brief.").user("2 + 2?").assistant("4")
    >>> [message.role for message in history]
    ['system', 'user', 'assistant']
    >>> len(history.reset())
    1
    """

    messages: tuple[Message, ...] = ()

    @classmethod
    def of(cls, system: str | None = None) -> "ChatHistory":
        """A conversation that begins with instructions, if any."""
        return cls((Message(Role.SYSTEM.value, system),) if system else ())

    def add(self, role: Role | str, content: str) -> "ChatHistory":
        """The history with one more message."""
        return ChatHistory((*self.messages, Message(Role(role).value, content)))

    def user(self, content: str) -> "ChatHistory":
        """What a person says."""
        return self.add(Role.USER, content)

    def assistant(self, content: str) -> "ChatHistory":
        """What the model says."""
        return self.add(Role.ASSISTANT, content)

    def tool(self, content: str) -> "ChatHistory":
        """What a called function gave."""
        return self.add(Role.TOOL, content)

    def reset(self) -> "ChatHistory":
        """The instructions alone."""
        return ChatHistory(tuple(message for message in self.messages if message.role == Role.SYSTEM.value))

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)
