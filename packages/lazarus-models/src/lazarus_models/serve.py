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

from lazarus_models.engine import Engine, Job
from lazarus_models.huggingface import LoadedModel
from lazarus_models.openai_api import Refused, Request
from lazarus_models.tools import outside_calls
from lazarus_plan.errors import LazarusError


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


class Server(ThreadingHTTPServer):
    """The endpoint; `serve_forever` answers until `shutdown`, and `close` ends what is on its way."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, lm: LoadedModel, name: str, config: ServeConfig) -> None:
        self.lm, self.name, self.config = lm, name, config
        self.slots = threading.BoundedSemaphore(config.max_requests)
        self.started = int(time.time())
        super().__init__((config.host, config.port), _Handler)
        self.engine = Engine(lm.model, batch_size=config.batch_size)

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
    _has_begun = False
    """Whether an answer is being streamed: then an error is a piece of it."""

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
                self._answer(self._request(body, is_chat=kinds[self.path]))
            finally:
                self.server.slots.release()
        except Refused as error:
            self._error(error.status, str(error))
        except LazarusError as error:
            self._error(HTTPStatus.BAD_REQUEST, error.message)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever asked has left
        except Exception as error:  # noqa: BLE001 (whoever asked is told; the others go on)
            self._failure(error)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it)
        """Says nothing: a library does not log requests to stderr."""

    def _answer(self, request: Request) -> None:
        job = self.server.engine.submit(request.ids, request.config)
        try:
            if request.is_streamed:
                self._stream(request, job)
            else:
                pieces = list(request.pieces(job))
                self._json(HTTPStatus.OK, request.whole("".join(pieces), job))
        finally:
            job.is_left.set()

    def _stream(self, request: Request, job: Job) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Connection", "close")
        self.end_headers()
        self._has_begun = self.close_connection = True
        text: list[str] = []
        pieces = _noted(request.pieces(job), text)
        shown = 0
        for piece in outside_calls(pieces) if request.has_tools else pieces:
            self._event(request.chunk({"content": piece}, job))
            shown += len(piece)
        for _ in pieces:
            pass  # a call, or what looked like one, is noted but not shown
        whole = "".join(text)
        reason = request.finish(whole, job)
        if reason == "tool_calls":
            calls = [{"index": place, **call} for place, call in enumerate(request.calls(whole))]
            self._event(request.chunk({"tool_calls": calls}, job))
        elif shown < len(whole):
            self._event(request.chunk({"content": whole[shown:]}, job))
        self._event(request.chunk({}, job, reason))
        if request.wants_usage:
            self._event({**request.head("chunk"), "choices": [], "usage": request.usage(job)})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, said: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(said, ensure_ascii=False).encode("utf-8") + b"\n\n")
        self.wfile.flush()

    def _request(self, body: dict[str, Any], *, is_chat: bool) -> Request:
        server = self.server
        limit = server.config.max_new_tokens
        return Request.read(body, server.lm, server.name, max_new_tokens=limit, is_chat=is_chat)

    def _failure(self, error: Exception) -> None:
        said = {"error": {"message": f"{type(error).__name__}: {error}", "type": "server_error"}}
        if self._has_begun:
            self._event(said)
        else:
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, said)

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


def _noted(pieces: Iterator[str], into: list[str]) -> Iterator[str]:
    for piece in pieces:
        into.append(piece)
        yield piece
