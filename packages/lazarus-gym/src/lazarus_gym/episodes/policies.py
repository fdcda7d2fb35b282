"""Policies: what decides on the next move.

`hint` follows the server's hints, `random` takes any well-formed move, `model` asks a language model.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from typing_extensions import override

from lazarus_gym.environments import Draw
from lazarus_gym.errors import EpisodeError
from lazarus_gym.wire import Game, HintResult, PuzzleGame, PuzzleObservation

PolicyName = Literal["hint", "random", "model"]
_DIGITS = (
    PuzzleGame.SUDOKU,
    PuzzleGame.KENKEN,
    PuzzleGame.FUTOSHIKI,
    PuzzleGame.KILLER_SUDOKU,
)
_BITS = (PuzzleGame.BINARY, PuzzleGame.NONOGRAM)
RANDOM_GAMES = (
    *_DIGITS,
    *_BITS,
    PuzzleGame.LIGHTS_OUT,
    PuzzleGame.MINESWEEPER,
    PuzzleGame.MASTERMIND,
    PuzzleGame.KNAPSACK,
)
"""Games whose moves the random policy can write."""
_ITEM = re.compile(r"^\s*(\d+) \|", re.MULTILINE)
_PEGS = re.compile(r"code of (\d+) colours|secret (\d+)-color", re.IGNORECASE)
_COLOURS = re.compile(r"each 1 to (\d+)|colors 1-(\d+)", re.IGNORECASE)


class View(NamedTuple):
    """What a policy sees.

    Args:
        game: The game.
        observation: The position.
        rules: Rules of the puzzle.
        said: Earlier boards and moves, alternating.
    """

    game: Game
    observation: PuzzleObservation
    rules: tuple[str, ...]
    said: Sequence[tuple[str, str]]


class Choice(NamedTuple):
    """A move, or None with the reason why there is none."""

    move: str | None
    reason: str = ""


class Hints(Protocol):
    """A session that gives hints."""

    async def hint(self) -> HintResult:
        """Asks for a hint."""
        ...


class Policy(Protocol):
    """Decides on moves of one episode."""

    async def choose(self, session: Hints, view: View) -> Choice:
        """The next move.

        Args:
            session: The session, for hints.
            view: What the player sees.
        """
        ...


class HintPolicy(Policy):
    """Follows the hints."""

    @override
    async def choose(self, session: Hints, view: View) -> Choice:
        hint = await session.hint()
        return Choice(hint.move, f"no command follows the hint {hint.message!r}" if hint.move is None else "")


class RandomPolicy(Policy):
    """Takes any move whose numbers are in range; the same seed takes the same moves.

    Args:
        seed: Seed of the episode.
    """

    def __init__(self, seed: int) -> None:
        self._draw = Draw("random policy", seed)

    @override
    async def choose(self, session: Hints, view: View) -> Choice:
        draw, game = self._draw, view.game
        if game is PuzzleGame.KNAPSACK:
            items = len(_ITEM.findall(view.observation.text))
            return Choice(f"{draw.chosen(['select', 'deselect'])} {draw.between(1, items)}") if items else _none()
        if game is PuzzleGame.MASTERMIND:
            rules = "\n".join(view.rules)
            pegs, colours = _first(_PEGS, rules), _first(_COLOURS, rules)
            if not pegs or not colours or max(pegs, colours) > 20:
                return _none()
            return Choice("guess " + " ".join(str(draw.between(1, colours)) for _ in range(pegs)))
        grid = view.observation.grid
        if not grid or not grid[0]:
            return _none()
        row, column = draw.between(1, len(grid)), draw.between(1, len(grid[0]))
        if game in _DIGITS:
            return Choice(f"place {row} {column} {draw.between(1, len(grid))}")
        if game in _BITS:
            return Choice(f"place {row} {column} {draw.below(2)}")
        return Choice(f"{'press' if game is PuzzleGame.LIGHTS_OUT else 'reveal'} {row} {column}")


def _none() -> Choice:
    return Choice(None, "the random policy finds no numbers on this server's board")


def _first(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.search(text)
    return int(next(group for group in found.groups() if group)) if found else 0


class ModelPolicy(Policy):
    """Asks a language model; the first line of its reply is the move.

    Args:
        model: A directory, a short name or a repository on the hub.
    """

    def __init__(self, model: str) -> None:
        try:
            from lazarus_models import UnifiedPipeline
        except ModuleNotFoundError as error:
            raise EpisodeError(
                "the policy `model` needs lazarus-models: install `lazarus-gym[model]`", "LG-E153"
            ) from error
        self._pipeline: Any = UnifiedPipeline.from_pretrained(model)

    @override
    async def choose(self, session: Hints, view: View) -> Choice:
        from lazarus_models import ChatHistory

        head = f"You play {view.game.value.replace('_', ' ')}. Answer each position with one command and nothing else."
        history = ChatHistory.of("\n".join([head, *view.rules]))
        for board, move in view.said[-3:]:
            history = history.user(board).assistant(move)
        reply = self._pipeline.chat(history.user(view.observation.text), max_new_tokens=24)
        lines = [line.strip() for line in reply.text.splitlines() if line.strip()]
        move = "".join(character for character in lines[0] if character.isprintable())[:100] if lines else ""
        return Choice(move or "show")


def make_policies(name: PolicyName, games: Sequence[Game], model: str | None) -> Callable[[int], Policy]:
    """The function that makes the policy of an episode from its seed.

    Args:
        name: Name of the policy.
        games: Games that it must play.
        model: The model of the policy `model`; None for the others.

    Raises:
        EpisodeError: The policy cannot play a game (LG-E151), or `model` is missing or not used (LG-E152).
    """
    if (model is not None) != (name == "model"):
        words = "the policy `model` needs `model`" if model is None else f"the policy `{name}` does not use `model`"
        raise EpisodeError(f"{words}: give both or neither", "LG-E152")
    if name == "random" and (missing := [game.value for game in games if game not in RANDOM_GAMES]):
        able = ", ".join(RANDOM_GAMES)
        raise EpisodeError(f"the policy `random` cannot play {', '.join(missing)}; it can play {able}", "LG-E151")
    if name == "hint":
        policy: Policy = HintPolicy()
        return lambda seed: policy
    if name == "random":
        return RandomPolicy
    of_model: Policy = ModelPolicy(model or "")
    return lambda seed: of_model
