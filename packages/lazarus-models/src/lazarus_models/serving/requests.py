"""Requests of OpenAI's interface as pydantic models. Every field is checked; fields that would have no effect are refused.

`unsupported` lists the fields that are known and not supported, and those that are accepted and ignored.
"""

import re
import reprlib
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic import model_validator as validator

from lazarus_models.chat.function_calling import CALL_ENDS, Tool
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.serving.functions import MAX_TOOLS, NamedTool, ResponseFormat, ToolPart, schema_of
from lazarus_models.serving.messages import ChatMessage, Fields
from lazarus_models.serving.reading import refusal
from lazarus_models.serving.unsupported import without_idle

MAX_TEXTS = 128
"""Largest number of texts of one request, prompts times `n`: OpenAI's limit of `n`."""
MAX_STOPS = 64
"""Largest number of stop texts of a request: every piece of the answer is searched for each of them."""
MAX_METADATA = 16
"""Largest number of entries of `metadata`: OpenAI's limit."""
MAX_STOP_CHARACTERS = 1000
"""Largest length of a stop text."""
_TOKEN_ID = re.compile("0|[1-9][0-9]{0,9}")
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, lt=2**31)]


class StreamOptions(Fields):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None
    continuous_usage_stats: Literal[False] | None = None


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


def _all_tokens(given: int | None) -> int | None:
    return 0 if given == -1 else given  # -1 means no limit in other servers


def _prompts(given: Any) -> list[str | list[int]]:
    """The prompts of a completion request: a text, token ids, or a list of either."""
    prompts = cast("list[Any]", [given] if isinstance(given, str) or _is_ids(given) else given)
    if (
        not isinstance(cast("Any", prompts), list)
        or not prompts
        or not all(isinstance(one, str) or _is_ids(one) for one in prompts)
    ):
        raise ValueError("a prompt is a text, a list of token ids, or a list of texts or of lists of token ids")
    return prompts


def _is_ids(given: Any) -> bool:
    return isinstance(given, list) and given != [] and all(type(one) is int for one in cast("list[Any]", given))


_Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]
_Texts = Annotated[int, Field(ge=1, le=MAX_TEXTS)]


class AnyRequest(Fields):
    """The fields of both interfaces."""

    model: str | None = None
    max_tokens: _Count | None = None
    temperature: _Finite | None = None
    top_p: _Finite | None = None
    top_k: Annotated[int | None, AfterValidator(_all_tokens)] = None
    min_p: _Finite | None = None
    frequency_penalty: _Finite | None = None
    presence_penalty: _Finite | None = None
    repetition_penalty: _Finite | None = None
    seed: int | None = None
    logit_bias: Annotated[dict[str, _Finite] | None, BeforeValidator(_biases)] = None
    stop: Annotated[list[_Stop], Field(max_length=MAX_STOPS, fail_fast=True), BeforeValidator(_stops)] | None = None
    n: _Texts | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: Annotated[dict[str, str] | None, BeforeValidator(_few)] = None

    @validator(mode="before")
    @classmethod
    def _asks_for_nothing(cls, said: dict[str, Any]) -> dict[str, Any]:
        return without_idle(said)

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
        filters = {key: said.pop(key) for key in _FILTERS if key in said}
        is_greedy = said.get("temperature", 0) == 0  # then the filters have no effect, but are checked
        wanted = limit if self.wanted_tokens is None else max(self.wanted_tokens, 1)  # 0 is handled by the answer
        said |= {"max_new_tokens": min(wanted, limit), "logprobs": self.wanted_logprobs}
        said["stop"] = (*(self.stop or ()), *(CALL_ENDS if self.functions else ()))
        try:
            checked = GenerationConfig.model_validate(said | filters | ({"temperature": 1.0} if is_greedy else {}))
            return GenerationConfig.model_validate(said) if is_greedy else checked
        except ValidationError as error:
            raise refusal(error, type(self)) from error

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
_FILTERS = ("top_p", "top_k", "min_p")


class ChatRequest(AnyRequest):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)]
    """At least one message."""
    max_completion_tokens: _Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[ToolPart], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """Further names for the chat template, such as `enable_thinking`."""

    @validator(mode="after")
    def _contradicts_nothing(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("`top_logprobs` has no effect without `logprobs`")
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise ValueError("`max_tokens` and `max_completion_tokens` differ; give one of them")
        return self

    @validator(mode="after")
    def _functions_can_be_called(self) -> "ChatRequest":
        names = [tool.function.name for tool in self.tools or ()]
        if self.is_forced and not names:
            raise ValueError("`tool_choice` asks for a call, but there are no `tools`")
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.function.name not in names:
            raise ValueError(f"`tool_choice` names {self.tool_choice.function.name[:64]!r}, which is not in `tools`")
        if any(tool.function.strict for tool in self.tools or ()) and not self.is_forced and self.tool_choice != "none":
            raise ValueError(
                "`strict` functions are not supported with a free choice; omit it, or set `tool_choice` to "
                "`required` or to a function"
            )
        if self.functions and schema_of(self.response_format) is not None:
            raise ValueError(
                "`response_format` is not supported with `tools`; set `tool_choice` to `none`, or omit one"
            )
        return self

    @property
    def is_forced(self) -> bool:
        """Whether the answer must be a call."""
        return self.tool_choice == "required" or isinstance(self.tool_choice, NamedTool)

    @property
    def forced(self) -> list[Tool]:
        """The functions of which the answer must call one; empty if it need not be a call."""
        if isinstance(self.tool_choice, NamedTool):
            return [tool for tool in self.functions if tool.name == self.tool_choice.function.name]
        return self.functions if self.is_forced else []

    @property
    def schema_(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must have; None for free text."""
        return schema_of(self.response_format)

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

    prompt: Annotated[list[str | list[int]], BeforeValidator(_prompts), Field(max_length=MAX_TEXTS)]
    """One prompt or several, each a text or token ids."""
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    best_of: int | None = None
    echo: bool | None = None
    """Whether the answer begins with the prompt; with `logprobs`, its tokens are scored."""
    suffix: Literal[""] | None = None

    @validator(mode="after")
    def _asks_for_texts(self) -> "CompletionRequest":
        if self.best_of not in (None, self.n or 1):
            raise ValueError("`best_of` is not supported beside `n`; omit it")
        if len(self.prompt) * (self.n or 1) > MAX_TEXTS:
            raise ValueError(f"prompts times `n` are at most {MAX_TEXTS} texts; send several requests")
        return self

    @property
    def wanted_logprobs(self) -> int | None:
        """Most likely tokens to report for each token; None for no log-probabilities."""
        return self.logprobs
