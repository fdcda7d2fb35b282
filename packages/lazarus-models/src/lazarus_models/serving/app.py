"""The HTTP routes: chat, completions, models, tokenizer, health.

A thread parses a request, waits for its tokens and decodes them. The event loop sends the pieces and notices immediately when the
client disconnects, so that its slot becomes free.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lazarus_core.errors import LazarusError
from lazarus_models.generation.constraint import Grammars
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.serving.choice import Choice
from lazarus_models.serving.config import ServeConfig
from lazarus_models.serving.engine import Engine, Job
from lazarus_models.serving.errors import JSONAnswer, Refused, error_response
from lazarus_models.serving.openai_api import Request, no_model
from lazarus_models.serving.token_api import describe_tokenizer, detokenize, tokenize

_log = logging.getLogger(__name__)
_STOPPED = Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the server stopped before the answer was finished")


@dataclass(eq=False)
class Answer:
    """An answer in progress, shared by its thread and the event loop."""

    put: Callable[[Any], object]
    """Sends a piece, an error, or None at the end to the event loop; callable from any thread."""
    jobs: Sequence[Job] = ()
    """The jobs in the engine; none before they are submitted."""
    failure: BaseException | None = None
    """The reason of an early end; None without one."""

    def begin(self, jobs: Sequence[Job]) -> None:
        """Sets the jobs, and ends them if the answer has ended already."""
        self.jobs = jobs
        if self.failure is not None:
            self.end(self.failure)

    def end(self, failure: BaseException) -> None:
        """Ends the answer early."""
        self.failure = failure
        for job in self.jobs:
            job.fail(failure)


@dataclass
class Service:
    """The state that the routes share."""

    lm: LoadedModel
    name: str
    config: ServeConfig
    engine: Engine
    started: int = field(default_factory=lambda: int(time.time()))
    answers: set[Answer] = field(default_factory=set[Answer])
    """Answers in progress, at most `max_requests`."""

    def __post_init__(self) -> None:
        self.grammars = Grammars(self.lm)
        self.threads = ThreadPoolExecutor(self.config.max_requests, thread_name_prefix="lazarus-answer")

    @property
    def described(self) -> dict[str, Any]:
        """The entry of the model in `/v1/models`."""
        context = self.lm.config.max_position_embeddings
        named = {"id": self.name, "object": "model", "created": self.started, "owned_by": "lazarus"}
        return {**named, "max_model_len": context}

    def end_answers(self) -> int:
        """Ends every answer in progress with an error, and returns their number."""
        for answer in self.answers:
            answer.end(_STOPPED)
            answer.put(_STOPPED)  # its thread may be reading a prompt
        return len(self.answers)

    def work(self, content: bytes, is_chat: bool, answer: Answer) -> None:
        """Parses a request and produces its answer; runs in a thread.

        Args:
            content: Body of the request.
            is_chat: Whether it is a chat request, or a completion request.
            answer: Receives the pieces of the answer.
        """
        try:
            limit = self.config.max_new_tokens
            request = Request.read(
                content,
                self.lm,
                self.name,
                max_new_tokens=limit,
                is_chat=is_chat,
                grammars=self.grammars,
                system=self.config.system,
            )
            choices = request.submit(self.engine)
            answer.begin([choice.job for choice in choices])
            for piece in _pieces(request, choices):
                answer.put(piece)
            answer.put(None)
        except Exception as error:  # noqa: BLE001 (it is sent to the client; other requests go on)
            answer.put(_refusal(error))
            answer.end(error)  # the other texts of the request


def _pieces(request: Request, choices: Sequence[Choice]) -> Iterator[bytes | dict[str, Any]]:
    """The pieces of an answer: one object, or the bytes of each event of a stream."""
    if not request.is_streamed:
        yield request.whole(choices)
        return
    yield b""  # the prompt is read: the stream can begin
    for event in request.events(choices):
        yield _event(event)
    yield b"data: [DONE]\n\n"


def make_app(service: Service) -> Starlette:
    """The routes as an ASGI application."""

    async def health(request: HTTPRequest) -> Response:
        _only(request, "GET")
        is_alive = service.engine.is_alive
        status = HTTPStatus.OK if is_alive else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONAnswer({"status": "ok" if is_alive else "stopped"}, status_code=status)

    async def models(request: HTTPRequest) -> Response:
        _only(request, "GET")
        return JSONAnswer({"object": "list", "data": [service.described]})

    async def model(request: HTTPRequest) -> Response:
        _only(request, "GET")
        asked = str(request.path_params["id"])
        if asked != service.name:
            raise no_model(asked, service.name, status=HTTPStatus.NOT_FOUND)
        return JSONAnswer(service.described)

    async def tokenizer_info(request: HTTPRequest) -> Response:
        _only(request, "GET")
        return JSONAnswer(describe_tokenizer(service.lm))

    async def encoded(request: HTTPRequest) -> Response:
        return await _convert(request, service, tokenize)

    async def decoded(request: HTTPRequest) -> Response:
        return await _convert(request, service, detokenize)

    async def chat(request: HTTPRequest) -> Response:
        return await _answer(request, service, is_chat=True)

    async def completions(request: HTTPRequest) -> Response:
        return await _answer(request, service, is_chat=False)

    routes = {
        "/health": health,
        "/v1/models": models,
        "/v1/models/{id:path}": model,
        "/tokenizer_info": tokenizer_info,
        "/tokenize": encoded,
        "/detokenize": decoded,
        "/v1/chat/completions": chat,
        "/v1/completions": completions,
    }
    app = Starlette(
        routes=[Route(path, endpoint, methods=_METHODS) for path, endpoint in routes.items()],
        exception_handlers={HTTPException: _not_found, Refused: _refused, Exception: _failed},
    )
    app.router.redirect_slashes = False
    return app


_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"]


def _only(request: HTTPRequest, method: str) -> None:
    if request.method != method:
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.url.path} takes {method}, not {request.method[:20]}")


async def _convert(
    request: HTTPRequest, service: Service, convert: Callable[[bytes, LoadedModel], dict[str, Any]]
) -> Response:
    """Answers a request that only the tokenizer is needed for, in a thread."""
    _only(request, "POST")
    content = await _body(request, service.config.max_body_bytes)
    loop = asyncio.get_running_loop()
    return JSONAnswer(await loop.run_in_executor(service.threads, convert, content, service.lm))


async def _answer(request: HTTPRequest, service: Service, *, is_chat: bool) -> Response:
    """Reads the body, checks the number of requests in progress, and returns the response."""
    _only(request, "POST")
    content = await _body(request, service.config.max_body_bytes)
    if len(service.answers) >= service.config.max_requests:
        raise Refused(
            HTTPStatus.TOO_MANY_REQUESTS, f"{service.config.max_requests} requests are in progress; try again later"
        )
    return _Answering(service, content, is_chat=is_chat)


async def _body(request: HTTPRequest, limit: int) -> bytes:
    """The body of a request, at most `limit` bytes."""
    too_large = Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {limit} bytes")
    length = request.headers.get("content-length")
    if length is None and "transfer-encoding" not in request.headers:
        raise Refused(HTTPStatus.LENGTH_REQUIRED, f"a body needs a Content-Length, of at most {limit} bytes")
    if length is not None and int(length) > limit:
        raise too_large
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > limit:
            raise too_large
    return bytes(content)


class _Answering(Response):
    """A response that sends an answer piece by piece, and ends it when the client disconnects."""

    def __init__(self, service: Service, content: bytes, *, is_chat: bool) -> None:
        super().__init__()
        self._service, self._content, self._is_chat = service, content, is_chat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Any] = asyncio.Queue()
        answer = Answer(lambda piece: _from_thread(loop, pieces, piece))
        self._service.answers.add(answer)
        work = self._service.threads.submit(self._service.work, self._content, self._is_chat, answer)
        gone = asyncio.create_task(_wait_until_gone(receive, pieces))
        try:
            await _send(pieces, scope, receive, send)
        finally:
            self._service.answers.discard(answer)
            answer.end(ClientDisconnect())
            work.cancel()  # a queued request is never started
            gone.cancel()


async def _send(pieces: asyncio.Queue[Any], scope: Scope, receive: Receive, send: Send) -> None:
    """Sends the pieces of an answer until its end."""
    first = await pieces.get()
    if isinstance(first, ClientDisconnect):
        return
    if isinstance(first, Refused):
        await error_response(first, scope)(scope, receive, send)
        return
    if isinstance(first, dict):
        await JSONAnswer(first)(scope, receive, send)
        return
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
    while (piece := await pieces.get()) is not None:
        if isinstance(piece, ClientDisconnect):
            return
        is_refused = isinstance(piece, Refused)
        body = _event(piece.body()) if is_refused else piece
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if is_refused:  # without [DONE], so that clients see an incomplete stream
            break
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_until_gone(receive: Receive, pieces: asyncio.Queue[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    pieces.put_nowait(ClientDisconnect())


def _from_thread(loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[Any], piece: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(pieces.put_nowait, piece)


def _event(said: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(said, ensure_ascii=False).encode("utf-8") + b"\n\n"


def _refusal(error: Exception) -> Refused:
    """The error that a client receives."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, LazarusError):
        return Refused(HTTPStatus.BAD_REQUEST, error.message, code=error.code)
    if not isinstance(error, ClientDisconnect):
        _log.error("a request failed", exc_info=error)
    return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")


async def _refused(request: HTTPRequest, error: Exception) -> Response:
    return error_response(_refusal(error), request.scope)


async def _not_found(request: HTTPRequest, error: Exception) -> Response:
    status = HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
    return error_response(Refused(status, f"no {request.url.path[:100]}"), request.scope)


async def _failed(request: HTTPRequest, error: Exception) -> Response:
    return error_response(_refusal(error), request.scope)
