"""One session with a puzzle server: a game is started, watched and played.

Servers send no length and no end of a reply. So every command is sent together with `mode json`, whose answer is one known
line: it ends the reply, whatever the reply has. Nothing waits for silence.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import ValidationError

from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_gym.errors import WireError
from lazarus_gym.wire.games import Game, PuzzleDifficulty
from lazarus_gym.wire.hints import move_of_hint
from lazarus_gym.wire.lines import Lines
from lazarus_gym.wire.results import CheckResult, HintResult, MoveResult, PuzzleObservation

MARK = "mode json"
MAX_REPLY_LINES = 20_000
MAX_COMMAND_CHARS = 500
MAX_SEED = 2**63 - 1
"""A server may refuse a larger seed, or draw another one."""
_MENU_REFUSALS = ("Unknown command. Type", "Invalid game number")
_HINTS = ("Hint:", "HINT:")
_RESERVED = {"menu", "m", "quit", "exit", "q", "mode"}
"""Commands that leave the puzzle or change the form of replies; a model may write them as a move."""


class PuzzleSession:
    """A connection that has shown its menu.

    Args:
        lines: The connection.
        place: Host and port, for messages.
        timeout_s: Seconds for the reply to a command.
        start_timeout_s: Seconds for a new puzzle, which some servers compute for half a minute.
    """

    def __init__(self, lines: Lines, place: str, *, timeout_s: float, start_timeout_s: float) -> None:
        self._lines, self._place = lines, place
        self._timeout_s, self._start_timeout_s = timeout_s, start_timeout_s
        self._is_playing = False
        self._is_broken = False
        self.menu: tuple[str, ...] = ()
        """Lines of the menu, as the server sent them."""
        self.rules: tuple[str, ...] = ()
        """Rules of the puzzle in progress, as the server sent them."""

    async def read_menu(self, timeout_s: float) -> None:
        """Reads the menu, which a server sends on connecting.

        Raises:
            WireError: It did not come in time, or is another one.
        """
        lines: list[str] = []
        async with self._limited("the menu", timeout_s):
            has_examples = False
            while not (has_examples and lines[-1].strip().strip("=") == ""):
                lines.append(await self._lines.next())
                has_examples = has_examples or lines[-1].strip() == "Examples:"
                if len(lines) > 1000:
                    raise WireError(f"{self._place}: the server is no puzzle server: it has no menu", "LG-E143")
        self.menu = tuple(lines)

    async def start(
        self, game: Game, difficulty: PuzzleDifficulty = PuzzleDifficulty.EASY, seed: int | None = None
    ) -> PuzzleObservation:
        """Starts a puzzle, and leaves one that is in progress.

        Args:
            game: The game.
            difficulty: Its level.
            seed: Equal seeds give equal puzzles; None lets the server choose.

        Raises:
            WireError: The server does not offer the game (LG-E144), the seed is out of range (LG-E145), or the connection failed.
        """
        if seed is not None and not 0 <= seed <= MAX_SEED:
            raise WireError(f"`seed` is {seed}: give 0 to {MAX_SEED}", "LG-E145")
        if self._is_playing:
            # In the menu the mark is an unknown command, so the menu is left with its answer.
            self._is_playing = False
            await self._reply("menu", self._timeout_s, in_menu=True)
        words = f"{game.wire_id} {difficulty.value}" + ("" if seed is None else f" {seed}")
        lines = await self._reply(words, self._start_timeout_s, is_start=True)
        if lines is None:
            raise WireError(f"{self._place}: the server does not offer {game.value!r}", "LG-E144")
        self._is_playing = True
        self.rules = tuple(line.strip()[2:] for line in lines if line.strip().startswith("- "))
        return await self.observe()

    async def observe(self) -> PuzzleObservation:
        """The position."""
        for each in self._objects(await self._command("show")):
            if each.get("type") == "observation":
                return self._observation(each)
        raise WireError(f"{self._place}: the server sent no observation", "LG-E143")

    async def act(self, command: str) -> MoveResult:
        """Sends a command of the game.

        Args:
            command: One line, such as `place 1 2 3`.

        Raises:
            WireError: No puzzle was started (LG-E145), or the connection failed.
        """
        word = _checked(command)
        if word.split()[0].lower() in _RESERVED:
            return MoveResult(success=False, code="RESERVED", message=f"`{word.split()[0]}` is no command of the game.")
        lines = await self._command(word)
        result: dict[str, Any] | None = None
        observation: PuzzleObservation | None = None
        is_complete = False
        for each in self._objects(lines):
            match each.get("type"):
                case "result":
                    result = each
                case "observation":
                    observation = self._observation(each)
                case "complete":
                    is_complete = each.get("success") is True
                case _:
                    pass
        if result is None:
            text = " ".join(line.strip() for line in lines)
            return MoveResult(success=False, code="UNKNOWN", message=text[:1000], observation=observation)
        if observation is None and isinstance(result.get("state"), dict):
            observation = self._observation(result["state"])
        return MoveResult(
            success=result.get("success") is True,
            code=str(result.get("code", ""))[:100],
            message=str(result.get("message", ""))[:1000],
            observation=observation,
            is_complete=is_complete or (observation is not None and observation.is_complete),
        )

    async def hint(self) -> HintResult:
        """Asks for a hint."""
        lines = await self._command("hint")
        found = next((line for line in lines if line.startswith(_HINTS)), None)
        if found is None:
            return HintResult(message=" ".join(line.strip() for line in lines)[:1000], move=None)
        sentence = found.split(":", 1)[1].strip()[:1000]
        return HintResult(message=sentence, move=move_of_hint(sentence))

    async def check(self) -> CheckResult:
        """Asks whether the puzzle is solved. Public servers say so after `solve` too."""
        lines = await self._command("check")
        complete = [each for each in self._objects(lines) if each.get("type") == "complete"]
        is_complete = bool(complete) and complete[0].get("success") is True
        text = " ".join(line.strip() for line in lines if not line.startswith("{"))
        return CheckResult(is_complete=is_complete, message=text[:1000] or ("complete" if is_complete else ""))

    async def reset(self) -> PuzzleObservation:
        """Puts the puzzle back to its start, where the game has that; returns the position."""
        await self._command("reset")
        return await self.observe()

    async def close(self) -> None:
        """Says goodbye and closes the connection."""
        if not self._is_broken:
            self._is_broken = True
            try:
                async with asyncio.timeout(1):
                    await self._lines.send("quit")
            except (TimeoutError, WireError):
                pass
        try:
            async with asyncio.timeout(2):
                await self._lines.close()
        except TimeoutError:
            return

    async def _command(self, command: str) -> list[str]:
        if not self._is_playing:
            raise WireError("no puzzle was started: call `start` first", "LG-E145")
        lines = await self._reply(command, self._timeout_s)
        assert lines is not None
        return lines

    async def _reply(
        self, command: str, timeout_s: float, *, is_start: bool = False, in_menu: bool = False
    ) -> list[str] | None:
        """The lines before the mark; None where a menu refused to start a game."""
        lines: list[str] = []
        async with self._limited(f"the reply to `{command}`", timeout_s):
            await self._lines.send(command, MARK)
            while True:
                line = await self._lines.next()
                if line.startswith("{") and self._is_mark(line):
                    return lines
                if (is_start or in_menu) and line.startswith(_MENU_REFUSALS):
                    if is_start:  # the mark is refused too
                        await self._lines.next()
                    return None if is_start else lines
                lines.append(line)
                if len(lines) > MAX_REPLY_LINES:
                    raise WireError(f"{self._place}: a reply has over {MAX_REPLY_LINES:,} lines", "LG-E143")

    def _is_mark(self, line: str) -> bool:
        found = self._object(line)
        return found is not None and found.get("type") == "mode"

    @asynccontextmanager
    async def _limited(self, what: str, timeout_s: float) -> AsyncGenerator[None]:
        """A time limit. After an error or a cancelled wait the replies no longer match, so the session is closed for use."""
        if self._is_broken:
            raise WireError(f"{self._place}: the session is closed: open another one", "LG-E142")
        self._is_broken = True
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError:
            raise WireError(
                f"{self._place}: {what} did not come in {timeout_s:g} s: raise the time limit, or look at the server",
                "LG-E141",
            ) from None
        self._is_broken = False

    def _objects(self, lines: list[str]) -> list[dict[str, Any]]:
        return [found for line in lines if line.startswith("{") and (found := self._object(line)) is not None]

    def _object(self, line: str) -> dict[str, Any] | None:
        try:
            return parse_object(line.encode())
        except MalformedLine:
            return None

    def _observation(self, members: dict[str, Any]) -> PuzzleObservation:
        try:
            return PuzzleObservation.model_validate(members)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            self._is_broken = True
            raise WireError(
                f"{self._place}: the server sent an observation with a wrong `{where}`", "LG-E143"
            ) from error


def _checked(command: str) -> str:
    """A command as one line."""
    word = command.strip()
    if not word or len(word) > MAX_COMMAND_CHARS or any(ord(c) < 32 or ord(c) == 127 for c in word):
        raise WireError(f"a command has 1 to {MAX_COMMAND_CHARS} characters on one line, not {word[:60]!r}", "LG-E145")
    return word
