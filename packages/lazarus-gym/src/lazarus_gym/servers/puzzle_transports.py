"""How lines travel: plain TCP, telnet (RFC 854) and WebSocket, with the bytes of the public puzzle servers.

- tcp: lines, no echo, no prompt.
- telnet: negotiation first; the server echoes commands and ends a reply with the prompt `> `.
- websocket: one binary message a line; a command ends with a line feed.
"""

import asyncio
import contextlib
from typing import Any, Protocol

from typing_extensions import override

from lazarus_gym.wire.telnet import TelnetStream

MAX_LINE_BYTES = 1000
NEGOTIATION = bytes.fromhex("fffb01 fffb03 fffd03 fffd18 fffd1f fffc22")
"""WILL ECHO, WILL SGA, DO SGA, DO TTYPE, DO NAWS, WONT LINEMODE, as the public servers offer."""
PROMPT = b"> "
_ERASE = (0x08, 0x7F)


class LineTransport(Protocol):
    """A connection that carries lines."""

    async def read(self) -> bytes | None:
        """The next line without its end; None at the end of the connection.

        Raises:
            ValueError: The line is too long.
        """
        ...

    async def write(self, lines: list[str], *, is_reply: bool) -> None:
        """Sends lines.

        Args:
            lines: The lines, without ends.
            is_reply: Whether they answer a command.
        """
        ...

    async def close(self) -> None:
        """Closes the connection."""
        ...


class TcpLines(LineTransport):
    """Lines over TCP. The reader's `limit` is `MAX_LINE_BYTES`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @override
    async def read(self) -> bytes | None:
        line = await self._reader.readline()
        return line.rstrip(b"\r\n") if line.endswith(b"\n") else None

    @override
    async def write(self, lines: list[str], *, is_reply: bool) -> None:
        await self.send(_content(lines))

    async def send(self, content: bytes) -> None:
        """Sends bytes."""
        self._writer.write(content)
        await self._writer.drain()

    async def receive(self) -> bytes:
        """The next bytes; empty at the end of the connection."""
        return await self._reader.read(MAX_LINE_BYTES)

    @override
    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()


class TelnetLines(LineTransport):
    """Lines over telnet, typed character by character or sent whole. Answers to the negotiation are taken out and not answered."""

    def __init__(self, connection: TcpLines) -> None:
        self._connection = connection
        self._telnet = TelnetStream()
        self._received = bytearray()
        self._line = bytearray()
        self._is_begun = False

    @override
    async def read(self) -> bytes | None:
        echo = bytearray()
        while True:
            while self._received:
                byte = self._received.pop(0)
                if byte == 0x0A or (byte == 0x0D and not self._received.startswith(b"\n")):
                    if byte == 0x0D and self._received.startswith(b"\0"):  # a bare carriage return (RFC 854)
                        self._received.pop(0)
                    line, self._line = bytes(self._line), bytearray()
                    await self._connection.send(bytes(echo) + b"\r\n")
                    return line
                if byte in _ERASE:
                    if self._line:
                        self._line.pop()
                        echo += b"\b \b"
                elif byte >= 0x20:
                    self._line.append(byte)
                    echo.append(byte)
                if len(self._line) > MAX_LINE_BYTES:
                    raise ValueError("a line without end")
            if echo:
                await self._connection.send(bytes(echo))
                echo.clear()
            received = await self._connection.receive()
            if not received:
                return None
            text, _ = self._telnet.feed(received)
            self._received += text

    @override
    async def write(self, lines: list[str], *, is_reply: bool) -> None:
        head = b"" if self._is_begun else NEGOTIATION
        self._is_begun = True
        await self._connection.send(head + _content(lines) + (PROMPT if is_reply else b""))

    @override
    async def close(self) -> None:
        await self._connection.close()


class WebSocketLines(LineTransport):
    """Lines over a WebSocket: one binary message a line out; in, text or binary messages with line feeds."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._received = bytearray()

    @override
    async def read(self) -> bytes | None:
        from websockets.exceptions import ConnectionClosed

        while b"\n" not in self._received:
            if len(self._received) > MAX_LINE_BYTES:
                raise ValueError("a line without end")
            try:
                message = await self._connection.recv()
            except ConnectionClosed:
                return None
            self._received += message.encode() if isinstance(message, str) else message
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        return line.rstrip(b"\r")

    @override
    async def write(self, lines: list[str], *, is_reply: bool) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            for line in lines:
                await self._connection.send(f"{line}\r\n".encode())
        except ConnectionClosed as error:
            raise ConnectionResetError("the WebSocket is closed") from error

    @override
    async def close(self) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._connection.close()


def _content(lines: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()
