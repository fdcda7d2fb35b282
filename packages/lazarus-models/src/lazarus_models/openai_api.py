"""OpenAI's interface: a request read into a prompt and settings, tokens written as an answer or its pieces.

What is asked for and would have no effect is refused.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import accumulate
from typing import Any, NamedTuple, cast

from pydantic import ValidationError

from lazarus_models.config import in_words
from lazarus_models.engine import Job
from lazarus_models.generation import bounded, prompt_ids
from lazarus_models.huggingface import LoadedModel
from lazarus_models.sample import GenerationConfig
from lazarus_models.streaming import decode_stream, until_stop
from lazarus_models.tools import CALL_ENDS, Tool, outside_calls, parse_calls, told_of
from lazarus_tokenkit import Message


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """A prompt and how to answer it, and the words of OpenAI's interface around the answer."""

    lm: LoadedModel
    model: str
    """What the model is called in answers."""
    is_chat: bool
    ids: list[int]
    asked: GenerationConfig
    config: GenerationConfig
    is_streamed: bool
    wants_usage: bool
    has_tools: bool
    id: str

    @classmethod
    def read(
        cls, body: dict[str, Any], lm: LoadedModel, model: str, *, max_new_tokens: int, is_chat: bool
    ) -> "Request":
        _refuse_idle(body)
        tools = _tools(body.get("tools")) if is_chat and body.get("tool_choice") != "none" else []
        asked = _settings(body, max_new_tokens, tools, _top_logprobs(body, is_chat=is_chat))
        if is_chat:
            messages = _messages(body.get("messages"))
            ids = prompt_ids(lm, told_of(messages, tools) if tools else messages)
        else:
            prompt = body.get("prompt")
            if not isinstance(prompt, str):
                raise Refused(HTTPStatus.BAD_REQUEST, "`prompt` is a text")
            ids = prompt_ids(lm, prompt, raw=True)
        options: Any = body.get("stream_options")
        return cls(
            lm=lm,
            model=model,
            is_chat=is_chat,
            ids=ids,
            asked=asked,
            config=bounded(lm, ids, asked),
            is_streamed=body.get("stream") is True,
            wants_usage=isinstance(options, dict) and cast("dict[str, Any]", options).get("include_usage") is True,
            has_tools=bool(tools),
            id=f"{'chatcmpl' if is_chat else 'cmpl'}-{time.time_ns():x}",
        )

    def pieces(self, job: Job) -> Iterator[str]:
        """The answer's text as it comes."""
        stops = self.config.stop_ids or ()
        tokens = (token for token in job.tokens() if token not in stops)
        stream = until_stop(decode_stream(self.lm.tokenizer, self.ids, tokens), self.config.stop)
        yield from stream
        job.is_left.set()

    def whole(self, text: str, job: Job) -> dict[str, Any]:
        """The answer in one piece."""
        reason = self.finish(text, job)
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": self._logprobs(job)}
        if not self.is_chat:
            choice["text"] = text
        elif reason == "tool_calls":
            said = "".join(outside_calls([text]))
            choice["message"] = {"role": "assistant", "content": said or None, "tool_calls": self.calls(text)}
        else:
            choice["message"] = {"role": "assistant", "content": text}
        return {**self.head(""), "choices": [choice], "usage": self.usage(job)}

    def chunk(self, delta: dict[str, Any], job: Job, reason: str | None = None) -> dict[str, Any]:
        """One piece of a streamed answer, or its end."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": self._logprobs(job)}
        if self.is_chat:
            choice["delta"] = {"role": "assistant", **delta} if delta else {}
        else:
            choice["text"] = delta.get("content", "")
        return {**self.head("chunk"), "choices": [choice]}

    def _logprobs(self, job: Job) -> dict[str, Any] | None:
        """Those of the tokens that came since the last call, in the words of either interface."""
        if self.config.logprobs is None:
            return None
        first, job.told = job.told, len(job.new)
        before = [self.ids[-1], *job.new]
        stops = self.config.stop_ids or ()
        told = [
            _Told(
                self._word(before[place], job.new[place]),
                job.logprobs[place].logprob,
                [(self._word(before[place], token), logprob) for token, logprob in job.logprobs[place].top],
            )
            for place in range(first, job.told)
            if job.new[place] not in stops
        ]
        if self.is_chat:
            return {"content": [token.in_chat() for token in told], "refusal": None}
        *offsets, job.told_characters = accumulate((len(token.word) for token in told), initial=job.told_characters)
        return {
            "tokens": [token.word for token in told],
            "token_logprobs": [token.logprob for token in told],
            "top_logprobs": [dict(token.top) for token in told],
            "text_offset": offsets,
        }

    def _word(self, before: int, token: int) -> str:
        """A token as it reads behind another."""
        decode = self.lm.tokenizer.decode
        return decode([before, token])[len(decode([before])) :]

    def head(self, kind: str) -> dict[str, Any]:
        """What every answer begins with."""
        form = "chat.completion" if self.is_chat else "text_completion"
        form = f"{form}.chunk" if kind == "chunk" and self.is_chat else form
        return {"id": self.id, "object": form, "created": int(time.time()), "model": self.model}

    def finish(self, text: str, job: Job) -> str:
        """Why the answer ended, in OpenAI's words."""
        if self.has_tools and parse_calls(text):
            return "tool_calls"
        is_long = len(job.new) >= self.config.max_new_tokens and job.new[-1] not in (self.config.stop_ids or ())
        return "length" if is_long else "stop"

    def usage(self, job: Job) -> dict[str, int]:
        """Tokens read and written."""
        read, written = len(self.ids), len(job.new)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def calls(self, text: str) -> list[dict[str, Any]]:
        """The functions that the answer asks for."""
        return [
            {
                "id": f"call-{self.id}-{place}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for place, call in enumerate(parse_calls(text))
        ]


class _Told(NamedTuple):
    """A token and how likely it was."""

    word: str
    logprob: float
    top: list[tuple[str, float]]

    def in_chat(self) -> dict[str, Any]:
        """In the words of the chat interface."""
        return {
            **_chat_logprob(self.word, self.logprob),
            "top_logprobs": [_chat_logprob(word, logprob) for word, logprob in self.top],
        }


def _chat_logprob(word: str, logprob: float) -> dict[str, Any]:
    return {"token": word, "logprob": logprob, "bytes": list(word.encode("utf-8"))}


def _refuse_idle(body: dict[str, Any]) -> None:
    """What is asked for and would have no effect."""
    idle = {
        "n": body.get("n") not in (None, 1),
        "best_of": body.get("best_of") not in (None, 1),
        "echo": bool(body.get("echo")),
        "suffix": bool(body.get("suffix")),
        "response_format": body.get("response_format") not in (None, {"type": "text"}),
        "tool_choice": body.get("tool_choice") not in (None, "auto", "none"),
    }
    if said := [name for name, is_asked in idle.items() if is_asked]:
        raise Refused(HTTPStatus.BAD_REQUEST, f"`{said[0]}` {body[said[0]]!r} is not done here; leave it out")


def _top_logprobs(body: dict[str, Any], *, is_chat: bool) -> int | None:
    """How many alternatives of each token are asked for; None for no log-probabilities."""
    if is_chat:
        return (body.get("top_logprobs") or 0) if body.get("logprobs") else None
    return body.get("logprobs")


def _settings(body: dict[str, Any], limit: int, tools: list[Tool], logprobs: Any) -> GenerationConfig:
    wanted = body.get("max_completion_tokens", body.get("max_tokens")) or limit
    stop: Any = body.get("stop") or ()
    said: dict[str, Any] = {
        "max_new_tokens": min(wanted, limit) if isinstance(wanted, int) else wanted,
        "logprobs": logprobs,
    }
    for key in (
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "logit_bias",
    ):
        if body.get(key) is not None:
            said[key] = body[key]
    if said.get("temperature", 0) == 0:  # greedy has nothing to filter
        said = {key: value for key, value in said.items() if key not in ("top_p", "top_k", "min_p")}
    said["stop"] = ((stop,) if isinstance(stop, str) else tuple(stop)) + (CALL_ENDS if tools else ())
    try:
        return GenerationConfig.model_validate(said)
    except ValidationError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, in_words(error)) from error


def _messages(said: Any) -> list[Message]:
    if not isinstance(said, list) or not said:
        raise Refused(HTTPStatus.BAD_REQUEST, "`messages` is a list of at least one message")
    return [_message(one) for one in cast("list[Any]", said)]


def _message(said: Any) -> Message:
    if not isinstance(said, dict):
        raise Refused(HTTPStatus.BAD_REQUEST, "a message is an object with `role` and `content`")
    message = cast("dict[str, Any]", said)
    content: Any = message.get("content")
    if content is None and message.get("tool_calls"):
        calls = [call["function"] for call in message["tool_calls"]]
        content = "\n".join(f"<tool_call>{json.dumps(call, ensure_ascii=False)}</tool_call>" for call in calls)
    if isinstance(content, list):
        parts = cast("list[dict[str, Any]]", content)
        if any(part.get("type") != "text" for part in parts):
            raise Refused(HTTPStatus.BAD_REQUEST, "only parts of type `text` are read")
        content = "".join(str(part.get("text", "")) for part in parts)
    if not isinstance(content, str) or not isinstance(message.get("role"), str):
        raise Refused(HTTPStatus.BAD_REQUEST, "a message has a `role` and a `content`, both texts")
    return Message("system" if message["role"] == "developer" else message["role"], content)


def _tools(said: Any) -> list[Tool]:
    if said is None:
        return []
    try:
        functions = [one["function"] for one in said]
        return [Tool(one["name"], one.get("description", ""), one.get("parameters", {})) for one in functions]
    except (TypeError, KeyError, AttributeError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "`tools` is a list of functions with names") from error
