"""The puzzle protocol over TCP, telnet or WebSocket, for many connections at once."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lazarus_gym.errors import WireError
from lazarus_gym.servers.puzzle_protocol import PuzzleConnection
from lazarus_gym.servers.puzzle_transports import MAX_LINE_BYTES, LineTransport, TcpLines, TelnetLines, WebSocketLines

WEBSOCKET_PATH = "/ws"
_QUIET = logging.getLogger(__name__)
"""Log of failed handshakes. A handler that does nothing keeps them from the terminal where no log is configured."""
_QUIET.addHandler(logging.NullHandler())


class PuzzleServerConfig(BaseModel):
    """Where the server listens, and its limits."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8024, ge=0, le=65535)
    """Port; 0 takes a free one."""
    transport: Literal["tcp", "telnet", "websocket"] = "tcp"
    """How lines travel; a WebSocket is at the path `/ws`."""
    max_connections: int = Field(default=100, ge=1, le=10_000)
    """Connections at once; further ones are refused with a line."""
    idle_s: float = Field(default=300.0, gt=0)
    """Seconds without a command after which a connection is closed."""


@asynccontextmanager
async def serve_puzzles(config: PuzzleServerConfig) -> AsyncGenerator[int]:
    """Context manager: a server, which runs while the block does. Yields its port.

    Args:
        config: Where it listens.

    Raises:
        WireError: The address cannot be used (LG-E146).
    """
    connections: set[asyncio.Task[None]] = set()

    async def accept(transport: LineTransport) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(connections) >= config.max_connections:
                await transport.write(["The server has too many connections. Try again later."], is_reply=False)
                return
            connections.add(task)
            await _converse(transport, config.idle_s)
        except (OSError, ValueError, TimeoutError):  # a client that left, was silent, or sent a line without end
            pass
        except asyncio.CancelledError:  # the server ends; asyncio of Python 3.11 logs a cancelled handler as an error
            pass
        finally:
            connections.discard(task)
            await transport.close()

    try:
        server = await _listen(config, accept)
    except (OSError, OverflowError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise WireError(
            f"cannot listen on {config.host}:{config.port} ({words}): choose another `host` or `port`", "LG-E146"
        ) from error
    try:
        yield int(next(iter(server.sockets)).getsockname()[1])
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _listen(config: PuzzleServerConfig, accept: Any) -> Any:
    """Starts the server of a transport."""
    if config.transport == "websocket":
        from websockets.asyncio.server import serve

        return await serve(
            lambda connection: accept(WebSocketLines(connection)),
            config.host,
            config.port,
            process_request=_check_path,
            max_size=MAX_LINE_BYTES,
            logger=_QUIET,
        )

    async def accept_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = TcpLines(reader, writer)
        await accept(TelnetLines(lines) if config.transport == "telnet" else lines)

    return await asyncio.start_server(accept_tcp, config.host, config.port, limit=MAX_LINE_BYTES)


def _check_path(connection: Any, request: Any) -> Any:
    """The refusal of a WebSocket at another path."""
    if request.path.split("?", 1)[0] == WEBSOCKET_PATH:
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, f"The puzzles are at {WEBSOCKET_PATH}.\n")


async def _converse(transport: LineTransport, idle_s: float) -> None:
    connection = PuzzleConnection()
    await transport.write(connection.menu(), is_reply=False)
    while not connection.is_closed:
        async with asyncio.timeout(idle_s):
            line = await transport.read()
        if line is None:
            return
        # Puzzles are computed in a thread, so other connections go on.
        reply = await asyncio.to_thread(connection.reply, line.decode("utf-8", errors="replace"))
        await transport.write(reply, is_reply=not connection.is_closed)
