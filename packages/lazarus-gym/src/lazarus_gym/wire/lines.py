"""The lines of a connection: telnet taken out, prompts and echoes removed, sizes bounded.

Telnet servers echo a command before the reply and print `> ` after it. Both are removed, so every transport gives the same
lines.
"""

import re
from collections import deque

from lazarus_gym.errors import WireError
from lazarus_gym.wire.telnet import TelnetStream
from lazarus_gym.wire.transport import Transport

MAX_LINE_BYTES = 1 << 20
_PROMPTS = re.compile(r"^(?:> ?)+(?=$|[^>])")


class Lines:
    """Reads and writes lines of text.

    Args:
        transport: The connection.
        place: Host and port, for messages.
    """

    def __init__(self, transport: Transport, place: str) -> None:
        self._transport, self._place = transport, place
        self._telnet = TelnetStream()
        self._rest = bytearray()
        self._lines: deque[str] = deque()
        self._echoes: deque[str] = deque()

    async def send(self, *commands: str) -> None:
        """Sends commands, one a line, in one write.

        Raises:
            WireError: The connection is closed (LG-E142).
        """
        end = "\r\n" if self._telnet.is_telnet else "\n"
        if self._telnet.is_telnet:
            self._echoes.extend(commands)
        try:
            await self._transport.send("".join(f"{command}{end}" for command in commands).encode())
        except OSError as error:
            raise self._closed(str(error.strerror or error)) from error

    async def next(self) -> str:
        """The next line that is not blank.

        Raises:
            WireError: The connection was closed (LG-E142), or a line is too long (LG-E143).
        """
        while not self._lines:
            try:
                received = await self._transport.receive()
            except OSError as error:
                raise self._closed(str(error.strerror or error)) from error
            if not received:
                raise self._closed("by the server")
            await self._take(received)
        return self._lines.popleft()

    async def close(self) -> None:
        """Closes the connection."""
        await self._transport.close()

    async def _take(self, received: bytes) -> None:
        try:
            text, answer = self._telnet.feed(received)
        except ValueError as error:
            raise WireError(f"{self._place}: {error}", "LG-E143") from error
        if answer:
            await self._transport.send(answer)
        self._rest += text
        *whole, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        if max(len(self._rest), *map(len, whole), 0) > MAX_LINE_BYTES:
            raise WireError(f"{self._place}: a line is longer than {MAX_LINE_BYTES:,} bytes", "LG-E143")
        for each in whole:
            line = each.decode("utf-8", errors="replace").replace("\r", "")
            if self._telnet.is_telnet:
                line = _PROMPTS.sub("", line)
                if self._echoes and line.strip() == self._echoes[0].strip():
                    self._echoes.popleft()
                    continue
            if line.strip():
                self._lines.append(line)

    def _closed(self, reason: str) -> WireError:
        return WireError(f"{self._place}: the connection was closed ({reason})", "LG-E142")
