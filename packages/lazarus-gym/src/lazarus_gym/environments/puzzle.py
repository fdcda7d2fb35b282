"""A game as an environment: `reset`, `step` and `state`."""

from typing import Any

from lazarus_gym.environments.game import LEVELS, Game
from lazarus_gym.environments.play import PuzzleEpisode
from lazarus_gym.errors import EnvironmentUseError
from lazarus_gym.interface import Observation, State, Step


class PuzzleEnvironment:
    """A game with one puzzle at a time.

    Args:
        game: The game.
        max_actions: Actions after which an episode is truncated; None for four times the reference moves plus 20.
    """

    def __init__(self, game: Game[Any, Any], *, max_actions: int | None = None) -> None:
        self._game = game
        self._max_actions = max_actions
        self._episode: PuzzleEpisode | None = None

    @property
    def name(self) -> str:
        """Name in the registry."""
        return self._game.name

    @property
    def tasks(self) -> tuple[str, ...]:
        """The levels."""
        return LEVELS

    @property
    def is_truncated(self) -> bool:
        """Whether the limit of actions is reached."""
        return self._begun().is_truncated

    def reset(self, *, seed: int, task: str | None = None) -> Observation:
        """Begins a puzzle.

        Args:
            seed: 0 to 2**63 - 1; equal seeds give equal puzzles on every machine.
            task: `easy`, `medium` or `hard`; None for `easy`.

        Raises:
            EnvironmentUseError: The task is unknown or the seed out of range (LG-E131).
        """
        self._episode = PuzzleEpisode(self._game, task or LEVELS[0], seed, max_actions=self._max_actions)
        return self._observe(self._episode.first_text())

    def step(self, action: str) -> Step:
        """Executes a move, `hint`, `show` or `solve`.

        Args:
            action: One command, such as `place 1 2 3`.

        Raises:
            EnvironmentUseError: No episode is in progress (LG-E132).
        """
        outcome = self._begun().act(action)
        return Step(
            observation=self._observe(outcome.text),
            reward=outcome.reward,
            done=outcome.is_over,
            truncated=outcome.is_truncated,
            info=outcome.info,
        )

    def state(self) -> State:
        """Counters of the episode.

        Raises:
            EnvironmentUseError: `reset` was not called (LG-E132).
        """
        play = self._begun().play
        return State(
            environment=self.name,
            task=play.level,
            seed=play.seed,
            moves=play.moves,
            invalid_moves=play.invalid_moves,
            hints_used=play.hints_used,
            reference_moves=play.reference_moves,
            progress=play.progress,
            difficulty=play.measure.score,
            solved=play.is_solved,
            forfeited=play.is_forfeited,
            done=play.is_over,
            truncated=self.is_truncated,
        )

    def solution(self) -> tuple[str, ...]:
        """Moves of the exact solver from here, for oracles and audits; the player does not see them."""
        return self._begun().solution()

    def _begun(self) -> PuzzleEpisode:
        if self._episode is None:
            raise EnvironmentUseError("no episode has begun: call `reset` first", "LG-E132")
        return self._episode

    def _observe(self, text: str) -> Observation:
        play = self._begun().play
        return Observation(
            text=text,
            environment=self.name,
            task=play.level,
            seed=play.seed,
            grid=self._game.grid(play.puzzle, play.position),
            commands=(*self._game.commands, "hint", "show", "solve"),
        )
