"""Parses the turns of a conversation: OpenAI and ShareGPT messages, transcripts, plain texts, tools and tool calls.

Errors name the field. The caller adds file and line.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from lazarus_core.strict_json import MalformedJson, parse_json
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.files import kind, list_names
from lazarus_tokenkit.samples.kinds import ASSISTANT, JSON, REASONING, Message, ToolCall

SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": ASSISTANT,
    "chatgpt": ASSISTANT,
    "assistant": ASSISTANT,
    "function_call": ASSISTANT,
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
MESSAGE_MEMBERS = {"role", "content", "tool_calls", "name", "tool_call_id", "weight", *REASONING}
TRANSCRIPT = re.compile(r"\n\n(Human|Assistant): ?")
"""Turn markers in Anthropic's helpful-harmless data."""


def read_turns(row: JSON, name: str, role: str) -> tuple[Message, ...]:
    """Parses a field with a text, a transcript with `Human:` and `Assistant:`, or messages.

    `Assistant:` at the end of a prompt begins the answer, which another field has. It is no turn.

    Args:
        row: The fields of the row.
        name: Name of the field.
        role: Role of a plain text.

    Raises:
        SampleError: The field is missing or invalid.
    """
    if isinstance(field_of(row, name), list):
        return read_messages(row, name)
    text = text_of(row, name)
    first, *rest = TRANSCRIPT.split(text)
    if not rest or first.strip():
        return (Message(role, text),)
    if role != ASSISTANT and len(rest) > 2 and rest[-2:] == ["Assistant", ""]:
        rest = rest[:-2]
    turns = zip(rest[::2], rest[1::2], strict=True)
    return tuple(Message("user" if who == "Human" else ASSISTANT, words) for who, words in turns)


def without_space(row: JSON, prompt: str, answers: Iterable[str]) -> JSON:
    """Returns a row without the space that divides an answer from `Assistant:` at the end of the prompt.

    Args:
        row: The fields of the row.
        prompt: Name of the prompt's field.
        answers: Names of the answers' fields.
    """
    begun = row.get(prompt)
    if not isinstance(begun, str) or not (begun.startswith("\n\nHuman:") and begun.endswith("\n\nAssistant:")):
        return row
    texts = {name: row[name] for name in answers if isinstance(row.get(name), str)}
    return row | {name: text.removeprefix(" ") for name, text in texts.items()}


def read_messages(row: JSON, name: str) -> tuple[Message, ...]:
    """Parses a field with a list of messages in OpenAI's or ShareGPT's format.

    Args:
        row: The fields of the row.
        name: Name of the field.

    Raises:
        SampleError: The field is missing or invalid.
    """
    value = field_of(row, name)
    if not isinstance(value, list):
        raise SampleError(f"`{name}` is {kind(value)}, not a list of messages", "LT-E312")
    return tuple(_message(turn, f"{name}[{number}]") for number, turn in enumerate(cast("list[Any]", value)))


def _message(turn: Any, place: str) -> Message:
    if not isinstance(turn, dict):
        raise SampleError(f"{place} is {kind(turn)}, not an object", "LT-E312")
    # A null member is an absent one: data sets whose turns share one type write null for members that a turn lacks.
    turn = {name: value for name, value in cast("JSON", turn).items() if value is not None or name == "content"}
    if "from" in turn and "role" not in turn:
        return _sharegpt_message(turn, place)
    if extra := turn.keys() - MESSAGE_MEMBERS:
        # Templates may read such members, so ignoring them would silently change the text.
        raise SampleError(
            f"{place} has {list_names(extra)}; a message may have {list_names(MESSAGE_MEMBERS)}", "LT-E313"
        )
    calls = tuple(_tool_call(call, f"{place}.tool_calls") for call in turn.get("tool_calls") or ())
    content = turn.get("content", None if not calls else "")
    if isinstance(content, list) or (content is None and calls):
        content = _joined(cast("list[Any]", content or []), f"{place}.content")
    named = {key: turn[key] for key in ("name", "tool_call_id") if turn.get(key) is not None}
    return Message(
        text_of(turn, "role", f"{place}: "),
        text_of(turn | {"content": content} if "content" in turn or calls else turn, "content", f"{place}: "),
        calls,
        **{key: text_of(named, key, f"{place}: ") for key in named},
        reasoning=_reasoning(turn, place),
        has_loss=_has_loss(turn, turn.get("role") == ASSISTANT, place),
    )


def _reasoning(turn: JSON, place: str) -> str | None:
    """Returns the thoughts of a turn. An empty text is no thought."""
    found = {text for name in REASONING if name in turn and (text := text_of(turn, name, f"{place}: "))}
    if len(found) > 1:
        raise SampleError(f"{place}: {list_names(REASONING)} differ; remove one of them", "LT-E313")
    if found and turn.get("role") != ASSISTANT:
        raise SampleError(f"{place} has reasoning, and its role is not `{ASSISTANT}`; remove the reasoning", "LT-E313")
    return found.pop() if found else None


def _has_loss(turn: JSON, is_answer: bool, place: str) -> bool:
    """Returns whether a turn carries loss, by its `weight`: OpenAI's format has 0 and 1, and 1 is the default."""
    weight = turn.get("weight", 1)
    if isinstance(weight, bool) or weight not in (0, 1):
        raise SampleError(f"{place}: `weight` is {weight!r}; a turn has weight 0 (no loss) or 1", "LT-E313")
    if "weight" in turn and weight == 1 and not is_answer:
        raise SampleError(
            f"{place} has `weight` 1, and only turns of role `{ASSISTANT}` carry loss; remove `weight` or write 0",
            "LT-E313",
        )
    return weight == 1 or not is_answer


def _sharegpt_message(turn: JSON, place: str) -> Message:
    role = text_of(turn, "from", f"{place}: ")
    if role not in SHAREGPT_ROLES:
        raise SampleError(f"{place}: `from` is {role!r}, not one of {list_names(SHAREGPT_ROLES)}", "LT-E313")
    value = text_of(turn, "value", f"{place}: ")
    has_loss = _has_loss(turn, SHAREGPT_ROLES[role] == ASSISTANT, place)
    if role != "function_call":
        return Message(SHAREGPT_ROLES[role], value, has_loss=has_loss)
    try:
        found = parse_json(value)
    except MalformedJson as error:
        raise SampleError(f"{place}: `value` of a `function_call`: {error.message}", "LT-E313") from error
    calls = cast("list[Any]", found if isinstance(found, list) else [found])
    if not calls:
        raise SampleError(f"{place}: `value` of a `function_call` has no call", "LT-E313")
    return Message(ASSISTANT, "", tuple(_tool_call(call, f"{place}.value") for call in calls), has_loss=has_loss)


def _joined(parts: list[Any], place: str) -> str:
    """Joins content in parts, the format of vision models. Only text parts are supported."""
    texts: list[str] = []
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case _:
                raise SampleError(f"{place} has a part that is not text; only text is supported", "LT-E312")
    return "".join(texts)


def _tool_call(call: Any, place: str) -> ToolCall:
    match call:
        case {"function": {"name": str(name), "arguments": arguments}, **rest}:
            pass
        case {"name": str(name), "arguments": arguments, **rest}:
            pass
        case _:
            raise SampleError(
                f"{place} has an entry that is not a call; a call has `function` with `name` and `arguments`", "LT-E313"
            )
    if isinstance(arguments, str):  # OpenAI's API sends arguments as a JSON text
        try:
            arguments = parse_json(arguments)
        except MalformedJson as error:
            raise SampleError(f"{place}: `arguments` of `{name}`: {error.message}", "LT-E313") from error
    if not isinstance(arguments, dict):
        raise SampleError(f"{place}: `arguments` of `{name}` are {kind(arguments)}, not an object", "LT-E313")
    number = cast("JSON", rest).get("id")
    return ToolCall(name, cast("JSON", arguments), number if isinstance(number, str) else None)


def read_tools(row: JSON) -> tuple[JSON, ...]:
    """Parses the field `tools`, a list or a JSON text. An absent field means no tools.

    Raises:
        SampleError: The field is not a list of objects.
    """
    value = row.get("tools")
    if isinstance(value, str) and value:
        try:
            value = parse_json(value)
        except MalformedJson as error:
            raise SampleError(f"`tools`: {error.message}", "LT-E313") from error
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in cast("list[Any]", value)):
        raise SampleError("`tools` is not a list of objects", "LT-E312")
    return tuple(cast("list[JSON]", value))


def text_of(row: Mapping[str, Any], name: str, where: str = "") -> str:
    """Returns a field that must be a text.

    Args:
        row: The fields.
        name: Name of the field.
        where: Prefix of error messages, such as `messages[0]: `.

    Raises:
        SampleError: The field is missing or not a text.
    """
    value = field_of(row, name, where)
    if not isinstance(value, str):
        raise SampleError(f"{where}`{name}` is {kind(value)}, not a text", "LT-E312")
    return value


def field_of(row: Mapping[str, Any], name: str, where: str = "") -> Any:
    """Returns a required field.

    Args:
        row: The fields.
        name: Name of the field.
        where: Prefix of error messages, such as `messages[0]: `.

    Raises:
        SampleError: The field is missing.
    """
    if name not in row:
        raise SampleError(f"{where}no field `{name}` among {list_names(row)}", "LT-E311")
    return row[name]
