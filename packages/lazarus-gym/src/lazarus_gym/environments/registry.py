"""The environments of this package by name."""

from pathlib import Path
from typing import Any

from lazarus_core.plugins import near_name
from lazarus_gym.environments.binary import Binary
from lazarus_gym.environments.futoshiki import Futoshiki
from lazarus_gym.environments.game import Game
from lazarus_gym.environments.knapsack import Knapsack
from lazarus_gym.environments.lights_out import LightsOut
from lazarus_gym.environments.mastermind import Mastermind
from lazarus_gym.environments.minesweeper import Minesweeper
from lazarus_gym.environments.nonogram import Nonogram
from lazarus_gym.environments.puzzle import PuzzleEnvironment
from lazarus_gym.environments.single_turn.calls import ToolCallEnvironment
from lazarus_gym.environments.single_turn.jailed import REASONING_GYM, JailedEnvironment, reasoning_environment
from lazarus_gym.environments.single_turn.questions import MathsEnvironment
from lazarus_gym.environments.sudoku import Sudoku
from lazarus_gym.errors import EnvironmentUseError

GAMES: dict[str, Game[Any, Any]] = {
    game.name: game
    for game in (
        Sudoku(),
        Futoshiki(),
        Binary(),
        LightsOut(),
        Mastermind(),
        Knapsack(),
        Minesweeper(),
        Nonogram(),
    )
}
"""Games by name. A new game is one file and one line here."""
ENVIRONMENTS = (*GAMES, MathsEnvironment.name, ToolCallEnvironment.name)
"""Names that `make_environment` accepts."""


def make_environment(
    name: str, *, python: Path | str | None = None
) -> PuzzleEnvironment | MathsEnvironment | ToolCallEnvironment | JailedEnvironment:
    """Makes an environment.

    >>> environment = make_environment("lights_out")
    >>> observation = environment.reset(seed=1, task="easy")
    >>> [environment.step(move).reward for move in environment.solution()]
    [0.0, 0.0, 0.0, 0.0, 1.0]

    Args:
        name: One of `ENVIRONMENTS`, or `reasoning-gym:NAME` for a task of reasoning-gym, which runs in the jail.
        python: Python of an environment with reasoning-gym; None for the one that runs.

    Raises:
        EnvironmentUseError: There is no such environment (LG-E130).
        JailError: The worker for reasoning-gym cannot start (LG-E133).
    """
    if name.startswith(f"{REASONING_GYM}:"):
        return reasoning_environment(name, python=None if python is None else Path(python))
    if name == MathsEnvironment.name:
        return MathsEnvironment()
    if name == ToolCallEnvironment.name:
        return ToolCallEnvironment()
    return PuzzleEnvironment(find_game(name))


def find_game(name: str) -> Game[Any, Any]:
    """The game of a name.

    Raises:
        EnvironmentUseError: There is none (LG-E130).
    """
    if name in GAMES:
        return GAMES[name]
    near = near_name(name, list(ENVIRONMENTS))
    raise EnvironmentUseError(f"unknown environment {name!r}{near}; there are {', '.join(ENVIRONMENTS)}", "LG-E130")
