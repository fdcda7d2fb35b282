"""An endpoint that speaks OpenAI's interface: chat, completions, streaming, tools, models, health.

Prompts go through the encoder of training, so the template is the one that the model has learnt. Requests are answered
together by one engine; a body, an answer and the number of requests have limits, and nothing but 127.0.0.1 is listened to
unless told otherwise.
"""

import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from pydantic import ValidationError

from lazarus_models.config import in_words
from lazarus_models.engine import Engine, Job
from lazarus_models.generation import bounded, prompt_ids
from lazarus_models.huggingface import LoadedModel
from lazarus_models.sample import GenerationConfig
from lazarus_models.streaming import decode_stream, until_stop
from lazarus_models.tools import CALL_ENDS, Tool, parse_calls, told_of
from lazarus_plan.errors import LazarusError
from lazarus_tokenkit import Message


@dataclass(frozen=True)
class ServeConfig:
    """Where to listen and what to allow."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 for any free one."""
    api_key: str | None = field(default=None, repr=False)
    """What `Authorization: Bearer` must say; None for anything."""
    max_body_bytes: int = 1 << 20
    max_new_tokens: int = 2048
    """Bound of every answer, and the default where a request says nothing."""
    max_requests: int = 64
    """Requests on their way, waiting ones included; more are told to come back (429)."""
    batch_size: int = 8
    """Texts computed together."""


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server(ThreadingHTTPServer):
    """The endpoint; `serve_forever` answers until `shutdown`, and `close` ends what is on its way."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, lm: LoadedModel, name: str, config: ServeConfig) -> None:
        self.lm, self.name, self.config = lm, name, config
        self.engine = Engine(lm.model, batch_size=config.batch_size)
        self.slots = threading.BoundedSemaphore(config.max_requests)
        self.started = int(time.time())
        super().__init__((config.host, config.port), _Handler)

    def close(self) -> None:
        """Stops listening; texts on their way are finished first."""
        self.server_close()
        self.engine.stop()

    @property
    def address(self) -> str:
        """Where it listens, such as `http://127.0.0.1:8080`."""
        return f"http://{self.config.host}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] (made by it alone)

    def do_GET(self) -> None:
        """Health and models."""
        server = self.server
        if self.path == "/health":
            status = HTTPStatus.OK if server.engine.is_alive else HTTPStatus.SERVICE_UNAVAILABLE
            self._json(status, {"status": "ok" if server.engine.is_alive else "stopped"})
        elif not self._is_allowed():
            self._error(HTTPStatus.UNAUTHORIZED, "wrong or missing API key")
        elif self.path == "/v1/models":
            model = {"id": server.name, "object": "model", "created": server.started, "owned_by": "lazarus"}
            self._json(HTTPStatus.OK, {"object": "list", "data": [model]})
        else:
            self._error(HTTPStatus.NOT_FOUND, f"no {self.path}")

    def do_POST(self) -> None:
        """Chat and completions."""
        kinds = {"/v1/chat/completions": True, "/v1/completions": False}
        try:
            if not self._is_allowed():
                raise Refused(HTTPStatus.UNAUTHORIZED, "wrong or missing API key")
            if self.path not in kinds:
                raise Refused(HTTPStatus.NOT_FOUND, f"no {self.path}")
            body = self._body()
            if not self.server.slots.acquire(blocking=False):
                raise Refused(
                    HTTPStatus.TOO_MANY_REQUESTS, f"{self.server.config.max_requests} requests are on their way"
                )
            try:
                self._answer(_Request.read(body, self.server, is_chat=kinds[self.path]))
            finally:
                self.server.slots.release()
        except Refused as error:
            self._error(error.status, str(error))
        except LazarusError as error:
            self._error(HTTPStatus.BAD_REQUEST, error.message)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever asked has left

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it)
        """Says nothing: a library does not log requests to stderr."""

    def _answer(self, request: "_Request") -> None:
        job = self.server.engine.submit(request.ids, request.config)
        try:
            if request.is_streamed:
                self._stream(request, job)
            else:
                pieces = list(request.pieces(job))
                self._json(HTTPStatus.OK, request.whole("".join(pieces), job))
        finally:
            job.is_left.set()

    def _stream(self, request: "_Request", job: Job) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        text: list[str] = []
        for piece in request.pieces(job):
            text.append(piece)
            self._event(request.chunk(piece))
        self._event(request.chunk(None, request.finish("".join(text), job)))
        if request.wants_usage:
            self._event({**request.head("chunk"), "choices": [], "usage": request.usage(job)})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, said: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(said, ensure_ascii=False).encode("utf-8") + b"\n\n")
        self.wfile.flush()

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        limit = self.server.config.max_body_bytes
        if not length.isdecimal() or int(length) > limit:
            self.close_connection = True
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if length.isdecimal() else HTTPStatus.LENGTH_REQUIRED
            raise Refused(status, f"a body has a length of at most {limit} bytes, this one {length or 'none'}")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from error
        if not isinstance(body, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "the body is no JSON object")
        return cast("dict[str, Any]", body)

    def _is_allowed(self) -> bool:
        key = self.server.config.api_key
        said = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return key is None or hmac.compare_digest(said.encode("utf-8"), key.encode("utf-8"))

    def _error(self, status: HTTPStatus, message: str) -> None:
        kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
        self._json(status, {"error": {"message": message, "type": kind, "code": None, "param": None}})

    def _json(self, status: HTTPStatus, said: dict[str, Any]) -> None:
        content = json.dumps(said, ensure_ascii=False).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@dataclass(frozen=True)
class _Request:
    """A prompt and how to answer it, and the words of OpenAI's interface around the answer."""

    server: Server
    is_chat: bool
    ids: list[int]
    asked: GenerationConfig
    config: GenerationConfig
    is_streamed: bool
    wants_usage: bool
    has_tools: bool
    id: str

    @classmethod
    def read(cls, body: dict[str, Any], server: Server, *, is_chat: bool) -> "_Request":
        tools = _tools(body.get("tools")) if is_chat else []
        asked = _settings(body, server.config.max_new_tokens, tools)
        if is_chat:
            messages = _messages(body.get("messages"))
            ids = prompt_ids(server.lm, told_of(messages, tools) if tools else messages)
        else:
            prompt = body.get("prompt")
            if not isinstance(prompt, str):
                raise Refused(HTTPStatus.BAD_REQUEST, "`prompt` is a text")
            ids = prompt_ids(server.lm, prompt, raw=True)
        options: Any = body.get("stream_options")
        return cls(
            server=server,
            is_chat=is_chat,
            ids=ids,
            asked=asked,
            config=bounded(server.lm, ids, asked),
            is_streamed=body.get("stream") is True,
            wants_usage=isinstance(options, dict) and cast("dict[str, Any]", options).get("include_usage") is True,
            has_tools=bool(tools),
            id=f"{'chatcmpl' if is_chat else 'cmpl'}-{time.time_ns():x}",
        )

    def pieces(self, job: Job) -> Iterator[str]:
        """The answer's text as it comes."""
        stops = self.config.stop_ids or ()
        tokens = (token for token in job.tokens() if token not in stops)
        stream = until_stop(decode_stream(self.server.lm.tokenizer, self.ids, tokens), self.config.stop)
        yield from stream
        job.is_left.set()

    def whole(self, text: str, job: Job) -> dict[str, Any]:
        """The answer in one piece."""
        reason = self.finish(text, job)
        if not self.is_chat:
            choice: dict[str, Any] = {"text": text, "index": 0, "finish_reason": reason, "logprobs": None}
        else:
            message: dict[str, Any] = {"role": "assistant", "content": text}
            if reason == "tool_calls":
                message |= {"content": None, "tool_calls": self._calls(text)}
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        return {**self.head(""), "choices": [choice], "usage": self.usage(job)}

    def chunk(self, piece: str | None, reason: str | None = None) -> dict[str, Any]:
        """One piece of a streamed answer, or its end."""
        if not self.is_chat:
            choice: dict[str, Any] = {"text": piece or "", "index": 0, "finish_reason": reason, "logprobs": None}
        else:
            delta = {} if piece is None else {"role": "assistant", "content": piece}
            choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return {**self.head("chunk"), "choices": [choice]}

    def head(self, kind: str) -> dict[str, Any]:
        """What every answer begins with."""
        form = "chat.completion" if self.is_chat else "text_completion"
        form = f"{form}.chunk" if kind == "chunk" and self.is_chat else form
        return {"id": self.id, "object": form, "created": int(time.time()), "model": self.server.name}

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

    def _calls(self, text: str) -> list[dict[str, Any]]:
        return [
            {
                "id": f"call-{self.id}-{place}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for place, call in enumerate(parse_calls(text))
        ]


def _settings(body: dict[str, Any], limit: int, tools: list[Tool]) -> GenerationConfig:
    wanted = body.get("max_completion_tokens", body.get("max_tokens")) or limit
    stop: Any = body.get("stop") or ()
    said: dict[str, Any] = {"max_new_tokens": min(wanted, limit) if isinstance(wanted, int) else wanted}
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
