"""Connections that carry bytes: TCP (with telnet on it or not) and WebSocket."""

import asyncio
from typing import Any, Protocol

from lazarus_gym.errors import WireError

READ_BYTES = 65_536
MAX_MESSAGE_BYTES = 1 << 20


class Transport(Protocol):
    """One connection."""

    async def send(self, content: bytes) -> None:
        """Sends bytes."""
        ...

    async def receive(self) -> bytes:
        """The next bytes; empty at the end of the connection."""
        ...

    async def close(self) -> None:
        """Closes the connection."""
        ...


class TcpTransport:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, host: str, port: int) -> "TcpTransport":
        """Connects.

        Args:
            host: Name or address.
            port: Port number.
        """
        return cls(*await asyncio.open_connection(host, port))

    async def send(self, content: bytes) -> None:
        self._writer.write(content)
        await self._writer.drain()

    async def receive(self) -> bytes:
        return await self._reader.read(READ_BYTES)

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:  # the other side closed first
            return


class WebSocketTransport:
    """A WebSocket connection; every message is a piece of the byte stream."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, host: str, port: int, path: str) -> "WebSocketTransport":
        """Connects.

        Args:
            host: Name or address.
            port: Port number.
            path: Path of the address, such as `/ws`.
        """
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidURI

        name = f"[{host}]" if ":" in host else host
        try:
            return cls(await connect(f"ws://{name}:{port}{path}", max_size=MAX_MESSAGE_BYTES, proxy=None))
        except (InvalidHandshake, InvalidURI) as error:
            raise WireError(
                f"{host}:{port}{path} is no WebSocket ({type(error).__name__}): correct port and path, or use another transport",
                "LG-E140",
            ) from error

    async def send(self, content: bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:  # telnet commands are no UTF-8, so they are sent as binary
            await self._connection.send(content if 255 in content else content.decode("utf-8"))
        except ConnectionClosed as error:
            raise ConnectionResetError("the WebSocket is closed") from error

    async def receive(self) -> bytes:
        from websockets.exceptions import ConnectionClosed

        while True:  # an empty message is no end
            try:
                message = await self._connection.recv()
            except ConnectionClosed:
                return b""
            if message:
                return message.encode() if isinstance(message, str) else bytes(message)

    async def close(self) -> None:
        await self._connection.close()
