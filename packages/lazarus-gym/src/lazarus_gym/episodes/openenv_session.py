"""A session with an OpenEnv server, as episodes play it.

The texts of the server are the observations. Its rewards are summed as they are; solved is what the server calls so, or an end with a
reward above 0.
"""

from lazarus_gym.interface import Observation, State, Step
from lazarus_gym.openenv import OpenEnvClient, OpenEnvConfig
from lazarus_gym.wire import Game, HintResult, MoveResult, PuzzleDifficulty, PuzzleGame, PuzzleObservation

SERVER_CHOICE = "openenv"
"""Name of the environment that the server chooses."""


class OpenEnvPlayer:
    """Starts and plays episodes on an OpenEnv server.

    Args:
        config: Where it is.
    """

    rules: tuple[str, ...] = ()
    """Always empty: the first observation has the rules."""

    def __init__(self, config: OpenEnvConfig) -> None:
        self._client = OpenEnvClient(config)

    async def connect(self) -> None:
        """Connects.

        Raises:
            OpenEnvError: The server cannot be reached.
        """
        await self._client.connect()

    async def start(
        self, game: Game, difficulty: PuzzleDifficulty = PuzzleDifficulty.EASY, seed: int | None = None
    ) -> PuzzleObservation:
        """Begins an episode.

        Args:
            game: The environment to ask for.
            difficulty: Its task, where the environment is a puzzle.
            seed: Seed of the task; None for 0.

        Raises:
            OpenEnvError: The connection failed, or the server refused.
        """
        name = None if game.value == SERVER_CHOICE else game.value
        task = difficulty.value if isinstance(game, PuzzleGame) else None
        first = await self._client.reset(seed=seed or 0, task=task, environment=name)
        return _view(first, await self._client.state())

    async def act(self, command: str) -> MoveResult:
        """Executes an action.

        Raises:
            OpenEnvError: The connection failed, or the server refused.
        """
        step = await self._client.step(command)
        is_solved = step.done and step.info.get("solved", step.reward > 0) is True
        return MoveResult(
            success=step.info.get("valid") is not False,
            code=str(step.info.get("code", "SOLVED" if is_solved else "OK"))[:100],
            message="",
            observation=_view(step.observation, step),
            is_complete=is_solved,
            is_truncated=step.truncated,
            reward=step.reward,
        )

    async def hint(self) -> HintResult:
        """Asks for a hint, by the action `hint` of our server; other servers have none."""
        step = await self._client.step("hint")
        move = step.info.get("hint_move")
        message = step.observation.text.split("\n", 1)[0]
        return HintResult(message=message[:1000], move=move if isinstance(move, str) else None)

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.close()


async def open_openenv(config: OpenEnvConfig) -> OpenEnvPlayer:
    """A session that is connected.

    Raises:
        OpenEnvError: The server cannot be reached.
    """
    player = OpenEnvPlayer(config)
    await player.connect()
    return player


def _view(seen: Observation, counters: State | Step) -> PuzzleObservation:
    numbers = counters.info if isinstance(counters, Step) else counters.model_dump()

    def number(name: str) -> int:
        value = numbers.get(name)
        return value if type(value) is int and value >= 0 else 0

    return PuzzleObservation(
        game=seen.environment[:100],
        difficulty=seen.task[:100],
        seed=seen.seed,
        moves=number("moves"),
        invalid_moves=number("invalid_moves"),
        hints_used=number("hints_used"),
        optimal_steps=number("reference_moves") or None,
        is_complete=numbers.get("solved") is True,
        is_over=counters.done or counters.truncated,
        grid=None if seen.grid is None else [list(row) for row in seen.grid],
        grid_display=seen.text,
    )
