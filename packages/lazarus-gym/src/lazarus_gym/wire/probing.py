"""Which games of a server can be played, found by trying: a start, a hint and the move that follows it."""

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lazarus_gym.errors import WireError
from lazarus_gym.wire.client import TelnetGymClient
from lazarus_gym.wire.games import PuzzleDifficulty, PuzzleGame


class GameProbe(BaseModel):
    """What came of trying a game."""

    model_config = ConfigDict(frozen=True)

    game: str
    state: Literal["playable", "not playable", "not offered", "failed"]
    detail: str
    """The hint and the move, or the reason."""


async def probe_games(client: Callable[[], TelnetGymClient], seed: int = 1) -> list[GameProbe]:
    """Tries every game that any server may have.

    Args:
        client: Makes a client; every game gets a connection of its own.
        seed: Seed of the puzzles.

    Raises:
        WireError: The server cannot be reached.
    """
    async with client():  # a wrong address is an error, not thirty failed games
        pass
    return [await _probe(client(), game, seed) for game in PuzzleGame]


async def _probe(client: TelnetGymClient, game: PuzzleGame, seed: int) -> GameProbe:
    try:
        async with client:
            await client.start_puzzle(game, PuzzleDifficulty.EASY, seed)
            hint = await client.get_hint()
            if hint.move is None:
                detail = f"no command follows the hint {hint.message!r}"
                return GameProbe(game=game.value, state="not playable", detail=detail)
            moved = await client.send_move(hint.move)
    except WireError as error:
        state = "not offered" if error.code == "LG-E144" else "failed"
        return GameProbe(game=game.value, state=state, detail="" if state == "not offered" else error.message)
    if not moved.success:
        return GameProbe(game=game.value, state="not playable", detail=f"{hint.move!r} is refused: {moved.message}")
    return GameProbe(game=game.value, state="playable", detail=f"{hint.move!r} follows {hint.message!r}")
