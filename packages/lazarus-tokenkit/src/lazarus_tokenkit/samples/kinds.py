"""The kinds of samples. A sample's digest covers what it says, not how its file spells it.

Order of fields, white space, escapes and unused fields of a file's row do not count; the id does not either.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any, cast

JSON = dict[str, Any]

ASSISTANT = "assistant"
"""The role whose words carry loss."""
CONTROLS = bytes(range(32))
"""Characters that JSON escapes, besides the quotation mark and the backslash."""


@dataclass(frozen=True)
class ToolCall:
    """A function that the assistant calls.

    Args:
        name: Of the function.
        arguments: By name.
        id: What its result refers to.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str | None = None

    def to_json(self) -> JSON:
        """As chat templates read it."""
        function = {"name": self.name, "arguments": dict(self.arguments)}
        return {"type": "function", "function": function} | ({} if self.id is None else {"id": self.id})


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Args:
        role: Who speaks.
        content: What is said.
        tool_calls: Functions that the assistant calls, after its words.
        name: Of the tool that speaks.
        tool_call_id: The call that it answers.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    tool_call_id: str | None = None

    def to_json(self) -> JSON:
        """As chat templates read it: what is absent is left out."""
        members: JSON = {"role": self.role, "content": self.content}
        if self.tool_calls:
            members["tool_calls"] = [call.to_json() for call in self.tool_calls]
        named = {"name": self.name, "tool_call_id": self.tool_call_id}
        return members | {key: value for key, value in named.items() if value is not None}


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
    """A conversation: the assistant's turns carry loss.

    Args:
        id: Its name.
        messages: Its turns.
        tools: JSON schemas of the functions that the assistant may call.
    """

    id: str
    messages: tuple[Message, ...]
    tools: tuple[JSON, ...] = field(default=())

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return _digest({"messages": _content(self.messages)} | _tools(self.tools))


@dataclass(frozen=True)
class CompletionSample:
    """A question and its answer: the answer carries loss."""

    id: str
    prompt: str
    completion: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        prompt, completion = _quoted(self.prompt), _quoted(self.completion)
        return hashlib.sha256(b'{"completion":%b,"prompt":%b}' % (completion, prompt)).digest()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation of two turns that it stands for."""
        return (Message("user", self.prompt), Message(ASSISTANT, self.completion))


@dataclass(frozen=True)
class PreferenceSample:
    """A question with a better and a worse answer: both carry loss, each after the question by itself.

    Args:
        id: Its name.
        prompt: The conversation before the answers.
        chosen: The better answer.
        rejected: The worse.
        tools: JSON schemas of the functions that the answers may call.
    """

    id: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[JSON, ...] = field(default=())

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        parts = {"prompt": self.prompt, "chosen": self.chosen, "rejected": self.rejected}
        return _digest({name: _content(turns) for name, turns in parts.items()} | _tools(self.tools))


@dataclass(frozen=True)
class LabelledSample:
    """A question with one answer and whether it is desirable: the answer carries loss (KTO).

    Args:
        id: Its name.
        prompt: The conversation before the answer.
        completion: The answer.
        label: Whether it is desirable.
        tools: JSON schemas of the functions that the answer may call.
    """

    id: str
    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    label: bool
    tools: tuple[JSON, ...] = field(default=())

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content, the label included."""
        parts = {"prompt": _content(self.prompt), "completion": _content(self.completion)}
        return _digest(parts | {"label": str(self.label).lower()} | _tools(self.tools))


@dataclass(frozen=True)
class PromptSample:
    """A question without an answer, for generating: nothing carries loss."""

    id: str
    messages: tuple[Message, ...]
    tools: tuple[JSON, ...] = field(default=())

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return _digest({"prompt": _content(self.messages)} | _tools(self.tools))


Sample = TextSample | ChatSample | CompletionSample | PreferenceSample | LabelledSample | PromptSample


def _content(messages: Sequence[Message]) -> list[JSON]:
    return [
        message.to_json() | ({"tool_calls": _spelled(message.to_json()["tool_calls"])} if message.tool_calls else {})
        for message in messages
    ]


def _tools(tools: Sequence[JSON]) -> JSON:
    """A member where there are some."""
    return {"tools": [_spelled(tool) for tool in tools]} if tools else {}


def _spelled(value: Any) -> str:
    """JSON that may hold fractions, which canonical JSON does not know, as a text."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _digest(content: JSON) -> bytes:
    return hashlib.sha256(_canonical(content)).digest()


def _canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of texts under ASCII names: written out here, for it is what every row costs."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        members = cast("JSON", value)
        return b"{%b}" % b",".join([b'"%b":%b' % (key.encode(), _canonical(members[key])) for key in sorted(members)])
    return b"[%b]" % b",".join([_canonical(element) for element in value])


def _quoted(text: str) -> bytes:
    """A text in JSON: what ordinary text needs in a third of the time, the rest by the standard library."""
    escaped = text.encode().replace(b"\\", rb"\\").replace(b'"', rb"\"").replace(b"\n", rb"\n")
    if len(escaped.translate(None, CONTROLS)) < len(escaped):
        return encode_basestring(text).encode()
    return b'"%b"' % escaped
