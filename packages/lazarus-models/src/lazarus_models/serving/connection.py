"""One HTTP connection: uvicorn's, with a limit on everything that a client can hold.

A request must arrive whole in `request_timeout_s`; a client that stops reading is disconnected after `write_timeout_s`;
of a body that nobody reads, at most `MAX_DRAINED` bytes are dropped; malformed requests are answered in JSON. Above
`max_connections`, a new connection replaces the one that has kept the server waiting for a request for longest.
"""

import asyncio
import json
import sys
from http import HTTPStatus
from typing import Any, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from lazarus_models.serving.config import ServeConfig
from lazarus_models.serving.errors import Refused

MAX_HEAD_BYTES = 1 << 16
"""Bytes of a request line with its headers: as `http.server` allows for one line."""
MAX_DRAINED = 8 << 20
"""Bytes of an unread body that are dropped, so that the client can read why it was refused."""
LINGER_S = 2.0
"""Time that a refused client has to read the answer: closing at once would reset the connection before it does."""


class Connection(H11Protocol):
    """A client's connection, from its first byte to its end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ServeConfig,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._request_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._is_refused = False
        self._drained = 0
        self.waiting_since = self.loop.time()
        """When the server began to wait for the current request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Makes room for a new connection, or refuses it where every other one is being answered."""
        waiting = [one for one in cast("set[Connection]", self.connections) if one.is_waiting]
        is_full = len(self.connections) >= self._limits.max_connections
        super().connection_made(transport)
        if not is_full:
            self._watch_request()
        elif waiting:
            min(waiting, key=lambda one: one.waiting_since).drop()
            self._watch_request()
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops every timer and tells the application that the client has left."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads on, within the limits."""
        cycle = self._current
        is_unread = cycle is not None and cycle.response_complete and self.conn.our_state is h11.DONE
        if self._is_refused or is_unread:
            self._drained += len(data)
            if self._drained > MAX_DRAINED:
                self.drop()
                return
        if not self._is_refused:
            super().data_received(data)
            self._watch_request()

    def on_response_complete(self) -> None:
        """Goes on to the next request, and limits the time in which the client reads this answer."""
        self._drained = 0
        self.waiting_since = self.loop.time()
        super().on_response_complete()
        self._watch_request()
        if self.transport.get_write_buffer_size():
            self._watch_writing()

    def shutdown(self) -> None:
        """Ends an idle connection, and one with an answer in progress once that is sent."""
        if self._is_refused:
            self.drop()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP request."""
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else HTTPStatus.BAD_REQUEST
        if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:  # of any part that does not end
            is_body = self._current is not None and not self._current.response_complete
            is_first_line = b"\n" not in self.conn.trailing_data[0]
            status = HTTPStatus.BAD_REQUEST if is_body else HTTPStatus.REQUEST_URI_TOO_LONG if is_first_line else status
        self._refuse(HTTPStatus(status), f"malformed request: {str(error)[:200]}")

    def pause_writing(self) -> None:
        """The client does not read: starts the time that it has."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(LINGER_S, self.transport.abort)

    @property
    def is_waiting(self) -> bool:
        """Whether no request of this connection is being answered."""
        cycle = self._current
        return self._is_refused or cycle is None or cycle.response_complete or cycle.more_body

    @property
    def _current(self) -> RequestResponseCycle | None:
        """The newest request; None before the first."""
        return self.cycle

    def drop(self) -> None:
        """Ends the connection at once, without an answer."""
        self._is_refused = True
        self.connections.discard(self)  # now, not when the loop has closed it: the next one may come before
        self.transport.abort()

    def _watch_request(self) -> None:
        """Starts the time that a request has once it is awaited, and stops it once the request is whole."""
        state = self.conn.their_state
        is_awaited = state is h11.SEND_BODY or (state is h11.IDLE and self.timeout_keep_alive_task is None)
        if not is_awaited or self.transport.is_closing():
            self._stop_request_timer()
        elif self._request_timer is None:
            self._request_timer = self.loop.call_later(self._limits.request_timeout_s, self._refuse_slow)

    def _watch_writing(self) -> None:
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._limits.write_timeout_s, self._drop_unread)

    def _refuse_slow(self) -> None:
        self._request_timer = None
        seconds = self._limits.request_timeout_s
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive whole within {seconds:g} s")

    def _drop_unread(self) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size():
            self.drop()

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Answers with an error where none has begun, reads no more requests, and closes soon."""
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._stop_timers()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._write_error(Refused(status, message))
        cycle = self._current
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def _write_error(self, refused: Refused) -> None:
        content = json.dumps(refused.body(), ensure_ascii=False).encode("utf-8")
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(content)).encode()),
            (b"Connection", b"close"),
        ]
        response = h11.Response(status_code=refused.status, headers=headers, reason=refused.status.phrase.encode())
        for event in (response, h11.Data(data=content), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")

    def _stop_timers(self) -> None:
        self._stop_request_timer()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _stop_request_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None
