"""The puzzle protocol over TCP, for many connections at once."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pydantic import BaseModel, ConfigDict, Field

from lazarus_gym.errors import WireError
from lazarus_gym.servers.puzzle_protocol import PuzzleConnection

MAX_LINE_BYTES = 1000


class PuzzleServerConfig(BaseModel):
    """Where the server listens, and its limits."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8024, ge=0, le=65535)
    """Port; 0 takes a free one."""
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

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(connections) >= config.max_connections:
            writer.write(b"The server has too many connections. Try again later.\r\n")
            await _close(writer)
            return
        connections.add(task)
        try:
            await _converse(reader, writer, config.idle_s)
        except (OSError, ValueError, TimeoutError):  # a client that left, was silent, or sent a line without end
            pass
        except asyncio.CancelledError:  # the server ends; asyncio of Python 3.11 logs a cancelled handler as an error
            pass
        finally:
            connections.discard(task)
            await _close(writer)

    try:
        server = await asyncio.start_server(accept, config.host, config.port, limit=MAX_LINE_BYTES)
    except (OSError, OverflowError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise WireError(
            f"cannot listen on {config.host}:{config.port} ({words}): choose another `host` or `port`", "LG-E146"
        ) from error
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle_s: float) -> None:
    connection = PuzzleConnection()
    await _write(writer, connection.menu())
    while not connection.is_closed:
        async with asyncio.timeout(idle_s):
            line = await reader.readline()
        if not line.endswith(b"\n"):
            return
        # Puzzles are computed in a thread, so other connections go on.
        await _write(writer, await asyncio.to_thread(connection.reply, line.decode("utf-8", errors="replace")))


async def _write(writer: asyncio.StreamWriter, lines: list[str]) -> None:
    writer.write("".join(f"{line}\r\n" for line in lines).encode())
    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()
