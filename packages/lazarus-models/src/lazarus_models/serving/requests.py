"""Requests of OpenAI's interface as pydantic models. Every field is checked; fields that would have no effect are refused.

Five fields are accepted and ignored, because they only identify the caller or allow the usual behaviour: `user`,
`safety_identifier`, `prompt_cache_key`, `metadata` and `parallel_tool_calls`.
"""

import json
import re
import reprlib
from collections.abc import Mapping
from difflib import get_close_matches
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar, cast

import jiter
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic import model_validator as validator

from lazarus_models.chat.function_calling import CALL_ENDS, Tool
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.serving.errors import Refused
from lazarus_tokenkit import Message

MAX_STOPS = 64
"""Largest number of stop texts of a request: every piece of the answer is searched for each of them."""
MAX_METADATA = 16
"""Largest number of entries of `metadata`: OpenAI's limit."""
MAX_STOP_CHARACTERS = 1000
"""Largest length of a stop text."""
NOT_DONE: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "modalities": (["text"],),
    "prediction": (),
    "reasoning_effort": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "verbosity": (),
    "web_search_options": (),
}
"""Fields of OpenAI's interface that are not supported, with their values that have no effect; null has none either."""
_TOKEN_ID = re.compile("0|[1-9][0-9]{0,9}")
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, lt=2**31)]


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class FunctionCall(_Fields):
    """Name and arguments of a call in an earlier answer."""

    name: str
    arguments: str
    """Arguments as JSON text."""


class ToolCallPart(_Fields):
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


class ChatMessage(_Fields):
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
        calls = [f"<tool_call>{_json(call.function.model_dump())}</tool_call>" for call in self.tool_calls or ()]
        text = (self.content or "") + "\n".join(calls)
        return Message("system" if self.role == "developer" else self.role, text)


class Function(_Fields):
    """A function that the model may call."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: Literal[False] | None = None


class ToolPart(_Fields):
    """An entry of `tools`."""

    function: Function
    type: Literal["function"] = "function"

    def to_tool(self) -> Tool:
        """The function for the declaration in the prompt."""
        return Tool(self.function.name, self.function.description or "", self.function.parameters or {})


class StreamOptions(_Fields):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class TextFormat(_Fields):
    """The only supported format of an answer."""

    type: Literal["text"]


def _stops(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _biases(given: Any) -> Any:
    """Checks entries and names the first wrong one: a body has room for 100,000."""
    entries = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    for token, bias in entries.items():
        if not _TOKEN_ID.fullmatch(token) or type(bias) not in (int, float):
            raise ValueError(f"{token[:20]!r}: {reprlib.repr(bias)} is not a token id with a number")
    return cast("Any", given)


def _few(given: Any) -> Any:
    entries = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    if len(entries) > MAX_METADATA:
        raise ValueError(f"at most {MAX_METADATA} entries")
    return cast("Any", given)


def _only_one(given: int | None) -> int | None:
    if given not in (None, 1):
        raise ValueError("only one answer per request is supported")
    return given


_Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]
_One = Annotated[int | None, AfterValidator(_only_one)]


class AnyRequest(_Fields):
    """The fields of both interfaces."""

    model: str | None = None
    max_tokens: _Count | None = None
    temperature: _Finite | None = None
    top_p: _Finite | None = None
    top_k: int | None = None
    min_p: _Finite | None = None
    frequency_penalty: _Finite | None = None
    presence_penalty: _Finite | None = None
    repetition_penalty: _Finite | None = None
    seed: int | None = None
    logit_bias: Annotated[dict[str, _Finite] | None, BeforeValidator(_biases)] = None
    stop: Annotated[list[_Stop], Field(max_length=MAX_STOPS, fail_fast=True), BeforeValidator(_stops)] | None = None
    n: _One = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: Annotated[dict[str, str] | None, BeforeValidator(_few)] = None

    @validator(mode="before")
    @classmethod
    def _asks_for_nothing(cls, said: dict[str, Any]) -> dict[str, Any]:
        idle = {name for name, value in said.items() if name in NOT_DONE and (value is None or value in NOT_DONE[name])}
        return {name: value for name, value in said.items() if name not in idle}

    @validator(mode="after")
    def _options_are_of_a_stream(self) -> "AnyRequest":
        if self.stream_options is not None and not self.stream:
            raise ValueError("`stream_options` has no effect without `stream`")
        return self

    def settings(self, limit: int) -> GenerationConfig:
        """The generation settings of the request.

        Args:
            limit: Largest number of new tokens.

        Raises:
            Refused: A value is out of range.
        """
        said = self.model_dump(include=_SAMPLING, exclude_none=True)
        if said.get("temperature", 0) == 0:  # the filters have no effect on greedy generation
            said = {key: value for key, value in said.items() if key not in ("top_p", "top_k", "min_p")}
        said |= {"max_new_tokens": min(self.wanted_tokens or limit, limit), "logprobs": self.wanted_logprobs}
        said["stop"] = (*(self.stop or ()), *(CALL_ENDS if self.functions else ()))
        try:
            return GenerationConfig.model_validate(said)
        except ValidationError as error:
            raise _refusal(error, type(self)) from error

    @property
    def wanted_tokens(self) -> int | None:
        """The requested number of new tokens; None for none."""
        return self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """Most likely tokens to report for each token; None for no log-probabilities."""
        return None

    @property
    def functions(self) -> list[Tool]:
        """The functions that the model may call."""
        return []


_SAMPLING = {
    *("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty"),
    *("seed", "logit_bias"),
}


class ChatRequest(AnyRequest):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)]
    """At least one message."""
    max_completion_tokens: _Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[ToolPart], Field(fail_fast=True)] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | None = None

    @validator(mode="after")
    def _contradicts_nothing(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("`top_logprobs` has no effect without `logprobs`")
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise ValueError("`max_tokens` and `max_completion_tokens` differ; give one of them")
        return self

    @property
    def wanted_tokens(self) -> int | None:
        """The requested number of new tokens, under either name; None for none."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """Most likely tokens to report for each token; None for no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def functions(self) -> list[Tool]:
        """The functions that the model may call."""
        return [] if self.tool_choice == "none" else [tool.to_tool() for tool in self.tools or ()]


class CompletionRequest(AnyRequest):
    """The body of `/v1/completions`."""

    prompt: str
    """A text; lists of texts or tokens are not supported."""
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    best_of: _One = None
    echo: Literal[False] | None = None
    suffix: Literal[""] | None = None

    @property
    def wanted_logprobs(self) -> int | None:
        """Most likely tokens to report for each token; None for no log-probabilities."""
        return self.logprobs


_R = TypeVar("_R", bound=AnyRequest)


def read_request(content: bytes, kind: type[_R]) -> _R:
    """Parses a request.

    Args:
        content: The body.
        kind: `ChatRequest` or `CompletionRequest`.

    Raises:
        Refused: The body is not JSON, or a field is unknown, has the wrong type or is out of range.
    """
    said = _read_object(content)
    unknown = next((name for name in said if name not in kind.model_fields and name not in NOT_DONE), None)
    if unknown is not None:  # only the first is reported: a body has room for 100,000
        raise _unknown(unknown, kind)
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        raise _refusal(error, kind) from error


def _read_object(content: bytes) -> dict[str, Any]:
    """Parses a JSON object; refuses NaN, lone surrogates, 200 levels, duplicate members and huge integers."""
    try:
        value: Any = jiter.from_json(content, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise Refused(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
    return cast("dict[str, Any]", value)


def _refusal(error: ValidationError, kind: type[AnyRequest]) -> Refused:
    """The first error as a refusal."""
    errors = error.errors(include_url=False, include_context=False)
    item = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
    if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
        return _unknown(str(item["loc"][0]), kind)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Refused(HTTPStatus.BAD_REQUEST, f"{_words(item)}{more}", param=_field(item))


def _unknown(name: str, kind: type[AnyRequest]) -> Refused:
    """The refusal of a field that is unknown or not supported."""
    near = get_close_matches(name[:100], kind.model_fields, 1)
    if name in NOT_DONE or name in ChatRequest.model_fields or name in CompletionRequest.model_fields:
        message = f"`{name}` is not supported; omit it"
    else:
        message = f"unknown field `{name[:100]}`" + (f"; did you mean `{near[0]}`?" if near else "")
    return Refused(HTTPStatus.BAD_REQUEST, message, param=name[:100], code="unknown_parameter")


def _words(item: Mapping[str, Any]) -> str:
    place = ".".join(str(part)[:100] for part in item["loc"])
    got = "" if item["type"] in ("missing", "value_error") else f" (got {reprlib.repr(item['input'])})"
    said = item["msg"].removeprefix("Value error, ") + got
    return f"`{place}`: {said}" if place else said


def _field(item: Mapping[str, Any]) -> str | None:
    return str(item["loc"][0])[:100] if item["loc"] else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
