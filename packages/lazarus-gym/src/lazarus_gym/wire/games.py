"""The games of the public puzzle servers: our names, the ids on the wire, and the titles in replies."""

from dataclasses import dataclass
from enum import StrEnum

from lazarus_core.plugins import near_name
from lazarus_gym.errors import WireError


class PuzzleDifficulty(StrEnum):
    """Levels of every game."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


class PuzzleGame(StrEnum):
    """Games that a server may offer; the last six are of `chuk-puzzles-gym` only."""

    SUDOKU = "sudoku"
    KENKEN = "kenken"
    KAKURO = "kakuro"
    BINARY = "binary"
    FUTOSHIKI = "futoshiki"
    NONOGRAM = "nonogram"
    LOGIC_GRID = "logic_grid"
    KILLER_SUDOKU = "killer_sudoku"
    LIGHTS_OUT = "lights_out"
    MASTERMIND = "mastermind"
    SLITHERLINK = "slitherlink"
    BRIDGES = "bridges"
    HITORI = "hitori"
    SHIKAKU = "shikaku"
    HIDATO = "hidato"
    TENTS = "tents"
    FILLOMINO = "fillomino"
    STAR_BATTLE = "star_battle"
    SOKOBAN = "sokoban"
    KNAPSACK = "knapsack"
    SCHEDULER = "scheduler"
    NURIKABE = "nurikabe"
    EINSTEIN = "einstein"
    MINESWEEPER = "minesweeper"
    SKYSCRAPERS = "skyscrapers"
    NQUEENS = "nqueens"
    NUMBERLINK = "numberlink"
    GRAPH_COLORING = "graph_coloring"
    CRYPTARITHMETIC = "cryptarithmetic"
    RUSH_HOUR = "rush_hour"

    @property
    def wire_id(self) -> str:
        """The id that the menu of a server accepts."""
        return _WIRE_IDS.get(self, self.value)


@dataclass(frozen=True)
class NamedGame:
    """A game of a server that is none of `PuzzleGame`; its name is its id on the wire."""

    value: str

    @property
    def wire_id(self) -> str:
        """The id that the server accepts."""
        return self.value


Game = PuzzleGame | NamedGame


def game_of(name: str) -> Game:
    """The puzzle with exactly this name, or else a game that has it.

    >>> game_of("sudoku"), game_of("echo")
    (<PuzzleGame.SUDOKU: 'sudoku'>, NamedGame(value='echo'))
    """
    return PuzzleGame(name) if name in tuple(PuzzleGame) else NamedGame(name)


_WIRE_IDS = {
    PuzzleGame.LOGIC_GRID: "logic",
    PuzzleGame.KILLER_SUDOKU: "killer",
    PuzzleGame.LIGHTS_OUT: "lights",
    PuzzleGame.SLITHERLINK: "slither",
}
_TITLES = {
    "binary puzzle": PuzzleGame.BINARY,
    "tents and trees": PuzzleGame.TENTS,
    "task scheduler": PuzzleGame.SCHEDULER,
    "einstein's puzzle": PuzzleGame.EINSTEIN,
    "n-queens": PuzzleGame.NQUEENS,
}


def find_puzzle(name: str) -> PuzzleGame:
    """The game of a name, an id on the wire or a title.

    >>> find_puzzle("logic"), find_puzzle("Lights Out"), find_puzzle("binary puzzle")
    (<PuzzleGame.LOGIC_GRID: 'logic_grid'>, <PuzzleGame.LIGHTS_OUT: 'lights_out'>, <PuzzleGame.BINARY: 'binary'>)

    Raises:
        WireError: There is no such game (LG-E144).
    """
    word = name.strip().lower()
    for game in PuzzleGame:
        if word.replace(" ", "_").replace("-", "_") in (game.value, game.wire_id):
            return game
    if word in _TITLES:
        return _TITLES[word]
    known = [game.value for game in PuzzleGame]
    raise WireError(f"unknown puzzle {name!r}{near_name(name, known)}; there are {', '.join(known)}", "LG-E144")
