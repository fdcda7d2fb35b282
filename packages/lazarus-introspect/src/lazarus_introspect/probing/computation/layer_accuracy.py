"""Arithmetic by layer: from which layer on the lens reads the right answer.

A layer is right if the lens predicts every token of the answer, each given the tokens before it.
"""

from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.errors import RequestError
from lazarus_introspect.pictures import Part, bars, lines
from lazarus_introspect.probing.computation.problems import (
    TEMPLATE,
    Share,
    answer_problems,
    check_template,
    seeded_problems,
    share_of,
)
from lazarus_introspect.probing.findings import LEVEL, PromptSetResult, about_set
from lazarus_introspect.statistics import benjamini_hochberg


class ArithmeticConfig(Frozen):
    """Settings of arithmetic by layer."""

    operators: tuple[str, ...] = ("+", "-", "*")
    digits: tuple[int, ...] = (1, 2)
    """Numbers of digits of both operands, 1 to 9."""
    count: Annotated[int, Field(ge=1, le=1000)] = 40
    """Problems for each operator and number of digits."""
    template: str = TEMPLATE
    """Prompt with {a}, {op} and {b}; it is a text to continue."""
    seed: NonNegativeInt = 0
    """Random seed of the problems."""


class Cell(Frozen):
    """The problems of one operator and number of digits."""

    operator: str
    digits: int
    accuracy: Share
    q: float
    """p-value against the baseline, corrected over the cells."""


class Emergence(Frozen):
    """Layers from which on the right answer keeps rank 1, over the problems that the model answers."""

    problems: int
    first: int
    lower_quartile: float
    median: float
    upper_quartile: float
    last: int


class ArithmeticResult(PromptSetResult):
    """Accuracy of each layer, and of the model by operator and digits."""

    answers: tuple[int, ...]
    is_right: tuple[bool, ...]
    """Whether the model's output has each answer."""
    layers: tuple[Share, ...]
    """Accuracy of the lens from layer 0 to L, the model's output."""
    cells: tuple[Cell, ...]
    overall: Share
    emergence: Emergence | None
    """None if no answer is right."""
    emergence_layers: tuple[int | None, ...]
    """For each problem; None for wrong answers."""
    has_evidence: bool
    """Whether the model is above the baseline over all problems."""
    conclusion: str

    def pictures(self) -> list[Part]:
        """The accuracy of the lens over the layers, and that of the model by operator and digits."""
        layers = {
            "accuracy": [each.share for each in self.layers],
            "interval, low": [each.low for each in self.layers],
            "interval, high": [each.high for each in self.layers],
            "baseline": [each.baseline for each in self.layers],
        }
        cells = {
            f"{each.operator} {each.digits} digits (baseline {each.accuracy.baseline:.2f}, q {each.q:.2g})": each.accuracy.share
            for each in self.cells
        }
        return [
            lines("Right answers by layer", layers, unit="share", note=f"Conclusion: {self.conclusion}."),
            bars("Right answers of the model", cells, unit="share"),
        ]


def arithmetic(analyzer: ModelAnalyzer, config: ArithmeticConfig | None = None) -> ArithmeticResult:
    """The accuracy of every layer on seeded problems.

    Args:
        analyzer: The model.
        config: Settings; None for the defaults.

    Raises:
        RequestError: An operator or number of digits is invalid, or the template lacks a field.
    """
    config = config or ArithmeticConfig()
    check_template(config.template)
    if not config.operators or not config.digits:
        raise RequestError("`operators` or `digits` is empty: give at least one of each", "LI-E089")
    problems = seeded_problems(config.operators, config.digits, config.count, seed=config.seed)
    answers = answer_problems(analyzer.lm, problems, config.template)
    is_right = answers.is_right
    keys = [(each.operator, max(len(str(each.left)), len(str(each.right)))) for each in problems]
    shares = {
        key: share_of(
            is_right[[own == key for own in keys], -1],
            [problem for problem, own in zip(problems, keys, strict=True) if own == key],
        )
        for key in dict.fromkeys(keys)
    }
    q = benjamini_hochberg(np.array([each.p for each in shares.values()]))
    overall = share_of(is_right[:, -1], problems)
    layers = answers.emergence
    found = np.array([each for each in layers if each is not None])
    emergence = None
    if len(found):
        quartiles = [float(each) for each in np.quantile(found, [0.25, 0.5, 0.75])]
        emergence = Emergence(
            problems=len(found),
            first=int(found.min()),
            lower_quartile=quartiles[0],
            median=quartiles[1],
            upper_quartile=quartiles[2],
            last=int(found.max()),
        )
    can = overall.p <= LEVEL
    return ArithmeticResult(
        **about_set(analyzer, "arithmetic", answers.prompts, config.model_dump(mode="json")),
        answers=tuple(each.answer for each in problems),
        is_right=tuple(bool(each) for each in is_right[:, -1]),
        layers=tuple(share_of(is_right[:, layer], problems) for layer in range(is_right.shape[1])),
        cells=tuple(
            Cell(operator=operator, digits=digits, accuracy=share, q=float(q[place]))
            for place, ((operator, digits), share) in enumerate(shares.items())
        ),
        overall=overall,
        emergence=emergence,
        emergence_layers=tuple(layers),
        has_evidence=can,
        conclusion="the answers are above the baseline"
        if can
        else "no evidence: the answers are not above the baseline",
    )
