"""Messages of a chat request, as pydantic models."""

import json
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import model_validator as validator

from lazarus_core.strict_json import MalformedJson, parse_json
from lazarus_tokenkit import Message


class Fields(BaseModel):
    """Base of every object of a request: strict types, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class FunctionCall(Fields):
    """Name and arguments of a call in an earlier answer."""

    name: str
    arguments: str
    """Arguments as JSON text."""

    def to_json(self) -> str:
        """The call as the model writes it: with the arguments as an object, or as the text that they are if they are none."""
        try:
            arguments: Any = parse_json(self.arguments or "{}")
        except MalformedJson:
            arguments = self.arguments
        is_object = isinstance(arguments, dict)
        said = {"name": self.name, "arguments": cast("Any", arguments) if is_object else self.arguments}
        return json.dumps(said, ensure_ascii=False)


class ToolCallPart(Fields):
    """A call in an earlier answer."""

    function: FunctionCall
    id: str | None = None
    type: Literal["function"] = "function"
    index: int | None = None


def _joined(content: Any) -> str | None:
    """The text of `content`: a string, or parts of type `text`."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError("`content` must be a string or a list of parts of type `text`")
    return "".join(_part(part) for part in cast("list[Any]", content))


def _part(part: Any) -> str:
    if isinstance(part, dict):
        said = cast("dict[str, Any]", part)
        text = said.get("text")
        if said.get("type") == "text" and isinstance(text, str) and said.keys() <= {"type", "text"}:
            return text
    raise ValueError("only parts of type `text` with a `text` are supported")


class ChatMessage(Fields):
    """One message of a conversation."""

    role: Annotated[str, Field(min_length=1, max_length=64)]
    content: Annotated[str | None, BeforeValidator(_joined)] = None
    tool_calls: Annotated[list[ToolCallPart], Field(fail_fast=True)] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    """Name of the function whose result this is; refused in other messages, because templates would ignore it."""
    refusal: None = None
    """Null in answers, which clients send back as messages; also the next three fields."""
    annotations: None = None
    audio: None = None
    function_call: None = None

    @validator(mode="after")
    def _says_something(self) -> "ChatMessage":
        if self.content is None and not self.tool_calls:
            raise ValueError("a message needs `content` or `tool_calls`")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("`tool_calls` are allowed in messages of the role `assistant` only")
        if (self.name is not None or self.tool_call_id is not None) and self.role not in ("tool", "function"):
            raise ValueError("`name` and `tool_call_id` have no effect outside messages of the role `tool`")
        return self

    def to_message(self) -> Message:
        """The message for the chat template, with calls as text."""
        calls = [f"<tool_call>{call.function.to_json()}</tool_call>" for call in self.tool_calls or ()]
        text = (self.content or "") + "\n".join(calls)
        return Message("system" if self.role == "developer" else self.role, text)
