"""uvicorn's HTTP connection with limits on the resources that a client can use.

A request must be complete within `request_timeout_s`. A client that stops reading is disconnected after `write_timeout_s`. Of the
body of a refused request, at most `MAX_DRAINED` bytes are discarded. Malformed requests are answered in JSON. Above
`max_connections`, a new connection replaces the one that has waited longest without a complete request.
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
"""Largest request line with headers, in bytes: the limit of `http.server` for one line."""
MAX_DRAINED = 8 << 20
"""Bytes of a refused body that are read and discarded, so that the client can read the error."""
LINGER_S = 2.0
"""Seconds that a refused client has to read the error: closing immediately would reset the connection first."""


class Connection(H11Protocol):
    """The connection of one client."""

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
        """Time of the event loop when the server began to wait for the current request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accepts a new connection; above the limit, it replaces a waiting one or is refused."""
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
        """Stops every timer and notifies the application that the client has disconnected."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads data within the limits."""
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
        """Waits for the next request, and limits the time in which the client must read this answer."""
        self._drained = 0
        self.waiting_since = self.loop.time()
        super().on_response_complete()
        self._watch_request()
        if self.transport.get_write_buffer_size():
            self._watch_writing()

    def shutdown(self) -> None:
        """Closes an idle connection; a connection with an answer in progress is closed after the answer."""
        if self._is_refused:
            self.drop()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answers a malformed request."""
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else HTTPStatus.BAD_REQUEST
        if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:  # h11 uses it for every part that is too long
            is_body = self._current is not None and not self._current.response_complete
            is_first_line = b"\n" not in self.conn.trailing_data[0]
            status = HTTPStatus.BAD_REQUEST if is_body else HTTPStatus.REQUEST_URI_TOO_LONG if is_first_line else status
        self._refuse(HTTPStatus(status), f"malformed request: {str(error)[:200]}")

    def pause_writing(self) -> None:
        """Starts the write timeout: the client has stopped reading."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """Stops the write timeout: the client reads again."""
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
        """Whether the connection has no answer in progress."""
        cycle = self._current
        return self._is_refused or cycle is None or cycle.response_complete or cycle.more_body

    @property
    def _current(self) -> RequestResponseCycle | None:
        """The newest request; None before the first."""
        return self.cycle

    def drop(self) -> None:
        """Closes the connection immediately, without an answer."""
        self._is_refused = True
        self.connections.discard(self)  # now: the next connection may arrive before the loop has closed this one
        self.transport.abort()

    def _watch_request(self) -> None:
        """Starts the request timeout while a request is incomplete, and stops it when the request is complete."""
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
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the request was not complete within {seconds:g} s")

    def _drop_unread(self) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size():
            self.drop()

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Sends an error unless an answer has started, reads no more requests, and closes after `LINGER_S`."""
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
