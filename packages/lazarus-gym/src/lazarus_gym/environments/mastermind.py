"""Mastermind: find a secret code by guesses; black pegs count right colours in place, white pegs right colours elsewhere.

A hint never looks at the secret: it is the first code, in a shuffled order of the seed, that agrees with all feedback. The
reference number of guesses is what a player needs who always makes that guess.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import log

from typing_extensions import override

from lazarus_gym.environments.draw import Draw
from lazarus_gym.environments.game import Game, Hint, Level, Measure, Played, numbers, usage

Code = tuple[int, ...]
SHAPES: dict[Level, tuple[int, int, int]] = {"easy": (3, 5, 8), "medium": (4, 6, 10), "hard": (5, 6, 12)}
"""Pegs, colours and guesses."""


@dataclass(frozen=True)
class Secret:
    """The secret of a seed.

    Args:
        code: The secret code.
        num_colours: Colours 1 to `num_colours`.
        num_guesses: Guesses that the rules allow.
        key: Number that decides the order of hints.
    """

    code: Code
    num_colours: int
    num_guesses: int
    key: int


class Mastermind(Game[Secret, tuple[Code, ...]]):
    """Mastermind. A position is the guesses so far."""

    name = "mastermind"
    title = "Mastermind"
    commands = ("guess COLOUR COLOUR ...",)
    is_hidden = True

    @override
    def generate(self, draw: Draw, level: Level) -> Secret:
        pegs, colours, guesses = SHAPES[level]
        return Secret(tuple(draw.between(1, colours) for _ in range(pegs)), colours, guesses, draw.below(1 << 30))

    @override
    def rules(self, puzzle: Secret) -> tuple[str, ...]:
        return (
            f"Find the secret code of {len(puzzle.code)} colours, each 1 to {puzzle.num_colours}. A colour may repeat.",
            "Black pegs: right colours in the right place. White pegs: right colours in another place.",
            f"You have {puzzle.num_guesses} guesses.",
        )

    @override
    def start(self, puzzle: Secret) -> tuple[Code, ...]:
        return ()

    @override
    def render(self, puzzle: Secret, position: tuple[Code, ...]) -> str:
        lines = [f"Guesses left: {puzzle.num_guesses - len(position)}"]
        for number, guess in enumerate(position, 1):
            black, white = feedback(puzzle.code, guess)
            lines.append(f"{number:>2} | {' '.join(map(str, guess))} | {black} black, {white} white")
        return "\n".join(lines)

    @override
    def play(self, puzzle: Secret, position: tuple[Code, ...], words: list[str]) -> Played:
        bounds = [(1, puzzle.num_colours)] * len(puzzle.code)
        found = numbers(words[1:], bounds) if words[:1] == ["guess"] else None
        if found is None:
            form = f"guess and {len(puzzle.code)} colours, each 1 to {puzzle.num_colours}"
            return usage(position, form)
        black, white = feedback(puzzle.code, tuple(found))
        return Played((*position, tuple(found)), True, "GUESSED", f"Feedback: {black} black, {white} white.")

    @override
    def hint(self, puzzle: Secret, position: tuple[Code, ...]) -> Hint | None:
        if self.is_solved(puzzle, position) or self.is_lost(puzzle, position):
            return None
        code = self._consistent(puzzle, position)
        words = " ".join(map(str, code))
        text = f"Try guessing {words}: it agrees with all feedback so far"
        return Hint(f"guess {words}", "consistent", text)

    def _consistent(self, puzzle: Secret, position: tuple[Code, ...]) -> Code:
        told = [(guess, feedback(puzzle.code, guess)) for guess in position]
        order = _order(len(puzzle.code), puzzle.num_colours, puzzle.key)
        return next(code for code in order if all(feedback(code, guess) == pegs for guess, pegs in told))

    @override
    def is_solved(self, puzzle: Secret, position: tuple[Code, ...]) -> bool:
        return bool(position) and position[-1] == puzzle.code

    @override
    def is_lost(self, puzzle: Secret, position: tuple[Code, ...]) -> bool:
        return len(position) >= puzzle.num_guesses and not self.is_solved(puzzle, position)

    @override
    def solution(self, puzzle: Secret, position: tuple[Code, ...]) -> tuple[str, ...]:
        """The guesses of a player who follows the hints."""
        guesses: list[Code] = []
        while not self.is_solved(puzzle, (*position, *guesses)):
            guesses.append(self._consistent(puzzle, (*position, *guesses)))
        return tuple(f"guess {' '.join(map(str, guess))}" for guess in guesses)

    @override
    def progress(self, puzzle: Secret, position: tuple[Code, ...]) -> float:
        """Information gained: 1 when one code is left."""
        if self.is_solved(puzzle, position) or not position:
            return float(bool(position))
        told = [(guess, feedback(puzzle.code, guess)) for guess in position]
        left = sum(all(feedback(code, guess) == pegs for guess, pegs in told) for code in _codes(puzzle))
        return 0.99 * (1 - log(left) / log(len(_codes(puzzle))))

    @override
    def measure(self, puzzle: Secret) -> Measure:
        guesses = len(self.solution(puzzle, ()))
        return Measure(min(1.0, guesses / puzzle.num_guesses), {"guesses": guesses})


@lru_cache(maxsize=1 << 16)
def feedback(code: Code, guess: Code) -> tuple[int, int]:
    """Black and white pegs of a guess.

    >>> feedback((1, 1, 2, 2), (1, 2, 1, 3))
    (1, 2)

    Args:
        code: The secret.
        guess: Colours in the same number.
    """
    black = sum(a == b for a, b in zip(code, guess, strict=True))
    return black, (Counter(code) & Counter(guess)).total() - black


def _codes(puzzle: Secret) -> list[Code]:
    return _order(len(puzzle.code), puzzle.num_colours, 0)


@lru_cache(maxsize=8)
def _order(pegs: int, colours: int, key: int) -> list[Code]:
    return Draw("mastermind order", key).shuffled(list(product(range(1, colours + 1), repeat=pegs)))
