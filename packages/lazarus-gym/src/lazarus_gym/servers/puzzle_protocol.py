"""The puzzle protocol, server side: the state of one connection, from a line to the lines of its reply.

The grammar is that of the public puzzle servers, so their clients can play. Five things differ: `solve` forfeits the
puzzle, `reset` keeps the counters, games whose moves reveal what is hidden have no `reset`, `optimal_steps` is the number known at
the start, and a wrong difficulty or seed in the menu is refused.
"""

import json
from typing import TYPE_CHECKING, Any

from lazarus_gym.environments import GAMES, LEVELS, Play
from lazarus_gym.errors import EnvironmentUseError

if TYPE_CHECKING:
    from collections.abc import Callable

MODES = ("normal", "agent", "compact", "strict", "natural", "json")
HINT_BUDGET = 100
RULE = "=" * 50
WIRE_IDS = {"lights_out": "lights"}
"""Ids of games whose name differs from the id of the public servers."""
_MENU_UNKNOWN = "Unknown command. Type 'help' to see available options."


class PuzzleConnection:
    """One connection. The mode stays when a game is left."""

    def __init__(self) -> None:
        self.is_closed = False
        self.play: Play | None = None
        """The game that is played; None in the menu."""
        self._mode = "normal"
        self._commands: dict[str, Callable[[Play], list[str]]] = {
            "show": self._show,
            "s": self._show,
            "hint": self._hint,
            "check": self._check,
            "solve": self._solve,
            "reset": self._reset,
            "stats": self._stats,
            "compare": self._compare,
            "seed": self._seed,
            "help": self._help,
            "h": self._help,
        }

    def menu(self) -> list[str]:
        """The lines that a client sees first."""
        games = [
            f"  {number}) {game.title:<15} - {_id(game.name)}: {'; '.join(game.commands)}"
            for number, game in enumerate(GAMES.values(), 1)
        ]
        return [
            RULE,
            "LAZARUS GYM: embedded puzzles",
            RULE,
            "Select a game:",
            *games,
            "Commands:",
            "  <number> [difficulty] [seed]  - start a game by its number",
            "  <id> [difficulty] [seed]      - start a game by its id",
            "  help                          - this menu",
            "  quit                          - end the connection",
            "Examples:",
            "  sudoku hard 12345             - the same puzzle on every machine",
            RULE,
            "",
        ]

    def reply(self, line: str) -> list[str]:
        """The lines that answer a line."""
        words = line.split()
        if not words:
            return []
        verb = words[0].lower()
        if verb in ("quit", "exit", "q"):
            self.is_closed = True
            return ["Goodbye!"]
        if self.play is None:
            return self._in_menu(words)
        if verb in ("menu", "m"):
            self.play = None
            return self.menu()
        if verb == "mode":
            return self._set_mode(words[1:])
        if verb in self._commands:
            return self._commands[verb](self.play)
        if verb not in self.play.verbs:
            return [f"Unknown command {words[0]!r}. Type 'help' for available commands."]
        return self._move(self.play, line)

    def _in_menu(self, words: list[str]) -> list[str]:
        names = {name: name for name in GAMES} | {_id(name): name for name in GAMES}
        names |= {str(number): name for number, name in enumerate(GAMES, 1)}
        name, rest = names.get(words[0].lower()), words[1:]
        if words[0].lower() == "help":
            return self.menu()
        if name is None and words[0].isascii() and words[0].isdigit():
            return [f"Invalid game number. Choose 1-{len(GAMES)}."]
        if name is None or len(rest) > 2:
            return [_MENU_UNKNOWN]
        level = rest.pop(0).lower() if len(rest) == 2 or (rest and not rest[0].isdigit()) else LEVELS[0]
        if level not in LEVELS:
            return [f"Invalid difficulty. Choose from: {', '.join(LEVELS)}"]
        if rest and not (rest[0].isascii() and rest[0].isdigit() and len(rest[0]) < 20):
            return ["Invalid seed. Give a whole number."]
        try:
            play = Play(GAMES[name], level, int(rest[0]) if rest else _free_seed())
        except EnvironmentUseError:
            return ["Invalid seed. Give a whole number below 2**63."]
        self.play = play
        head = [RULE, f"{play.game.title.upper()} - {level.upper()} MODE", f"Seed: {play.seed}", RULE]
        commands = f"Commands: {'; '.join(play.game.commands)}"
        rules = [f"- {each}" for each in (*play.game.rules(play.puzzle), commands)]
        return [*head, *rules, "Type 'help' for commands or 'hint' for a clue.", RULE, *self._board(play)]

    def _set_mode(self, words: list[str]) -> list[str]:
        if len(words) != 1 or words[0].lower() not in MODES:
            return [f"Invalid mode. Choose from: {', '.join(MODES)}"]
        self._mode = words[0].lower()
        if self._mode == "json":
            return [_json({"type": "mode", "mode": "json", "success": True})]
        return [f"OK:MODE={self._mode}" if self._mode == "strict" else f"Output mode set to: {self._mode}"]

    def _move(self, play: Play, line: str) -> list[str]:
        reply = play.act(line)
        if self._mode == "json":
            result = {"type": "result", "success": reply.is_valid, "code": reply.code, "message": reply.message}
            lines = [_json({**result, "state": _state(play)})]
            if reply.is_valid:
                lines += self._show(play)
            return lines + ([_complete(play)] if play.is_solved and reply.is_valid else [])
        if self._mode == "strict":
            return [f"{'OK' if reply.is_valid else 'ERR'}:{reply.code}"]
        return [reply.message, *(["The puzzle is solved."] if play.is_solved and reply.is_valid else [])]

    def _board(self, play: Play) -> list[str]:
        counts = f"Moves made: {play.moves} | Invalid: {play.invalid_moves} | Seed: {play.seed}"
        return [RULE, *play.render().split("\n"), counts, RULE]

    def _show(self, play: Play) -> list[str]:
        board = play.render()
        if self._mode == "json":
            return [_json({**_state(play), "type": "observation", "grid_display": board})]
        if self._mode == "strict":
            state = "complete" if play.is_solved else "over" if play.is_over else "active"
            return [f"STATE:{play.game.title}:{play.level}:{play.seed}:{play.moves}:{state}", *board.split("\n")]
        if self._mode == "agent":
            head = ["---GAME-START---", f"GAME: {play.game.title}", f"DIFFICULTY: {play.level}", f"MOVES: {play.moves}"]
            return [*head, "---GRID-START---", *board.split("\n"), "---GRID-END---", "---GAME-END---"]
        return self._board(play)

    def _hint(self, play: Play) -> list[str]:
        head = "HINT:" if self._mode == "strict" else "Hint: "
        if play.hints_used >= HINT_BUDGET:
            return [f"{head}none is left"]
        reply = play.act("hint")
        return [f"{head}{reply.message}"]

    def _check(self, play: Play) -> list[str]:
        if self._mode == "strict":
            counts = f"{play.moves}:{play.invalid_moves}:{play.hints_used}"
            return [f"COMPLETE:{counts}" if play.is_solved else f"INCOMPLETE:{play.moves}"]
        if play.is_solved:
            return [_complete(play) if self._mode == "json" else "The puzzle is solved."]
        if play.is_over:
            return ["The game is over without a solution."]
        return [f"The puzzle is not solved yet. Moves made: {play.moves}, finished: {play.progress:.0%}"]

    def _solve(self, play: Play) -> list[str]:
        reply = play.act("solve")
        if self._mode == "json":
            result = {"type": "result", "success": reply.is_valid, "code": reply.code, "message": reply.message}
            return [_json({**result, "state": _state(play)})]
        return [f"{'OK' if reply.is_valid else 'ERR'}:{reply.code}" if self._mode == "strict" else reply.message]

    def _reset(self, play: Play) -> list[str]:
        if not play.reset():
            return self._no_reset(play)
        if self._mode == "json":
            result = {"type": "result", "success": True, "code": "RESET", "message": "The board is at its start."}
            return [_json({**result, "state": _state(play)}), *self._show(play)]
        return ["OK:RESET" if self._mode == "strict" else "The board is at its start. Counters stay."]

    def _no_reset(self, play: Play) -> list[str]:
        message = "Reset not available: what moves revealed cannot be hidden again."
        if self._mode == "json":
            result = {"type": "result", "success": False, "code": "INVALID_MOVE", "message": message}
            return [_json({**result, "state": _state(play)})]
        return ["ERR:INVALID_MOVE" if self._mode == "strict" else message]

    def _stats(self, play: Play) -> list[str]:
        if self._mode == "json":
            return [_json({"type": "stats", **{k: v for k, v in _state(play).items() if k != "grid"}})]
        if self._mode == "strict":
            return [f"STATS:{play.moves}:{play.invalid_moves}:{play.hints_used}:{play.reference_moves}"]
        return [f"{name}: {value}" for name, value in play.components().items()]

    def _compare(self, play: Play) -> list[str]:
        parts = play.components()
        efficiency, errors = parts["efficiency"], parts["invalid_share"]
        if self._mode == "json":
            members = {
                "type": "comparison",
                "complete": play.is_solved,
                "your_moves": play.moves,
                "optimal_moves": play.reference_moves,
                "efficiency": efficiency,
                "invalid_moves": play.invalid_moves,
                "error_rate": errors,
                "hints_used": play.hints_used,
            }
            return [_json(members)]
        if self._mode == "strict":
            state = "complete" if play.is_solved else "incomplete"
            return [f"COMPARE:{state}:{play.moves}:{play.reference_moves}:{efficiency:.3f}:{errors:.3f}"]
        return [
            f"Your moves: {play.moves}",
            f"Reference moves: {play.reference_moves}",
            f"Efficiency: {efficiency:.1%}",
        ]

    def _seed(self, play: Play) -> list[str]:
        return [f"Seed: {play.seed}. Play it again: {_id(play.game.name)} {play.level} {play.seed}"]

    def _help(self, play: Play) -> list[str]:
        general = "show, hint, check, solve (gives up), reset, stats, compare, seed, mode <mode>, menu, quit"
        return [
            f"{play.game.title}: {', '.join(play.game.commands)}",
            f"General: {general}",
            f"Modes: {', '.join(MODES)}",
        ]


def _id(name: str) -> str:
    return WIRE_IDS.get(name, name)


def _free_seed() -> int:
    """A seed for a client that named none."""
    import secrets

    return secrets.randbelow(1_000_000)


def _state(play: Play) -> dict[str, Any]:
    grid = play.game.grid(play.puzzle, play.position)
    return {
        "game": play.game.title,
        "difficulty": play.level,
        "seed": play.seed,
        "moves": play.moves,
        "invalid_moves": play.invalid_moves,
        "hints_used": play.hints_used,
        "hints_remaining": max(0, HINT_BUDGET - play.hints_used),
        "optimal_steps": play.reference_moves,
        "is_complete": play.is_solved,
        "is_over": play.is_over,
        "difficulty_profile": {"score": round(play.measure.score, 4), **play.measure.counts},
        "grid": grid,
    }


def _complete(play: Play) -> str:
    members = {
        "type": "complete",
        "success": True,
        "game": play.game.title,
        "moves": play.moves,
        "invalid_moves": play.invalid_moves,
        "hints_used": play.hints_used,
        "optimal_steps": play.reference_moves,
    }
    return _json(members)


def _json(members: dict[str, Any]) -> str:
    return json.dumps(members, separators=(",", ":"))
