"""A game as an environment: `reset`, `step` and `state`."""

from typing import Any

from lazarus_gym.environments.game import LEVELS, Game
from lazarus_gym.environments.play import Play
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
        self._play: Play | None = None
        self._num_actions = 0

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
        play = self._playing()
        limit = 4 * play.reference_moves + 20 if self._max_actions is None else self._max_actions
        return not play.is_over and self._num_actions >= limit

    def reset(self, *, seed: int, task: str | None = None) -> Observation:
        """Begins a puzzle.

        Args:
            seed: 0 to 2**63 - 1; equal seeds give equal puzzles on every machine.
            task: `easy`, `medium` or `hard`; None for `easy`.

        Raises:
            EnvironmentUseError: The task is unknown or the seed out of range (LG-E131).
        """
        self._play = Play(self._game, task or LEVELS[0], seed)
        self._num_actions = 0
        rules = "\n".join(self._game.rules(self._play.puzzle))
        commands = ", ".join((*self._game.commands, "hint", "solve (gives up)"))
        return self._observe(f"{self._game.title}\n{rules}\nCommands: {commands}\n\n{self._play.render()}")

    def step(self, action: str) -> Step:
        """Executes a move, `hint`, `show` or `solve`.

        Args:
            action: One command, such as `place 1 2 3`.

        Raises:
            EnvironmentUseError: No episode is in progress (LG-E132).
        """
        play = self._playing()
        if play.is_over or self.is_truncated:
            raise EnvironmentUseError("the episode has ended: call `reset`", "LG-E132")
        reply = play.act(action)
        self._num_actions += 1
        board = "" if reply.kind == "show" else f"\n\n{play.render()}"
        info = {"code": reply.code, "valid": reply.is_valid, **play.components()}
        if reply.hint is not None:
            info |= {"hint_move": reply.hint.move, "hint_reason": reply.hint.reason}
        return Step(
            observation=self._observe(f"{reply.message}{board}"),
            reward=play.reward() if play.is_over else 0.0,
            done=play.is_over,
            truncated=self.is_truncated,
            info=info,
        )

    def state(self) -> State:
        """Counters of the episode.

        Raises:
            EnvironmentUseError: `reset` was not called (LG-E132).
        """
        play = self._playing()
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
        play = self._playing()
        return self._game.solution(play.puzzle, play.position)

    def _playing(self) -> Play:
        if self._play is None:
            raise EnvironmentUseError("no episode has begun: call `reset` first", "LG-E132")
        return self._play

    def _observe(self, text: str) -> Observation:
        play = self._playing()
        return Observation(
            text=text,
            environment=self.name,
            task=play.level,
            seed=play.seed,
            grid=self._game.grid(play.puzzle, play.position),
            commands=(*self._game.commands, "hint", "show", "solve"),
        )
