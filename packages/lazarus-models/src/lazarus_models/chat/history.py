"""The messages of a conversation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lazarus_tokenkit import Message


class Role(StrEnum):
    """The author of a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True)
class ChatHistory:
    """The messages of a conversation, immutable: adding a message returns a new history.

    >>> history = ChatHistory.of("Be brief.").user("2 + 2?").assistant("4")
    >>> [message.role for message in history]
    ['system', 'user', 'assistant']
    >>> len(history.reset())
    1
    """

    messages: tuple[Message, ...] = ()

    @classmethod
    def of(cls, system: str | None = None) -> "ChatHistory":
        """A conversation with a system message, or an empty one."""
        return cls((Message(Role.SYSTEM.value, system),) if system else ())

    def add(self, role: Role | str, content: str) -> "ChatHistory":
        """The history with one more message.

        Args:
            role: Author of the message.
            content: Its text.
        """
        return ChatHistory((*self.messages, Message(Role(role).value, content)))

    def user(self, content: str) -> "ChatHistory":
        """The history with a message of the user."""
        return self.add(Role.USER, content)

    def assistant(self, content: str) -> "ChatHistory":
        """The history with an answer of the model."""
        return self.add(Role.ASSISTANT, content)

    def tool(self, content: str) -> "ChatHistory":
        """The history with the result of a called function."""
        return self.add(Role.TOOL, content)

    def reset(self) -> "ChatHistory":
        """The history with its system messages only."""
        return ChatHistory(tuple(message for message in self.messages if message.role == Role.SYSTEM.value))

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)


def with_system(messages: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """A conversation with a system message first, unless it has one of its own.

    >>> [message.content for message in with_system([Message("user", "Hi")], "Be brief.")]
    ['Be brief.', 'Hi']

    Args:
        messages: The conversation.
        system: The system message; None for none.
    """
    has_own = any(message.role == Role.SYSTEM.value for message in messages)
    return tuple(messages) if has_own else (*ChatHistory.of(system), *messages)
