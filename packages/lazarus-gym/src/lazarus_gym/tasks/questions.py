"""Numbered sets of questions: a kind has a number of questions below a bound, and a question for every index."""

from collections.abc import Callable
from math import isqrt
from typing import Literal, NamedTuple, get_args

MathKind = Literal["addition", "subtraction", "multiplication", "comparison", "word_problem"]
AlgebraKind = Literal["linear_equation", "expression_value", "proportion"]
StoryKind = Literal["boxes", "journey", "times_as_many"]
ToolKind = Literal["calculator_call"]
Kind = Literal[MathKind, AlgebraKind, StoryKind, ToolKind]
KINDS: tuple[MathKind, ...] = get_args(MathKind)
"""Kinds of the family `math`."""
ALL_KINDS: tuple[Kind, ...] = (*KINDS, *get_args(AlgebraKind), *get_args(StoryKind), *get_args(ToolKind))
NAMES = ("Ana", "Ben", "Chen", "Dina", "Emil", "Fatima", "Goran", "Hana")
THINGS = ("apples", "books", "coins", "eggs", "pens", "shells")
FEWEST = 2  # the smallest number of a story: "1 apples" would be bad English


class Question(NamedTuple):
    """A question, its worked reply and the number at the end of it."""

    prompt: str
    reply: str
    answer: int


class Questions(NamedTuple):
    """The questions of a kind with numbers below a bound: their count, and the question of an index in [0, size)."""

    size: Callable[[int], int]
    ask: Callable[[int, int], Question]


def num_descending_pairs(m: int) -> int:
    """Number of pairs m > a >= c >= 0."""
    return m * (m + 1) // 2


def descending_pair(number: int) -> tuple[int, int]:
    """The pair a >= c >= 0 with the given index: (0, 0), (1, 0), (1, 1), (2, 0), ..."""
    a = (isqrt(8 * number + 1) - 1) // 2
    return a, number - num_descending_pairs(a)
