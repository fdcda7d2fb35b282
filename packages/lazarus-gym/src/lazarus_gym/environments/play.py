"""One play of a puzzle: the position, the counters and the reward. Environments and the puzzle server share it.

The reward of an episode is paid once, when the puzzle is solved: 1 minus the share of the reference moves that hints gave. So
a player that follows hints only, or asked for the solution, earns nothing; one that solves alone earns 1.
"""

from typing import Any, NamedTuple

from lazarus_gym.environments.draw import Draw
from lazarus_gym.environments.game import LEVELS, Game, Hint, Level
from lazarus_gym.errors import EnvironmentUseError

MAX_ACTION_CHARS = 200
"""Longer actions are refused unread; the longest move has 13 words."""
MAX_SEED = 2**63 - 1


class Reply(NamedTuple):
    """The reply to one action.

    Args:
        kind: `move`, `hint`, `show`, `solve` or `unknown`.
        is_valid: Whether it was executed.
        code: Word for programs, such as `PLACED` or `INVALID_MOVE`.
        message: Sentence for people.
        hint: The hint, where one was given.
    """

    kind: str
    is_valid: bool
    code: str
    message: str
    hint: Hint | None = None


class Play:
    """A puzzle in progress.

    Args:
        game: The game.
        level: Its level.
        seed: 0 to 2**63 - 1; equal seeds give equal puzzles.

    Raises:
        EnvironmentUseError: The level is unknown or the seed out of range (LG-E131).
    """

    def __init__(self, game: Game[Any, Any], level: str, seed: int) -> None:
        self.game = game
        self.level = check_level(level)
        if not 0 <= seed <= MAX_SEED:
            raise EnvironmentUseError(f"`seed` is {seed}; give 0 to {MAX_SEED}", "LG-E131")
        self.seed = seed
        self.puzzle = game.generate(Draw(game.name, level, seed), self.level)
        self.position = game.start(self.puzzle)
        self.reference_moves = len(game.solution(self.puzzle, self.position))
        self.measure = game.measure(self.puzzle)
        self.moves = self.invalid_moves = self.hints_used = 0
        self.is_forfeited = False

    @property
    def is_solved(self) -> bool:
        """Whether the player solved it; never after the solution was shown."""
        return not self.is_forfeited and self.game.is_solved(self.puzzle, self.position)

    @property
    def is_over(self) -> bool:
        """Whether no further move counts: solved, lost or given up."""
        return self.is_forfeited or self.is_solved or self.game.is_lost(self.puzzle, self.position)

    @property
    def progress(self) -> float:
        """Part that is finished, 0 to 1; 0 after the solution was shown."""
        return 0.0 if self.is_forfeited else self.game.progress(self.puzzle, self.position)

    def render(self) -> str:
        """The board as text."""
        return self.game.render(self.puzzle, self.position)

    def act(self, action: str) -> Reply:
        """Executes one action: a move of the game, `hint`, `show` or `solve`."""
        words = action.split() if len(action) <= MAX_ACTION_CHARS else []
        verb = words[0].lower() if words else ""
        if verb == "show":
            return Reply("show", True, "OK", self.render())
        if self.is_over:
            return Reply("unknown", False, "GAME_OVER", "The game is over.")
        if verb == "hint":
            found = self.game.hint(self.puzzle, self.position)
            assert found is not None, "a game that is not over has a next move"
            self.hints_used += 1
            return Reply("hint", True, "HINT", found.text, found)
        if verb == "solve":
            self.is_forfeited = True
            moves = self.game.solution(self.puzzle, self.position)
            return Reply("solve", True, "SOLVED", f"The solution is: {'; '.join(moves)}. The game is forfeited.")
        if verb not in self.verbs:
            self.invalid_moves += 1
            known = ", ".join((*self.game.commands, "hint", "show", "solve"))
            return Reply("unknown", False, "UNKNOWN", f"Unknown command. Commands: {known}")
        played = self.game.play(self.puzzle, self.position, [verb, *words[1:]])
        if played.is_valid:
            self.moves += 1
            self.position = played.position
        else:
            self.invalid_moves += 1
        return Reply("move", played.is_valid, played.code, played.message)

    @property
    def verbs(self) -> frozenset[str]:
        """First words of the moves."""
        return frozenset(form.split()[0] for form in self.game.commands)

    def reset(self) -> bool:
        """Puts the board back to the start, where moves reveal nothing, and returns whether it did. Counters stay, and a shown
        solution stays shown.
        """
        if not self.game.is_hidden:
            self.position = self.game.start(self.puzzle)
        return not self.game.is_hidden

    def reward(self) -> float:
        """Reward of the whole play, 0 to 1."""
        if not self.is_solved:
            return 0.0
        return 1 - min(1.0, self.hints_used / max(1, self.reference_moves))

    def components(self) -> dict[str, Any]:
        """The parts that rewards are made of, each apart."""
        actions = self.moves + self.invalid_moves
        return {
            "solved": self.is_solved,
            "forfeited": self.is_forfeited,
            "progress": self.progress,
            "moves": self.moves,
            "invalid_moves": self.invalid_moves,
            "hints_used": self.hints_used,
            "reference_moves": self.reference_moves,
            "efficiency": min(1.0, self.reference_moves / max(1, self.moves)) if self.is_solved else 0.0,
            "invalid_share": self.invalid_moves / actions if actions else 0.0,
            "difficulty": self.measure.score,
        }


class Outcome(NamedTuple):
    """What one action of an episode led to.

    Args:
        text: The reply, then the board.
        reward: Reward of this action alone.
        is_over: Solved, lost or given up.
        is_truncated: The limit of actions is reached.
        info: Components of the reward and counters.
    """

    text: str
    reward: float
    is_over: bool
    is_truncated: bool
    info: dict[str, Any]


class PuzzleEpisode:
    """A puzzle from its first text to its end, with a limit of actions.

    Args:
        game: The game.
        level: Its level.
        seed: 0 to 2**63 - 1; equal seeds give equal puzzles.
        max_actions: Actions after which it is truncated; None for four times the reference moves plus 20.

    Raises:
        EnvironmentUseError: The level is unknown or the seed out of range (LG-E131).
    """

    def __init__(self, game: Game[Any, Any], level: str, seed: int, *, max_actions: int | None = None) -> None:
        self.play = Play(game, level, seed)
        self.num_actions = 0
        self._limit = 4 * self.play.reference_moves + 20 if max_actions is None else max_actions

    @property
    def is_truncated(self) -> bool:
        """Whether the limit of actions is reached."""
        return not self.play.is_over and self.num_actions >= self._limit

    @property
    def is_ended(self) -> bool:
        """Whether no action counts any more."""
        return self.play.is_over or self.is_truncated

    def first_text(self) -> str:
        """Title, rules, commands and the board."""
        game = self.play.game
        rules = "\n".join(game.rules(self.play.puzzle))
        commands = ", ".join((*game.commands, "hint", "solve (gives up)"))
        return f"{game.title}\n{rules}\nCommands: {commands}\n\n{self.play.render()}"

    def act(self, action: str) -> Outcome:
        """Executes a move, `hint`, `show` or `solve`.

        Raises:
            EnvironmentUseError: The episode has ended (LG-E132).
        """
        play = self.play
        if self.is_ended:
            raise EnvironmentUseError("the episode has ended: call `reset`", "LG-E132")
        reply = play.act(action)
        self.num_actions += 1
        board = "" if reply.kind == "show" else f"\n\n{play.render()}"
        info = {"code": reply.code, "valid": reply.is_valid, **play.components()}
        if reply.hint is not None:
            info |= {"hint_move": reply.hint.move, "hint_reason": reply.hint.reason}
        reward = play.reward() if play.is_over else 0.0
        return Outcome(f"{reply.message}{board}", reward, play.is_over, self.is_truncated, info)

    def solution(self) -> tuple[str, ...]:
        """Moves of the exact solver from here; the player does not see them."""
        return self.play.game.solution(self.play.puzzle, self.play.position)


def check_level(level: str) -> Level:
    """The level of a name.

    Raises:
        EnvironmentUseError: There is none (LG-E131).
    """
    for known in LEVELS:
        if level == known:
            return known
    raise EnvironmentUseError(f"unknown task {level!r}; choose from {', '.join(LEVELS)}", "LG-E131")
