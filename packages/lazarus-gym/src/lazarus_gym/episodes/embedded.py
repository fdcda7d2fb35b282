"""Sessions with the embedded games: the puzzle protocol in this process, without a network."""

import asyncio

from lazarus_gym.servers import PuzzleConnection
from lazarus_gym.wire import PuzzleSession
from lazarus_gym.wire.lines import Lines

EMBEDDED = "embedded"


class _Loopback:
    """A transport to a connection object."""

    def __init__(self) -> None:
        self._connection = PuzzleConnection()
        self._waiting = [*self._connection.menu()]

    async def send(self, content: bytes) -> None:
        for line in content.decode().splitlines():
            self._waiting += self._connection.reply(line)

    async def receive(self) -> bytes:
        await asyncio.sleep(0)  # other tasks and Ctrl-C have their turn
        lines, self._waiting = self._waiting, []
        return "".join(f"{line}\n" for line in lines).encode()

    async def close(self) -> None:
        self._waiting = []


async def open_embedded(timeout_s: float) -> PuzzleSession:
    """A session with the embedded games.

    Args:
        timeout_s: Seconds for a reply.
    """
    session = PuzzleSession(Lines(_Loopback(), EMBEDDED), EMBEDDED, timeout_s=timeout_s, start_timeout_s=timeout_s)
    await session.read_menu(timeout_s)
    return session
