"""Collects episodes: several sessions at once, each with its own connection.

A failed connection aborts its episode alone; the session is opened again. Where a server cannot be reached any more, the
episodes that are left are counted as aborted.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lazarus_gym.environments import GAMES
from lazarus_gym.episodes.embedded import EMBEDDED, open_embedded
from lazarus_gym.episodes.openenv_session import SERVER_CHOICE, OpenEnvPlayer, open_openenv
from lazarus_gym.episodes.playing import Job, play
from lazarus_gym.episodes.policies import Policy, PolicyName, make_policies
from lazarus_gym.episodes.records import Episode
from lazarus_gym.episodes.run_folder import RunFolder
from lazarus_gym.errors import EpisodeError, WireError
from lazarus_gym.openenv import OpenEnvConfig
from lazarus_gym.wire import (
    Game,
    PuzzleDifficulty,
    PuzzleGame,
    PuzzleSession,
    TelnetClientConfig,
    TelnetGymClient,
    game_of,
)

MAX_FAILED = 3
"""Failed connections in a row after which a worker gives up."""
EMBEDDED_GAMES = tuple(PuzzleGame(name) for name in GAMES)
STATUSES = ("solved", "lost", "truncated", "stuck", "aborted")
Session = PuzzleSession | OpenEnvPlayer
Open = Callable[[], Awaitable[Session]]


class CollectConfig(BaseModel):
    """Which episodes to play, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    puzzles: tuple[PuzzleGame, ...] = Field(default=EMBEDDED_GAMES, min_length=1)
    """Games; episode i plays game i modulo their number."""
    episodes: int = Field(default=100, ge=1, le=1_000_000)
    difficulty: PuzzleDifficulty = PuzzleDifficulty.EASY
    policy: PolicyName = "hint"
    model: str | None = None
    """Model of the policy `model`."""
    seed: int = Field(default=0, ge=0, le=2**31)
    """Seed of the first round of games; each further round adds one."""
    max_moves: int = Field(default=200, ge=1, le=100_000)
    """Moves after which an episode is truncated."""
    sessions: int = Field(default=4, ge=1, le=1000)
    """Connections at once."""
    host: str | None = None
    """Host of a puzzle server; None for the embedded games."""
    port: int = Field(default=8024, ge=1, le=65535)
    transport: Literal["auto", "tcp", "websocket"] = "auto"
    timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """Seconds for a reply of the server."""
    openenv: str | None = Field(default=None, max_length=2000)
    """Address of an OpenEnv server instead of a puzzle server, such as `ws://127.0.0.1:8000`."""
    environments: tuple[str, ...] = ()
    """Names of environments of an OpenEnv server, played instead of `puzzles`; empty for the one that it chooses."""

    @model_validator(mode="after")
    def _check_openenv(self) -> Self:
        if self.openenv is not None and self.host is not None:
            raise ValueError("`openenv` and `host` name two servers: give one of them")
        if self.openenv is None and self.environments:
            raise ValueError("`environments` are those of an OpenEnv server: give `openenv` too")
        return self

    @property
    def games(self) -> tuple[Game, ...]:
        """The games in order."""
        return self.puzzles if self.openenv is None else tuple(map(game_of, self.environments or (SERVER_CHOICE,)))

    def jobs(self) -> list[Job]:
        """The episodes in order."""
        games, count = self.games, len(self.games)
        return [
            Job(index, games[index % count], self.difficulty, self.seed + index // count, self.policy)
            for index in range(self.episodes)
        ]

    def identity(self) -> dict[str, Any]:
        """The settings that decide on the episodes; the others may change between attempts."""
        leaves = {"sessions", "timeout_s", "port", "transport"}
        if self.openenv is None:
            settings = self.model_dump(mode="json", exclude={*leaves, "openenv", "environments"})
            return {**settings, "host": self.host or EMBEDDED}
        settings = self.model_dump(mode="json", exclude={*leaves, "host", "puzzles", "environments"})
        return {**settings, "environments": [game.value for game in self.games]}


class CollectResult(BaseModel):
    """What became of the episodes."""

    model_config = ConfigDict(frozen=True)

    games: dict[str, dict[str, float]]
    """Counts and means by game."""
    reasons: dict[str, int]
    """Reasons of the episodes that were not saved, with counts."""
    saved: int
    samples: int


async def collect_episodes(
    config: CollectConfig, output: Path, on_episode: Callable[[Episode], Any] | None = None
) -> CollectResult:
    """Plays the episodes and writes the finished ones. The same call continues a run that was stopped.

    Args:
        config: Which episodes, and where.
        output: Folder of the run.
        on_episode: Called with each episode at its end, saved or not.

    Raises:
        EpisodeError: The policy or the embedded games cannot play this.
        OutputTaken: The folder holds something else.
        WireError: The server cannot be reached at the beginning.
    """
    is_embedded = config.host is None and config.openenv is None
    if is_embedded and (missing := [game.value for game in config.puzzles if game not in EMBEDDED_GAMES]):
        there = ", ".join(EMBEDDED_GAMES)
        raise EpisodeError(
            f"no embedded game is called {missing[0]!r}; there are {there}; others need `host`", "LG-E151"
        )
    policies = make_policies(config.policy, config.games, config.model)
    if not is_embedded:  # an address without a server is one error, not a hundred aborted episodes, and makes no folder
        first = await _opener(config)()
        await first.close()
    folder = RunFolder(output, config.identity())
    done = {episode.index for episode in folder.episodes}
    waiting = [job for job in config.jobs() if job.index not in done]
    lost: list[Episode] = []

    def ended(episode: Episode) -> None:
        if episode.is_saved:
            folder.append(episode)
        else:
            lost.append(episode)
        if on_episode is not None:
            on_episode(episode)

    waiting.reverse()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(config.sessions, len(waiting))):
                group.create_task(_work(config, waiting, policies, ended))
        while waiting:  # every worker gave up
            ended(waiting.pop().episode("aborted", "the server cannot be reached any more"))
    except BaseExceptionGroup as error:
        raise error.exceptions[0] from error
    finally:
        result = _result(folder.episodes, lost)
        samples = folder.finish(result.model_dump(exclude={"samples"}))
    return result.model_copy(update={"samples": samples})


async def _work(
    config: CollectConfig, waiting: list[Job], policies: Callable[[int], Policy], ended: Callable[[Episode], None]
) -> None:
    """Plays jobs until none is left, or the server cannot be reached."""
    opener, session, failed = _opener(config), None, 0
    try:
        while waiting and failed < MAX_FAILED:
            job = waiting.pop()
            try:
                if session is None:
                    session = await opener()
                episode = await play(session, job, policies(job.seed), config.max_moves)
                failed = 0
            except WireError as error:
                episode = job.episode("aborted", error.message)
                if error.code not in ("LG-E144", "LG-E175"):  # a game that is not offered leaves the session whole
                    failed += error.code in ("LG-E140", "LG-E171")
                    if session is not None:
                        await session.close()
                    session = None
            ended(episode)
    finally:
        if session is not None:
            await session.close()


def _opener(config: CollectConfig) -> Open:
    """The function that opens a session."""
    if config.openenv is not None:
        address = OpenEnvConfig(address=config.openenv, timeout_s=config.timeout_s)
        return lambda: open_openenv(address)
    if config.host is None:
        return lambda: open_embedded(config.timeout_s)
    settings = TelnetClientConfig(
        host=config.host,
        port=config.port,
        transport=config.transport,
        timeout_s=config.timeout_s,
        start_timeout_s=config.timeout_s,
    )

    async def connect() -> PuzzleSession:
        client = TelnetGymClient(settings)
        await client.connect()
        return client.session

    return connect


def _result(saved: list[Episode], lost: list[Episode]) -> CollectResult:
    episodes = saved + lost
    games: dict[str, dict[str, float]] = {}
    for game in sorted({episode.game for episode in episodes}):
        of_game = [episode for episode in episodes if episode.game == game]
        counts = Counter(episode.status for episode in of_game)
        finished = [episode for episode in of_game if episode.is_saved]
        games[game] = {
            "episodes": len(of_game),
            **{status: counts[status] for status in STATUSES},
            "mean_moves": sum(each.moves for each in finished) / max(1, len(finished)),
            "mean_reward": sum(each.reward for each in of_game) / len(of_game),
        }
    reasons = Counter(episode.reason for episode in sorted(lost, key=lambda episode: episode.index))
    return CollectResult(games=games, reasons=dict(reasons.most_common()), saved=len(saved), samples=0)
