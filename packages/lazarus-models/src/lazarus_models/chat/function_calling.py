"""Function calling: the declaration of functions in the prompt, and the calls in an answer.

Three formats of a call are read: `<tool_call>{"name": ..., "arguments": ...}</tool_call>` (Qwen, Granite, Hermes),
FunctionGemma's `<start_function_call>call:name{key:value}<end_function_call>`, and a bare JSON object (Llama 3).
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

from lazarus_core.strict_json import MalformedJson, parse_json
from lazarus_models.generation.streaming import until_stop
from lazarus_tokenkit import Message

CALL_ENDS = ("</tool_call>", "<end_function_call>")
"""Texts that end a call: generation can stop there and the function can run."""
CALL_BEGINS = ("<tool_call>", "<start_function_call>")
"""Texts with which a call begins."""
_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.DOTALL)
_GEMMA = re.compile(r"<start_function_call>\s*call:(\w+)\{(.*?)\}\s*(?:<end_function_call>|$)", re.DOTALL)
_ARGUMENT = re.compile(r"(\w+):(?:<escape>(.*?)<escape>|([^,{}]*))(?:,|$)", re.DOTALL)


@dataclass(frozen=True)
class Tool:
    """A function, described as in OpenAI's interface."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    """JSON schema of its arguments."""

    def to_openai(self) -> dict[str, Any]:
        """The entry of `tools` in a request of OpenAI's interface."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class ToolCall:
    """A function name with arguments."""

    name: str
    arguments: dict[str, Any]


def declare(tools: Sequence[Tool]) -> str:
    """The instructions that declare functions to a model."""
    lines = "\n".join(json.dumps(tool.to_openai(), ensure_ascii=False) for tool in tools)
    return (
        "You may call these functions:\n"
        f"<tools>\n{lines}\n</tools>\n"
        "To call one, answer with its name and arguments as JSON between tags and nothing else:\n"
        '<tool_call>\n{"name": "...", "arguments": {...}}\n</tool_call>'
    )


def with_tools(messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[Message, ...]:
    """A conversation with the declaration of functions at the end of its system message.

    Args:
        messages: The conversation; a system message is added if it has none.
        tools: The functions.
    """
    first, rest = ([messages[0].content], messages[1:]) if messages and messages[0].role == "system" else ([], messages)
    return (Message("system", "\n\n".join([*first, declare(tools)])), *rest)


def parse_calls(text: str) -> tuple[ToolCall, ...]:
    """The calls in an answer, in order; malformed calls are ignored.

    >>> parse_calls('<tool_call>{"name": "add", "arguments": {"a": 2, "b": 3}}</tool_call>')
    (ToolCall(name='add', arguments={'a': 2, 'b': 3}),)
    >>> parse_calls("<start_function_call>call:say{text:<escape>hello, you<escape>,times:2}<end_function_call>")
    (ToolCall(name='say', arguments={'text': 'hello, you', 'times': 2}),)
    """
    if found := _GEMMA.findall(text):
        return tuple(ToolCall(name, _gemma_arguments(inside)) for name, inside in found)
    written = _TAGGED.findall(text) or ([text] if text.strip().startswith("{") else [])
    return tuple(call for one in written if (call := _json_call(one)) is not None)


def outside_calls(pieces: Iterable[str]) -> Iterator[str]:
    """The text of an answer up to its first call, piece by piece.

    >>> list(outside_calls(["I add. ", "<tool", "_call>{", "}</tool_call>"]))
    ['I add. ']
    >>> list(outside_calls([" ", "{", '"name": "add"}']))
    []
    """
    waiting = iter(pieces)
    head = ""
    while not head.strip() and (piece := next(waiting, None)) is not None:
        head += piece
    if head and not head.lstrip().startswith("{"):  # otherwise a bare call, or no text
        yield from until_stop(chain([head], waiting), CALL_BEGINS)


def _json_call(text: str) -> ToolCall | None:
    try:
        said: Any = parse_json(text)
    except MalformedJson:
        return None
    if not isinstance(said, dict):
        return None
    said = cast("dict[str, Any]", said)
    name, arguments = said.get("name"), said.get("arguments", said.get("parameters", {}))
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return ToolCall(name, cast("dict[str, Any]", arguments))


def _gemma_arguments(text: str) -> dict[str, Any]:
    return {key: escaped or _value(bare.strip()) for key, escaped, bare in _ARGUMENT.findall(text)}


def _value(text: str) -> Any:
    try:
        return parse_json(text)
    except MalformedJson:
        return text
