"""Games as classes of typed tool methods, as `environment_factory` of TRL takes them.

A class has no constructor arguments. `reset(**row)` begins the puzzle of a row with `seed` and `level` and returns its
first text. Every other public method but `get_reward` is a tool: its docstring and types are its schema. TRL calls `get_reward` at
the end of an episode; a reward function of one's own reads `reward` and `components` of the instances.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lazarus_gym.environments.play import PuzzleEpisode
from lazarus_gym.environments.registry import find_game
from lazarus_gym.environments.single_turn.questions import ASKED
from lazarus_gym.errors import EnvironmentUseError
from lazarus_gym.tasks.maths import Task, generate_tasks, verify
from lazarus_gym.tasks.questions import Kind
from lazarus_gym.tasks.replies import is_call
from lazarus_gym.tasks.tool_calls import call_of


class _Tools:
    _game: str

    def __init__(self) -> None:
        self._episode: PuzzleEpisode | None = None
        self._total = 0.0

    @property
    def reward(self) -> float:
        """Sum of the rewards of the episode."""
        return self._total

    @property
    def components(self) -> dict[str, Any]:
        """The parts that rewards are made of, each apart."""
        return self._begun().play.components()

    def reset(self, **row: Any) -> str | None:
        """Begins the puzzle of a row.

        Args:
            row: Fields of the data set; `seed` (default 0) and `level` (default easy) are used.
        """
        self._total = 0.0
        seed, level = row.get("seed", 0), row.get("level", "easy")
        if type(seed) is not int or not isinstance(level, str):
            raise EnvironmentUseError("`seed` must be a whole number and `level` a text", "LG-E131")
        self._episode = PuzzleEpisode(find_game(self._game), level, seed)
        return self._episode.first_text()

    def get_reward(self) -> float:
        """Reward of the episode, which TRL reads at its end."""
        return self._total

    def hint(self) -> str:
        """Asks for a true hint. Hints lower the reward.

        Returns:
            A next move and the reason for it.
        """
        return self._act("hint")

    def _begun(self) -> PuzzleEpisode:
        if self._episode is None:
            raise EnvironmentUseError("no episode has begun: call `reset` first", "LG-E132")
        return self._episode

    def _act(self, *words: object) -> str:
        episode = self._begun()
        if episode.is_ended:
            return "The game is over."
        outcome = episode.act(" ".join(map(str, words)))
        self._total += outcome.reward
        return outcome.text


class _CellTools(_Tools):
    def place(self, row: int, column: int, digit: int) -> str:
        """Writes a digit into a cell.

        Args:
            row: Row of the cell, from 1.
            column: Column of the cell, from 1.
            digit: The digit.

        Returns:
            Whether the digit was placed, and the grid.
        """
        return self._act("place", row, column, digit)

    def clear(self, row: int, column: int) -> str:
        """Empties a cell that was filled before.

        Args:
            row: Row of the cell, from 1.
            column: Column of the cell, from 1.

        Returns:
            Whether the cell was emptied, and the grid.
        """
        return self._act("clear", row, column)


class SudokuTools(_CellTools):
    """Sudoku."""

    _game = "sudoku"


class FutoshikiTools(_CellTools):
    """Futoshiki."""

    _game = "futoshiki"


class BinaryTools(_CellTools):
    """Binary puzzle; the digits are 0 and 1."""

    _game = "binary"


class NonogramTools(_CellTools):
    """Nonogram; the digit 1 fills a cell, 0 marks it as blank."""

    _game = "nonogram"


class LightsOutTools(_Tools):
    """Lights Out."""

    _game = "lights_out"

    def press(self, row: int, column: int) -> str:
        """Toggles a light and its neighbours.

        Args:
            row: Row of the light, from 1.
            column: Column of the light, from 1.

        Returns:
            The number of lights that are on, and the grid.
        """
        return self._act("press", row, column)


class MastermindTools(_Tools):
    """Mastermind."""

    _game = "mastermind"

    def guess(self, colours: list[int]) -> str:
        """Guesses the secret code.

        Args:
            colours: Numbers of the colours, from the left.

        Returns:
            The black and white pegs of all guesses.
        """
        return self._act("guess", *colours)


class KnapsackTools(_Tools):
    """Knapsack."""

    _game = "knapsack"

    def select(self, item: int) -> str:
        """Puts an item into the knapsack.

        Args:
            item: Number of the item, from 1.

        Returns:
            Whether it fits, and the table of items.
        """
        return self._act("select", item)

    def deselect(self, item: int) -> str:
        """Takes an item out of the knapsack.

        Args:
            item: Number of the item, from 1.

        Returns:
            Whether it was in the knapsack, and the table of items.
        """
        return self._act("deselect", item)


class MinesweeperTools(_Tools):
    """Minesweeper."""

    _game = "minesweeper"

    def reveal(self, row: int, column: int) -> str:
        """Reveals a cell; a mine ends the game.

        Args:
            row: Row of the cell, from 1.
            column: Column of the cell, from 1.

        Returns:
            What the cell is, and the grid.
        """
        return self._act("reveal", row, column)

    def flag(self, row: int, column: int) -> str:
        """Puts a flag on a hidden cell, or removes it.

        Args:
            row: Row of the cell, from 1.
            column: Column of the cell, from 1.

        Returns:
            What was done, and the grid.
        """
        return self._act("flag", row, column)


class _QuestionTools:
    """One question an episode; the first answer counts."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._total = 0.0
        self._is_answered = False

    @property
    def reward(self) -> float:
        """1 after a right answer, else 0."""
        return self._total

    def get_reward(self) -> float:
        """Reward of the episode, which TRL reads at its end."""
        return self._total

    def _begin(self, row: dict[str, Any], kind: str, kinds: Sequence[Kind]) -> str:
        seed = row.get("seed", 0)
        found: Kind | None = next((each for each in kinds if each == kind), None)
        if type(seed) is not int or found is None:
            words = ", ".join(kinds)
            raise EnvironmentUseError(f"`seed` must be a whole number and `kind` one of {words}", "LG-E131")
        self._task, self._total, self._is_answered = generate_tasks(1, seed=seed, kinds=[found])[0], 0.0, False
        return self._task.prompt

    def _end(self, is_right: Callable[[Task], bool]) -> str:
        if self._task is None:
            raise EnvironmentUseError("no episode has begun: call `reset` first", "LG-E132")
        if self._is_answered:
            return "The question is answered already."
        self._is_answered = True
        self._total = float(is_right(self._task))
        return "Correct." if self._total else "Wrong."


class MathsTools(_QuestionTools):
    """Questions of maths with a number as the answer."""

    def reset(self, **row: Any) -> str | None:
        """Asks the question of a row.

        Args:
            row: Fields of the data set; `seed` (default 0) and `kind` (default addition) are used.
        """
        return self._begin(row, row.get("kind", ASKED[0]), ASKED)

    def answer(self, answer: str) -> str:
        """Answers the question. Only the first answer counts.

        Args:
            answer: The answer; its last number is compared.

        Returns:
            Whether it is right.
        """
        return self._end(lambda task: verify(task, str(answer)).correct)


class ToolCallTools(_QuestionTools):
    """Questions that one call of the calculator solves."""

    def reset(self, **row: Any) -> str | None:
        """Asks the question of a row.

        Args:
            row: Fields of the data set; `seed` (default 0) is used.
        """
        return self._begin(row, "calculator_call", ["calculator_call"])

    def calculator(self, operation: str, a: int, b: int) -> str:
        """Computes with two whole numbers. Only the first call counts.

        Args:
            operation: add, subtract or multiply.
            a: First number.
            b: Second number.

        Returns:
            Whether the call solves the question.
        """
        call = {"name": "calculator", "arguments": {"operation": operation, "a": a, "b": b}}
        return self._end(lambda task: is_call(call, call_of(task.prompt)))
