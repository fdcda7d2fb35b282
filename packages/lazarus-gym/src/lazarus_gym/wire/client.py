"""A client of a puzzle server, as an asynchronous context manager."""

import asyncio
from types import TracebackType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from lazarus_gym.errors import WireError
from lazarus_gym.wire.games import PuzzleDifficulty, PuzzleGame
from lazarus_gym.wire.lines import Lines
from lazarus_gym.wire.results import CheckResult, HintResult, MoveResult, PuzzleObservation
from lazarus_gym.wire.session import PuzzleSession
from lazarus_gym.wire.transport import TcpTransport, Transport, WebSocketTransport


class TelnetClientConfig(BaseModel):
    """Where a puzzle server is, and how long to wait for it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = "localhost"
    """Name or address of the server."""
    port: int = Field(default=8023, ge=1, le=65535)
    """Port; public servers have telnet on 8023, TCP on 8024, WebSocket on 8025 and telnet over WebSocket on 8026."""
    transport: Literal["auto", "tcp", "websocket"] = "auto"
    """`tcp` understands telnet too, by its first byte. `auto` is `websocket` on ports 8025 and 8026, else `tcp`."""
    path: str = Field(default="/ws", pattern=r"^/[!-~]*$", max_length=200)
    """Path of a WebSocket."""
    timeout_s: float = Field(default=30.0, gt=0, le=3600)
    """Seconds for the reply to a command."""
    start_timeout_s: float = Field(default=120.0, gt=0, le=3600)
    """Seconds for a new puzzle; public servers compute some for half a minute."""
    connect_timeout_s: float = Field(default=10.0, gt=0, le=3600)
    """Seconds for the connection and its menu."""
    retries: int = Field(default=2, ge=0, le=20)
    """Further attempts to connect."""
    backoff_s: float = Field(default=0.2, ge=0, le=60)
    """Seconds before the second attempt; doubled for each further one."""

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    @property
    def is_websocket(self) -> bool:
        """Whether the connection is a WebSocket."""
        return self.transport == "websocket" or (self.transport == "auto" and self.port in (8025, 8026))


class TelnetGymClient:
    """A client of a puzzle server over telnet, TCP or WebSocket.

    Args:
        config: Where the server is.
    """

    def __init__(self, config: TelnetClientConfig | None = None) -> None:
        self.config = config or TelnetClientConfig()
        self._session: PuzzleSession | None = None

    async def __aenter__(self) -> Self:
        """Connects.

        Raises:
            WireError: No attempt reached a puzzle server.
        """
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the connection."""
        await self.close()

    async def connect(self) -> None:
        """Connects, with further attempts after growing pauses.

        Raises:
            WireError: No attempt reached a puzzle server.
        """
        for attempt in range(self.config.retries + 1):
            try:
                self._session = await self._open()
                return
            except WireError as error:
                if attempt == self.config.retries or error.code == "LG-E143":
                    raise
                await asyncio.sleep(self.config.backoff_s * 2**attempt)

    async def _open(self) -> PuzzleSession:
        config = self.config
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                transport: Transport = (
                    await WebSocketTransport.open(config.host, config.port, config.path)
                    if config.is_websocket
                    else await TcpTransport.open(config.host, config.port)
                )
        except TimeoutError:
            words = f"{config.place}: no connection in {config.connect_timeout_s:g} s"
            raise WireError(words, "LG-E141") from None
        except (OSError, EOFError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise WireError(
                f"cannot connect to {config.place} ({words}): start a puzzle server there, or correct host and port",
                "LG-E140",
            ) from error
        session = PuzzleSession(
            Lines(transport, config.place),
            config.place,
            timeout_s=config.timeout_s,
            start_timeout_s=config.start_timeout_s,
        )
        try:
            await session.read_menu(config.connect_timeout_s)
        except BaseException:
            await session.close()
            raise
        return session

    async def close(self) -> None:
        """Closes the connection; a second call does nothing."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def session(self) -> PuzzleSession:
        """The open session.

        Raises:
            WireError: There is none (LG-E145).
        """
        if self._session is None:
            raise WireError(
                "the client is not connected: use it as `async with TelnetGymClient(config) as client`", "LG-E145"
            )
        return self._session

    @property
    def menu(self) -> tuple[str, ...]:
        """Lines of the server's menu."""
        return self.session.menu

    async def start_puzzle(
        self,
        game: PuzzleGame,
        difficulty: PuzzleDifficulty = PuzzleDifficulty.EASY,
        seed: int | None = None,
    ) -> PuzzleObservation:
        """Starts a puzzle.

        Args:
            game: The game.
            difficulty: Its level.
            seed: Equal seeds give equal puzzles; None lets the server choose.
        """
        return await self.session.start(game, difficulty, seed)

    async def get_observation(self) -> PuzzleObservation:
        """The position."""
        return await self.session.observe()

    async def get_hint(self) -> HintResult:
        """A hint, with the command that follows it."""
        return await self.session.hint()

    async def send_move(self, command: str) -> MoveResult:
        """Sends a command of the game, such as `place 1 2 3`."""
        return await self.session.act(command)

    async def check(self) -> CheckResult:
        """Whether the server counts the puzzle as solved."""
        return await self.session.check()

    async def reset(self) -> PuzzleObservation:
        """Puts the puzzle back to its start."""
        return await self.session.reset()
