"""The server: a listening socket, an event loop and an engine.

After `stop`, it accepts no new connection and gives answers in progress `grace_s` to finish. Unfinished answers then end with an
error that the client can detect, never as an answer that looks complete.
"""

import asyncio
import contextlib
import resource
import socket
import threading
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from lazarus_core.errors import LazarusError
from lazarus_models.chat.history import with_system
from lazarus_models.errors import ServingError
from lazarus_models.generation.autoregressive import bounded, prompt_ids
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.serving.access import Guard
from lazarus_models.serving.app import Service, make_app
from lazarus_models.serving.config import ServeConfig
from lazarus_models.serving.connection import LINGER_S, MAX_HEAD_BYTES, Connection
from lazarus_models.serving.engine import Engine
from lazarus_tokenkit import Message

BACKLOG = 256
"""Length of the system's queue of connections."""
ACCEPTED_AT_ONCE = 16
"""Connections that the event loop accepts before it counts them."""
SPARE_FILES = ACCEPTED_AT_ONCE + 8
"""File descriptors reserved for connections that are not yet counted and for other files of the process."""


class Server:
    """OpenAI's interface for a model; `run` serves until `stop`."""

    def __init__(self, lm: LoadedModel, name: str, config: ServeConfig) -> None:
        """Binds the socket and starts the engine.

        Args:
            lm: The model.
            name: Name of the model in requests and answers.
            config: Settings.

        Raises:
            ServingError: The chat template refuses or ignores the system message, or it is too long for the model.
            OSError: The address is in use, or does not belong to this machine.
        """
        if config.system is not None:
            _check_system(lm, config.system)
        self.listening = _listen(config.host, config.port)
        """The bound socket."""
        self.config = replace(config, max_connections=_affordable(config.max_connections))
        self.service = Service(lm, name, config, _engine(lm, config))
        self.unfinished = 0
        """Answers that were unfinished at the end."""
        self._uvicorn = _Uvicorn(_uvicorn_config(self.service, self.config))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._stops = 0

    @property
    def address(self) -> str:
        """The URL of the server, such as `http://127.0.0.1:8080`."""
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"http://{host}:{self.listening.getsockname()[1]}"

    def run(self) -> None:
        """Serves until `stop`, then stops the engine."""
        try:
            asyncio.run(self._run())
        finally:
            self.listening.close()
            self.service.end_answers()
            self.service.engine.stop()
            self.service.threads.shutdown(cancel_futures=True)

    def stop(self) -> None:
        """Stops the server; callable from any thread or signal handler. A second call does not wait for answers."""
        self._stops += 1
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin_stop)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._stops:
            self._begin_stop()
        await self._uvicorn.serve(sockets=[self.listening])

    def _begin_stop(self) -> None:
        assert self._loop is not None, "called in the loop"
        self._uvicorn.should_exit = True
        self._loop.call_later(0 if self._stops > 1 else self.config.grace_s, self._end_answers)

    def _end_answers(self) -> None:
        assert self._loop is not None, "called in the loop"
        self.unfinished += self.service.end_answers()
        self._loop.call_later(LINGER_S, self._drop_connections)

    def _drop_connections(self) -> None:
        """Closes connections whose clients do not read their answers."""
        self._uvicorn.force_exit = True
        for connection in list(self._uvicorn.server_state.connections):
            cast("Connection", connection).drop()


def _check_system(lm: LoadedModel, system: str) -> None:
    """Encodes a short conversation with the system message, so that the first request finds no error of it."""
    question = [Message("user", "Hello")]
    try:
        ids = prompt_ids(lm, with_system(question, system))
        bounded(lm, ids, GenerationConfig())
    except LazarusError as error:
        raise ServingError(f"`system` cannot be used with this model: {error.message}", "LM-E250") from error
    if ids == prompt_ids(lm, question):
        raise ServingError(
            "`system` has no effect: the model's chat template leaves the system message out; remove it", "LM-E250"
        )


class _Uvicorn(uvicorn.Server):
    """uvicorn's server without its signal handlers, because the caller handles signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Changes no signal handlers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to accept, then lengthens the system's queue: asyncio has one setting for both."""
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)


def _engine(lm: LoadedModel, config: ServeConfig) -> Engine:
    return Engine(lm.model, batch_size=config.batch_size, is_exact=config.is_exact)


def _with_cors(app: ASGIApp, config: ServeConfig) -> ASGIApp:
    """The application, with answers to browsers' preflight requests if origins are configured.

    A preflight request carries no key, so that it is answered before the key is checked.
    """
    if not config.cors_origins:
        return app
    return CORSMiddleware(app, allow_origins=config.cors_origins, allow_methods=["GET", "POST"], allow_headers=["*"])


def _uvicorn_config(service: Service, config: ServeConfig) -> uvicorn.Config:
    return uvicorn.Config(
        _with_cors(Guard(make_app(service), config), config),
        http=cast("type[asyncio.Protocol]", partial(Connection, limits=config)),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=ACCEPTED_AT_ONCE,
        timeout_keep_alive=cast("Any", config.idle_timeout_s),
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )


def _listen(host: str, port: int) -> socket.socket:
    """A socket bound to the first address of a host; IPv4 is preferred."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    # Connections inherit it. asyncio sets it only on sockets whose protocol is named; without it, the second part of an
    # answer waits 40 ms for the client's delayed acknowledgement of the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _affordable(connections: int) -> int:
    """The number of connections, limited by the number of files that the process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - len(list(Path("/dev/fd").iterdir())) - SPARE_FILES))
