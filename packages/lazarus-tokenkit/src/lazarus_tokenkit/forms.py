"""The forms that rows come in, and how each becomes a sample. The first row decides the form of all.

```
messages      messages: [{"role", "content"}], also [{"from", "value"}]   `conversations` too; `tools` beside it
preference    prompt, chosen, rejected: texts or messages; without prompt, chosen and rejected begin alike
alpaca        instruction, input, output
completion    prompt, completion
prompt        prompt
text          text
```
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.files import kind
from lazarus_tokenkit.samples import (
    ASSISTANT,
    ChatSample,
    CompletionSample,
    Message,
    PreferenceSample,
    PromptSample,
    Sample,
    TextSample,
    ToolCall,
)

JSON = dict[str, Any]
Form = Literal["text", "messages", "completion", "alpaca", "preference", "prompt"]

SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": ASSISTANT,
    "chatgpt": ASSISTANT,
    "assistant": ASSISTANT,
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
MESSAGE_MEMBERS = {"role", "content", "tool_calls", "name", "tool_call_id"}
TRANSCRIPT = re.compile(r"\n\n(Human|Assistant): ?")
"""How Anthropic's helpful-harmless data mark turns."""


@dataclass(frozen=True)
class FieldNames:
    """Which fields of a row to read; None everywhere means the standard names.

    Args:
        text: Field of a document.
        messages: Field of a conversation, a list of `{"role": .., "content": ..}` or of `{"from": .., "value": ..}`.
        prompt: Field of a question; its answer is then in `completion`, or the field of that name.
        completion: Field of an answer; its question is then in `prompt`, or the field of that name.
        chosen: Field of the better of two answers; the worse is then in `rejected`, or the field of that name.
        rejected: Field of the worse of two answers.
        input: Field of text that belongs to the question and may be empty, as Alpaca's `input`.
    """

    text: str | None = None
    messages: str | None = None
    prompt: str | None = None
    completion: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    input: str | None = None

    def __post_init__(self) -> None:
        answers = self.completion is not None or self.input is not None
        pair = (self.chosen or self.rejected) is not None
        kinds = [self.text is not None, self.messages is not None, answers or pair or self.prompt is not None]
        if sum(kinds) > 1 or (answers and pair):
            raise SampleError(
                "`text`, `messages` and `prompt` with `completion` or with `chosen` and `rejected` are three kinds of samples:"
                " name the fields of one",
                "LT-E301",
            )

    @property
    def form(self) -> Form:
        """The form that these names, once resolved, read."""
        if self.text is not None:
            return "text"
        if self.messages is not None:
            return "messages"
        if self.chosen is not None:
            return "preference"
        if self.input is not None:
            return "alpaca"
        return "prompt" if self.completion is None else "completion"

    def resolve(self, row: JSON) -> "FieldNames | None":
        """The fields to read, with standard names where none are given; None if `row` has no known ones."""
        if self.text is not None or self.messages is not None:
            return self
        if self.chosen is not None or self.rejected is not None:
            return replace(self, chosen=self.chosen or "chosen", rejected=self.rejected or "rejected")
        if self.prompt is not None or self.completion is not None:
            return replace(self, prompt=self.prompt or "prompt", completion=self.completion or "completion")
        for names, fields in STANDARD:
            if all(name in row for name in names):
                return FieldNames(**fields)
        return None


STANDARD: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
    (("messages",), {"messages": "messages"}),
    (("conversations",), {"messages": "conversations"}),
    (("prompt", "chosen", "rejected"), {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}),
    (("chosen", "rejected"), {"chosen": "chosen", "rejected": "rejected"}),
    (("prompt", "completion"), {"prompt": "prompt", "completion": "completion"}),
    (("instruction", "output"), {"prompt": "instruction", "input": "input", "completion": "output"}),
    (("text",), {"text": "text"}),
    (("prompt",), {"prompt": "prompt"}),
)
"""The fields that say a form, in the order they are looked for, and the names to read."""


def to_sample(row: JSON, names: FieldNames, sample_id: str, place: str) -> Sample:
    """A row as a sample.

    Args:
        row: Its fields.
        names: Resolved names.
        sample_id: Its name.
        place: For messages.

    Raises:
        SampleError: A field is missing or of the wrong kind; the message names it.
    """
    return _FORMS[names.form](row, names, sample_id, place)


def list_names(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(f"`{name}`" for name in sorted(names)) or "no fields at all"


def _text_sample(row: JSON, names: FieldNames, sample_id: str, place: str) -> Sample:
    return TextSample(sample_id, _text(row, names.text or "", place))


def _chat_sample(row: JSON, names: FieldNames, sample_id: str, place: str) -> Sample:
    name = names.messages or ""
    messages = _messages(_field(row, name, place), f"{place}: {name}", f"{place}: `{name}`")
    if not any(message.role == ASSISTANT for message in messages):
        raise SampleError(f"{place}: `{name}` has no message of role `{ASSISTANT}`, so nothing to learn", "LT-E313")
    system = row.get("system")
    if isinstance(system, str) and system and messages[0].role != "system":
        messages = (Message("system", system), *messages)
    return ChatSample(sample_id, messages, _tools(row.get("tools"), place))


def _completion_sample(row: JSON, names: FieldNames, sample_id: str, place: str) -> Sample:
    prompt, completion = _text(row, names.prompt or "", place), _text(row, names.completion or "", place)
    return CompletionSample(sample_id, prompt, completion)


def _alpaca_sample(row: JSON, names: FieldNames, sample_id: str, place: str) -> Sample:
    prompt, completion = _text(row, names.prompt or "", place), _text(row, names.completion or "", place)
    given = row.get(names.input or "")
    if given is not None and not isinstance(given, str):
        raise SampleError(f"{place}: `{names.input}` is {kind(given)}, not a text", "LT-E312")
    return CompletionSample(sample_id, f"{prompt}\n\n{given}" if given else prompt, completion)


def _prompt_sample(row: JSON, names: FieldNames, sample_id: str, place: str) -> Sample:
    return PromptSample(sample_id, _turns(row, names.prompt or "", "user", place))


def _preference_sample(row: JSON, names: FieldNames, sample_id: str, place: str) -> Sample:
    assert names.chosen is not None and names.rejected is not None, "resolved"
    answers = [_turns(row, name, ASSISTANT, place) for name in (names.chosen, names.rejected)]
    if names.prompt is not None:
        prompt = _turns(row, names.prompt, "user", place)
        # Some data sets repeat the question in front of both answers.
        answers = [turns[len(prompt) :] if turns[: len(prompt)] == prompt else turns for turns in answers]
    else:
        shared = _shared(*answers)
        prompt, answers = answers[0][:shared], [turns[shared:] for turns in answers]
    for name, turns in zip((names.chosen, names.rejected), answers, strict=True):
        if not turns or turns[-1].role != ASSISTANT:
            raise SampleError(f"{place}: `{name}` does not end with an answer of role `{ASSISTANT}`", "LT-E313")
    if not prompt:
        raise SampleError(
            f"{place}: `{names.chosen}` and `{names.rejected}` share no question; name its field", "LT-E313"
        )
    return PreferenceSample(sample_id, prompt, answers[0], answers[1])


def _shared(first: tuple[Message, ...], second: tuple[Message, ...]) -> int:
    """Turns that both begin with, up to the first answer that differs."""
    count = 0
    while count < min(len(first), len(second)) - 1 and first[count] == second[count]:
        count += 1
    return count


def _turns(row: JSON, name: str, role: str, place: str) -> tuple[Message, ...]:
    """A text, a transcript with Human and Assistant, or messages."""
    value = _field(row, name, place)
    if isinstance(value, list):
        return _messages(cast("list[Any]", value), f"{place}: {name}", f"{place}: `{name}`")
    text = _text(row, name, place)
    first, *rest = TRANSCRIPT.split(text)
    if not rest or first.strip():
        return (Message(role, text),)
    turns = zip(rest[::2], rest[1::2], strict=True)
    return tuple(Message("user" if who == "Human" else ASSISTANT, words) for who, words in turns)


def _messages(value: Any, where: str, place: str) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise SampleError(f"{place} is {kind(value)}, not a list of messages", "LT-E312")
    return tuple(_message(turn, f"{where}[{number}]") for number, turn in enumerate(cast("list[Any]", value)))


def _message(turn: Any, place: str) -> Message:
    if not isinstance(turn, dict):
        raise SampleError(f"{place} is {kind(turn)}, not an object", "LT-E312")
    turn = cast("JSON", turn)
    if "from" in turn and "role" not in turn:
        return _sharegpt_message(turn, place)
    if extra := turn.keys() - MESSAGE_MEMBERS:
        # Templates read such members, so leaving them out would change the text in silence.
        raise SampleError(f"{place} has {list_names(extra)}; a message is {list_names(MESSAGE_MEMBERS)}", "LT-E313")
    calls = tuple(_tool_call(call, f"{place}.tool_calls") for call in turn.get("tool_calls") or ())
    content = turn.get("content", None if not calls else "")
    if isinstance(content, list) or (content is None and calls):
        content = _joined(cast("list[Any]", content or []), f"{place}.content")
    named = {key: turn[key] for key in ("name", "tool_call_id") if turn.get(key) is not None}
    return Message(
        _text(turn, "role", place),
        _text(turn | {"content": content} if "content" in turn or calls else turn, "content", place),
        calls,
        **{key: _text(named, key, place) for key in named},
    )


def _sharegpt_message(turn: JSON, place: str) -> Message:
    role = _text(turn, "from", place)
    if role not in SHAREGPT_ROLES:
        raise SampleError(f"{place}: `from` is {role!r}, not one of {list_names(SHAREGPT_ROLES)}", "LT-E313")
    return Message(SHAREGPT_ROLES[role], _text(turn, "value", place))


def _joined(parts: list[Any], place: str) -> str:
    """Content in parts, as vision models have it; only text can be encoded here."""
    texts: list[str] = []
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case _:
                raise SampleError(f"{place} holds more than text, which cannot be encoded", "LT-E312")
    return "".join(texts)


def _tool_call(call: Any, place: str) -> ToolCall:
    match call:
        case {"function": {"name": str(name), "arguments": arguments}, **rest}:
            pass
        case {"name": str(name), "arguments": arguments, **rest}:
            pass
        case _:
            raise SampleError(f"{place} holds what is no call: `function` with `name` and `arguments`", "LT-E313")
    if isinstance(arguments, str):  # as OpenAI's interface sends them
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            raise SampleError(f"{place}: `arguments` of `{name}` are not JSON: {error}", "LT-E313") from error
    if not isinstance(arguments, dict):
        raise SampleError(f"{place}: `arguments` of `{name}` are {kind(arguments)}, not an object", "LT-E313")
    number = cast("JSON", rest).get("id")
    return ToolCall(name, cast("JSON", arguments), number if isinstance(number, str) else None)


def _tools(value: Any, place: str) -> tuple[JSON, ...]:
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except ValueError as error:
            raise SampleError(f"{place}: `tools` is not JSON: {error}", "LT-E313") from error
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in cast("list[Any]", value)):
        raise SampleError(f"{place}: `tools` is not a list of objects", "LT-E312")
    return tuple(cast("list[JSON]", value))


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = _field(row, name, place)
    if not isinstance(value, str):
        raise SampleError(f"{place}: `{name}` is {kind(value)}, not a text", "LT-E312")
    return value


def _field(row: Mapping[str, Any], name: str, place: str) -> Any:
    if name not in row:
        raise SampleError(f"{place}: no field `{name}` among {list_names(row)}", "LT-E311")
    return row[name]


_FORMS: Mapping[Form, Callable[[JSON, FieldNames, str, str], Sample]] = {
    "text": _text_sample,
    "messages": _chat_sample,
    "completion": _completion_sample,
    "alpaca": _alpaca_sample,
    "preference": _preference_sample,
    "prompt": _prompt_sample,
}
