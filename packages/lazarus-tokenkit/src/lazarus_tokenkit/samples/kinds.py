"""The kinds of samples and their digests.

A digest covers the content of a sample. The order of fields, white space, escapes, unused fields and the id have no
effect on it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any, cast

from lazarus_tokenkit.tokenizers.ids import Ids, little_endian

JSON = dict[str, Any]

ASSISTANT = "assistant"
"""The role whose turns carry loss."""
REASONING = ("reasoning_content", "thinking")
"""Names of the member with the assistant's thoughts. The first is written to data files and digests."""
CONTROLS = bytes(range(32))
"""Characters that JSON escapes, in addition to the quotation mark and the backslash."""


@dataclass(frozen=True)
class ToolCall:
    """A function call of the assistant.

    Args:
        name: Name of the function.
        arguments: Arguments by name, JSON values.
        id: Id of the call. The message with the result refers to it.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str | None = None

    def to_json(self) -> JSON:
        """Returns the JSON object for chat templates."""
        function = {"name": self.name, "arguments": dict(self.arguments)}
        return {"type": "function", "function": function} | ({} if self.id is None else {"id": self.id})


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Args:
        role: Role, such as `system`, `user`, `assistant` or `tool`.
        content: The text.
        tool_calls: Function calls of the assistant, after its text.
        name: Name of the tool whose result this is.
        tool_call_id: Id of the call whose result this is.
        reasoning: Thoughts of the assistant before its text, or None.
        has_loss: Whether a turn of the assistant carries loss. No effect on other turns.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    tool_call_id: str | None = None
    reasoning: str | None = None
    has_loss: bool = True

    def to_json(self) -> JSON:
        """Returns the JSON object for chat templates. Absent members are left out.

        Templates read the reasoning by one of two names, so both are there. No template reads `has_loss`.
        """
        members: JSON = {"role": self.role, "content": self.content}
        if self.tool_calls:
            members["tool_calls"] = [call.to_json() for call in self.tool_calls]
        named = {"name": self.name, "tool_call_id": self.tool_call_id} | dict.fromkeys(REASONING, self.reasoning)
        return members | {key: value for key, value in named.items() if value is not None}

    def to_row(self) -> JSON:
        """Returns the JSON object for a data file: the reasoning once, and `weight` 0 for a turn without loss."""
        members = self.to_json()
        for name in REASONING[1:]:
            members.pop(name, None)
        return members if self.has_loss else members | {"weight": 0}


@dataclass(frozen=True)
class TextSample:
    """A document. Every token carries loss.

    >>> TextSample("0", "one").digest == TextSample("1", "one").digest
    True

    Args:
        id: Id of the sample.
        text: The document.
    """

    id: str
    text: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return _digest({"text": self.text})


@dataclass(frozen=True)
class ChatSample:
    """A conversation. The assistant's turns carry loss.

    Args:
        id: Id of the sample.
        messages: The turns.
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
    """A prompt and its answer. The answer carries loss.

    Args:
        id: Id of the sample.
        prompt: Text that the model sees; it carries no loss.
        completion: Text that the model learns to write.
    """

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
        """The sample as a conversation of two turns."""
        return (Message("user", self.prompt), Message(ASSISTANT, self.completion))


@dataclass(frozen=True)
class PreferenceSample:
    """A prompt with a better and a worse answer. Each answer follows the prompt separately and carries loss.

    Args:
        id: Id of the sample.
        prompt: The turns before the answers.
        chosen: The turns of the better answer.
        rejected: The turns of the worse answer.
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
    """A prompt with one answer and a label, as in KTO. The answer carries loss.

    Args:
        id: Id of the sample.
        prompt: The turns before the answer.
        completion: The turns of the answer.
        label: Whether the answer is desirable.
        tools: JSON schemas of the functions that the answer may call.
    """

    id: str
    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    label: bool
    tools: tuple[JSON, ...] = field(default=())

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content, including the label."""
        parts = {"prompt": _content(self.prompt), "completion": _content(self.completion)}
        return _digest(parts | {"label": str(self.label).lower()} | _tools(self.tools))


@dataclass(frozen=True)
class PromptSample:
    """A prompt without an answer, for generation. No token carries loss.

    Args:
        id: Id of the sample.
        messages: The turns of the prompt.
        tools: JSON schemas of the functions that the assistant may call.
    """

    id: str
    messages: tuple[Message, ...]
    tools: tuple[JSON, ...] = field(default=())

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return _digest({"prompt": _content(self.messages)} | _tools(self.tools))


@dataclass(frozen=True)
class IdsSample:
    """A document as token ids, encoded by another program with the same tokenizer.

    Args:
        id: Id of the sample.
        ids: Token ids.
        loss_mask: 1 for each token that carries loss as a label, else 0; None for all tokens but bos at the start.
    """

    id: str
    ids: Ids
    loss_mask: bytes | None = None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content, with the SHA-256 of the ids (u32 little-endian) and of the mask."""
        mask = {} if self.loss_mask is None else {"loss_mask": hashlib.sha256(self.loss_mask).hexdigest()}
        return _digest({"input_ids": hashlib.sha256(little_endian(self.ids)).hexdigest()} | mask)


Sample = TextSample | IdsSample | ChatSample | CompletionSample | PreferenceSample | LabelledSample | PromptSample


def _content(messages: Sequence[Message]) -> list[JSON]:
    # Values that are not strings are written as strings: canonical JSON here has no numbers.
    return [
        {name: value if isinstance(value, str) else _json_text(value) for name, value in message.to_row().items()}
        for message in messages
    ]


def _tools(tools: Sequence[JSON]) -> JSON:
    """Returns the member `tools`, or nothing without tools."""
    return {"tools": [_json_text(tool) for tool in tools]} if tools else {}


def _json_text(value: Any) -> str:
    """Writes a JSON value as a string, because canonical JSON here has no fractions."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _digest(content: JSON) -> bytes:
    return hashlib.sha256(_canonical(content)).digest()


def _canonical(value: Any) -> bytes:
    """Returns canonical JSON (RFC 8785) of strings under ASCII names. Written by hand for speed: every row runs it."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        members = cast("JSON", value)
        return b"{%b}" % b",".join([b'"%b":%b' % (key.encode(), _canonical(members[key])) for key in sorted(members)])
    return b"[%b]" % b",".join([_canonical(element) for element in value])


def _quoted(text: str) -> bytes:
    """Quotes a text for JSON. Text without control characters takes a third of the standard library's time."""
    escaped = text.encode().replace(b"\\", rb"\\").replace(b'"', rb"\"").replace(b"\n", rb"\n")
    if len(escaped.translate(None, CONTROLS)) < len(escaped):
        return encode_basestring(text).encode()
    return b'"%b"' % escaped
