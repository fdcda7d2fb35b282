"""Arithmetic problems as prompts, and whether a model answers them.

n = problems, L = blocks, A = tokens of an answer
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.analysis.tokens import Prompt, read_prompt
from lazarus_introspect.errors import RequestError
from lazarus_introspect.metrics import numbers
from lazarus_introspect.probing.scores import binomial_p, wilson
from lazarus_introspect.reading.lens import read_stream, streams
from lazarus_models import LoadedModel
from lazarus_models.backend import mx
from lazarus_models.vocabulary import check_ids

Ints = NDArray[np.int64]
OPERATORS: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
}
COMMUTATIVE = ("+", "*")
TEMPLATE = "{a}{op}{b}="
MAX_NUMBER = 10**9
MAX_VALUES = 40
"""Values of an operand in a grid: 1,600 prompts."""
_BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Problem:
    """Two numbers and an operator."""

    left: int
    operator: str
    right: int

    @property
    def answer(self) -> int:
        """The right answer.

        >>> Problem(7, "*", 8).answer
        56
        """
        return OPERATORS[self.operator](self.left, self.right)

    def text(self, template: str) -> str:
        """The prompt.

        Args:
            template: With `{a}`, `{op}` and `{b}`.
        """
        return template.replace("{a}", str(self.left)).replace("{op}", self.operator).replace("{b}", str(self.right))


def check_template(template: str) -> str:
    """A template, if it has all fields.

    Raises:
        RequestError: A field is missing or occurs twice.
    """
    for field in ("{a}", "{op}", "{b}"):
        if template.count(field) != 1:
            raise RequestError(f"`template` {template!r} needs {field} once: write such as {TEMPLATE}", "LI-E089")
    return template


def check_operator(operator: str, *, is_commutative: bool = False) -> str:
    """An operator, if it is known.

    Args:
        operator: Its sign.
        is_commutative: Whether it must be commutative.

    Raises:
        RequestError: It is unknown.
    """
    known = COMMUTATIVE if is_commutative else tuple(OPERATORS)
    if operator not in known:
        raise RequestError(f"`operator` {operator!r} is unknown: choose from {' '.join(known)}", "LI-E089")
    return operator


def check_values(values: Sequence[int], fewest: int = 4) -> list[int]:
    """The values of an operand, sorted and without repetition.

    Args:
        values: Numbers from 0.
        fewest: Fewest values.

    Raises:
        RequestError: There are too few or too many, or one is too large.
    """
    found = sorted(set(values))
    if not fewest <= len(found) <= MAX_VALUES or found[0] < 0 or found[-1] > MAX_NUMBER:
        raise RequestError(
            f"`values` has {len(found)} values: give {fewest} to {MAX_VALUES} from 0 to {MAX_NUMBER:,}", "LI-E089"
        )
    return found


def seeded_problems(operators: Sequence[str], digits: Sequence[int], count: int, *, seed: int) -> list[Problem]:
    """Different problems, as many for each operator and number of digits where there are as many.

    Both operands have the same number of digits; differences are not negative.

    Args:
        operators: Operators.
        digits: Numbers of digits, 1 to 9.
        count: Problems for each operator and number of digits.
        seed: Random seed.
    """
    found: list[Problem] = []
    for operator in operators:
        check_operator(operator)
        for size in digits:
            if not 1 <= size <= 9:
                raise RequestError(f"`digits` {size}: give 1 to 9", "LI-E089")
            low, high = (0 if size == 1 else 10 ** (size - 1)), 10**size
            rng = np.random.default_rng([seed, 11, tuple(OPERATORS).index(operator), size])
            pairs = (high - low) ** 2
            chosen = (
                rng.choice(pairs, min(count, pairs), replace=False) if pairs <= 10**6 else _distinct(rng, pairs, count)
            )
            for number in chosen:
                left, right = (low + int(each) for each in divmod(int(number), high - low))
                if operator == "-" and left < right:
                    left, right = right, left
                found.append(Problem(left, operator, right))
    return list(dict.fromkeys(found))


def _distinct(rng: np.random.Generator, most: int, count: int) -> list[int]:
    """Different numbers below a large bound."""
    found: dict[int, None] = {}
    while len(found) < min(count, isqrt(most)):
        found[int(rng.integers(most))] = None
    return list(found)


@dataclass(frozen=True)
class Answers:
    """Whether each layer predicts the answers, by the lens. Layer L is the model's output."""

    prompts: list[Prompt]
    answer_ids: list[tuple[int, ...]]
    ranks: list[Ints]
    """Rank of each answer token in each layer, given the tokens before it, (A, L + 1) for each problem."""
    margins: NDArray[np.float64]
    """Logit of the first answer token minus the largest other one, model's output, (n,)."""
    tops: Ints
    """The most probable first token, (n,)."""

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether a layer predicts all tokens of the answer, (n, L + 1)."""
        return np.stack([(ranks == 1).all(axis=0) for ranks in self.ranks])

    @property
    def emergence(self) -> list[int | None]:
        """The layer from which on all tokens of the answer keep rank 1; None for wrong answers."""
        found: list[int | None] = []
        for ranks in self.ranks:
            is_right = (ranks == 1).all(axis=0)
            wrong = np.flatnonzero(~is_right)
            first = int(wrong[-1]) + 1 if len(wrong) else 0
            found.append(first if first < len(is_right) else None)
        return found


def answer_problems(lm: LoadedModel, problems: Sequence[Problem], template: str) -> Answers:
    """Reads the lens at the answers of problems; the answer is fed token by token, as greedy decoding would if it is right.

    Args:
        lm: The model.
        problems: Problems, at least one.
        template: The prompt; see `Problem.text`.
    """
    tokenizer = lm.tokenizer.continuation or lm.tokenizer
    prompts = [read_prompt(lm, each.text(template), raw=True) for each in problems]
    answers = [tuple(tokenizer.encode(str(each.answer))) for each in problems]
    for answer in answers:
        check_ids(answer, lm.config.vocab_size, "the answer")
    rows = [(*prompt.ids, *answer[:-1]) for prompt, answer in zip(prompts, answers, strict=True)]
    ranks: list[Ints] = [np.zeros((0, 0), np.int64)] * len(rows)
    margins, tops = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    by_length: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(place)
    for length, places in by_length.items():
        size = max(1, _BATCH_TOKENS // length)
        for start in range(0, len(places), size):
            batch = places[start : start + size]
            where = [
                (row, len(prompts[place].ids) - 1 + k)
                for row, place in enumerate(batch)
                for k in range(len(answers[place]))
            ]
            targets = mx.array([token for place in batch for token in answers[place]])
            by_layer: list[Any] = []
            final = np.zeros((0, 0))
            for stream in streams(lm, [list(rows[place]) for place in batch]).values():
                read = stream[mx.array([row for row, _ in where]), mx.array([at for _, at in where])]
                logits = read_stream(lm, read).astype(mx.float32)
                own = mx.take_along_axis(logits, targets[:, None], axis=1)
                by_layer.append(np.array(1 + (logits > own).sum(axis=1)))
                final = numbers(logits)  # of the last stream in the end: the model's output
            found, at = np.stack(by_layer, axis=1), 0
            for place in batch:
                ranks[place] = found[at : at + len(answers[place])]
                own_logit = final[at, answers[place][0]]
                tops[place] = int(final[at].argmax())
                others = np.delete(final[at], answers[place][0])
                margins[place] = own_logit - others.max()
                at += len(answers[place])
    return Answers(prompts, answers, ranks, margins, tops)


class Share(Frozen):
    """A share of right answers, with its interval and baseline."""

    right: int
    total: int
    share: float
    low: float
    """95 % interval (Wilson)."""
    high: float
    baseline: float
    """Share that the best of three strategies reaches: one constant answer, the left operand, the right operand."""
    p: float
    """Probability of as many right answers at the baseline's rate (exact binomial)."""


def share_of(is_right: Sequence[bool] | NDArray[np.bool_], problems: Sequence[Problem]) -> Share:
    """The share of right answers against the baseline of the same problems, operator by operator.

    Args:
        is_right: Whether each answer is right.
        problems: The problems.
    """
    right, total = int(np.sum(is_right)), len(problems)
    low, high = wilson(right, total)
    chance = baseline_of(problems)
    return Share(
        right=right,
        total=total,
        share=right / total,
        low=low,
        high=high,
        baseline=chance,
        p=binomial_p(right, total, chance),
    )


def baseline_of(problems: Sequence[Problem]) -> float:
    """The share of right answers of the best strategy without arithmetic, chosen for each operator.

    >>> baseline_of([Problem(1, "*", 2), Problem(1, "*", 3), Problem(2, "*", 3)])
    0.6666666666666666
    """
    hits = 0
    for operator in {each.operator for each in problems}:
        own = [each for each in problems if each.operator == operator]
        answers = [each.answer for each in own]
        constant = max(map(answers.count, answers))
        copies = (sum(each.answer == getattr(each, side) for each in own) for side in ("left", "right"))
        hits += max(constant, *copies)
    return hits / len(problems)


def analyzer_of(model: Any) -> ModelAnalyzer:
    """The analyzer of a model, or the one that was given.

    Args:
        model: A `ModelAnalyzer`, or what `lazarus_models.load` returns.
    """
    return model if isinstance(model, ModelAnalyzer) else ModelAnalyzer(model)
