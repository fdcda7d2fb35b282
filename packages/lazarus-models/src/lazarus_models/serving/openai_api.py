"""OpenAI's interface: converts requests to prompts and settings, and tokens to answers."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from http import HTTPStatus
from itertools import accumulate
from typing import Any, NamedTuple

from lazarus_models.chat.function_calling import Tool, outside_calls, parse_calls, with_tools
from lazarus_models.generation.autoregressive import bounded, prompt_ids
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.generation.streaming import decode_stream, until_stop
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.serving.engine import Job
from lazarus_models.serving.errors import Refused
from lazarus_models.serving.requests import AnyRequest, ChatRequest, CompletionRequest, read_request


@dataclass(frozen=True)
class Request:
    """A request with encoded prompt and settings; formats its answer."""

    lm: LoadedModel
    model: str
    """Name of the model in answers."""
    is_chat: bool
    ids: list[int]
    config: GenerationConfig
    is_streamed: bool
    wants_usage: bool
    has_tools: bool
    id: str

    @classmethod
    def read(cls, content: bytes, lm: LoadedModel, model: str, *, max_new_tokens: int, is_chat: bool) -> "Request":
        """Parses a request.

        Args:
            content: The body.
            lm: The model.
            model: Name of the model.
            max_new_tokens: Largest number of new tokens.
            is_chat: Whether it is a chat request, or a completion request.

        Raises:
            Refused: The body is not JSON, or a field is unknown, has the wrong type or is out of range.
            LazarusError: The prompt cannot be encoded or is too long, or a setting has tokens outside the vocabulary.
        """
        said = read_request(content, ChatRequest if is_chat else CompletionRequest)
        _check_model(said.model, model)
        tools = said.functions
        ids = _prompt(said, lm, tools)
        return cls(
            lm=lm,
            model=model,
            is_chat=is_chat,
            ids=ids,
            config=bounded(lm, ids, said.settings(max_new_tokens)),
            is_streamed=said.stream is True,
            wants_usage=said.stream_options is not None and said.stream_options.include_usage is True,
            has_tools=bool(tools),
            id=f"{'chatcmpl' if is_chat else 'cmpl'}-{time.time_ns():x}",
        )

    def pieces(self, job: Job) -> Iterator[str]:
        """The text of the answer, piece by piece."""
        stops = self.config.stop_ids or ()
        tokens = (token for token in job.tokens() if token not in stops)
        stream = until_stop(decode_stream(self.lm.tokenizer, self.ids, tokens), self.config.stop)
        yield from stream
        job.leave()

    def events(self, job: Job) -> Iterator[dict[str, Any]]:
        """The objects of a streamed answer, one by one."""
        text: list[str] = []
        pieces = _noted(self.pieces(job), text)
        shown = 0
        for piece in outside_calls(pieces) if self.has_tools else pieces:
            yield self.chunk({"content": piece}, job)
            shown += len(piece)
        for _ in pieces:
            pass  # a call, or text that looks like one, is recorded but not sent yet
        yield from self._ends("".join(text), shown, job)

    def _ends(self, whole: str, shown: int, job: Job) -> Iterator[dict[str, Any]]:
        """The objects after the text of a streamed answer: calls, finish reason, usage."""
        reason = self.finish(whole, job)
        if reason == "tool_calls":
            calls = [{"index": place, **call} for place, call in enumerate(self.calls(whole))]
            yield self.chunk({"tool_calls": calls}, job)
        elif shown < len(whole):
            yield self.chunk({"content": whole[shown:]}, job)
        yield self.chunk({}, job, reason)
        if self.wants_usage:
            yield {**self.head("chunk"), "choices": [], "usage": self.usage(job)}

    def whole(self, text: str, job: Job) -> dict[str, Any]:
        """The object of an answer that is not streamed.

        Args:
            text: The whole text.
            job: The finished job.
        """
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
        """One object of a streamed answer.

        Args:
            delta: New content or calls; empty for the last object.
            job: The job, for log-probabilities.
            reason: Finish reason of the last object; None before.
        """
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": self._logprobs(job)}
        if self.is_chat:
            choice["delta"] = {"role": "assistant", **delta} if delta else {}
        else:
            choice["text"] = delta.get("content", "")
        return {**self.head("chunk"), "choices": [choice]}

    def _logprobs(self, job: Job) -> dict[str, Any] | None:
        """The log-probabilities of the tokens since the last call, in the format of the interface."""
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
        """The text of a token after another one."""
        decode = self.lm.tokenizer.decode
        return decode([before, token])[len(decode([before])) :]

    def head(self, kind: str) -> dict[str, Any]:
        """The common fields of every answer."""
        form = "chat.completion" if self.is_chat else "text_completion"
        form = f"{form}.chunk" if kind == "chunk" and self.is_chat else form
        return {"id": self.id, "object": form, "created": int(time.time()), "model": self.model}

    def finish(self, text: str, job: Job) -> str:
        """The finish reason of an answer, in OpenAI's terms.

        Args:
            text: The whole text.
            job: The finished job.
        """
        if self.has_tools and parse_calls(text):
            return "tool_calls"
        is_long = len(job.new) >= self.config.max_new_tokens and job.new[-1] not in (self.config.stop_ids or ())
        return "length" if is_long else "stop"

    def usage(self, job: Job) -> dict[str, int]:
        """The token counts of an answer."""
        read, written = len(self.ids), len(job.new)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def calls(self, text: str) -> list[dict[str, Any]]:
        """The calls in an answer."""
        return [
            {
                "id": f"call-{self.id}-{place}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for place, call in enumerate(parse_calls(text))
        ]


class _Told(NamedTuple):
    """A token with its log-probability."""

    word: str
    logprob: float
    top: list[tuple[str, float]]

    def in_chat(self) -> dict[str, Any]:
        """The entry in the format of the chat interface."""
        return {
            **_chat_logprob(self.word, self.logprob),
            "top_logprobs": [_chat_logprob(word, logprob) for word, logprob in self.top],
        }


def _chat_logprob(word: str, logprob: float) -> dict[str, Any]:
    return {"token": word, "logprob": logprob, "bytes": list(word.encode("utf-8"))}


def _check_model(asked: str | None, model: str) -> None:
    """Refuses a request for another model, and names the served one."""
    if asked is None or asked == model:
        return
    near = "did you mean" if get_close_matches(asked[:100], [model]) else "this server has"
    raise Refused(
        HTTPStatus.BAD_REQUEST,
        f"no model {asked[:100]!r}; {near} {model!r}{'?' if near == 'did you mean' else ''}",
        param="model",
        code="model_not_found",
    )


def _prompt(said: AnyRequest, lm: LoadedModel, tools: list[Tool]) -> list[int]:
    if isinstance(said, ChatRequest):
        messages = [message.to_message() for message in said.messages]
        return prompt_ids(lm, with_tools(messages, tools) if tools else messages)
    assert isinstance(said, CompletionRequest), "the two interfaces"
    return prompt_ids(lm, said.prompt, raw=True)


def _noted(pieces: Iterator[str], into: list[str]) -> Iterator[str]:
    for piece in pieces:
        into.append(piece)
        yield piece
