"""Thresholds and grades of scores, from a TOML or JSON file.

[[threshold]]
task = "choice:*"                        # name of a task; * matches any text
metric = "acc"
at_least = 0.3                           # or at_most; the check of `--fail-below`
bound = "interval"                       # the worse end of the interval instead of the value
grades = { A = 0.7, B = 0.5, C = 0.3 }   # from the best to the worst
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from lazarus_core.settings import read_settings
from lazarus_models.config.huggingface import in_words
from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.report import EvaluationReport
from lazarus_models.evaluation.scores import Score

UNUSABLE = "LM-E508"
Grade = Annotated[str, Field(min_length=1, max_length=40)]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]


class Threshold(BaseModel, frozen=True):
    """Limits of a metric."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    task: Pattern = "*"
    """Names of the tasks; `*` matches any text."""
    metric: Pattern
    """Name of the metric."""
    at_least: FiniteFloat | None = None
    """Smallest value that passes."""
    at_most: FiniteFloat | None = None
    """Largest value that passes."""
    bound: Literal["value", "interval"] = "value"
    """What is compared: the value, or the worse end of its interval."""
    grades: Annotated[dict[Grade, FiniteFloat], Field(max_length=100)] = Field(default_factory=dict[str, float])
    """Worst value of each grade, from the best grade to the worst."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.at_least is None and self.at_most is None and not self.grades:
            raise ValueError("a threshold needs `at_least`, `at_most` or `grades`")
        steps = [later - earlier for earlier, later in pairwise(self.grades.values())]
        if steps and not (all(step < 0 for step in steps) or all(step > 0 for step in steps)):
            raise ValueError("`grades` must rise or fall from the best to the worst")
        return self

    def matches(self, score: Score) -> bool:
        """Whether the threshold is one of a score."""
        return score.metric == self.metric and fnmatchcase(score.task, self.task)

    def passes(self, score: Score) -> bool:
        """Whether a score is within `at_least` and `at_most`."""
        low, high = self._ends(score)
        return (self.at_least is None or low >= self.at_least) and (self.at_most is None or high <= self.at_most)

    def grade(self, score: Score) -> str | None:
        """The best grade that a score reaches; None for none.

        Raises:
            EvaluationError: The grades go from the worst to the best.
        """
        low, high = self._ends(score)
        is_rising = score.better == "lower"  # of a loss, the best grade has the smallest limit
        limits = list(self.grades.values())
        if score.better != "neither" and len(limits) > 1 and (limits[0] < limits[-1]) != is_rising:
            raise EvaluationError(
                f"`grades` of `{self.metric}` go from the worst to the best, for a {score.better} value is better: turn their order",
                UNUSABLE,
            )
        reached = (name for name, limit in self.grades.items() if (high <= limit if is_rising else low >= limit))
        return next(reached, None)

    def _ends(self, score: Score) -> tuple[float, float]:
        if self.bound == "value" or score.low is None or score.high is None:
            return score.value, score.value
        return score.low, score.high


class Thresholds(BaseModel, frozen=True):
    """The file of thresholds."""

    model_config = ConfigDict(extra="forbid")

    threshold: Annotated[tuple[Threshold, ...], Field(min_length=1, max_length=10_000)]

    def grade(self, score: Score) -> str | None:
        """The grade of a score by the first threshold with grades that matches; None for none."""
        found = (each for each in self.threshold if each.grades and each.matches(score))
        first = next(found, None)
        return None if first is None else first.grade(score)


def load_thresholds(path: Path) -> Thresholds:
    """Reads a file of thresholds.

    Args:
        path: TOML if its name ends with `.toml`, else a JSON object.

    Raises:
        EvaluationError: A value is missing, unknown or out of range.
        InputError: The file cannot be read.
        OSError: The system refuses.
    """
    try:
        return Thresholds.model_validate(read_settings(path).tree)
    except ValidationError as error:
        raise EvaluationError(f"{path}: {in_words(error)}; correct the thresholds", UNUSABLE) from error


def failures(reports: Sequence[EvaluationReport], thresholds: Thresholds, place: str) -> list[str]:
    """The scores that do not pass, each in one line.

    Args:
        reports: The reports.
        thresholds: The thresholds.
        place: The file, for messages.

    Raises:
        EvaluationError: A limit matches no score of a report. A check of nothing would always pass.
    """
    found: list[str] = []
    for number, each in enumerate(thresholds.threshold, 1):
        if each.at_least is None and each.at_most is None:
            continue
        for report in reports:
            matching = [score for score in report.scores if each.matches(score)]
            if not matching:
                raise EvaluationError(
                    f"{place}: threshold {number} matches no score: there is no `{each.metric}` of {each.task!r}; correct it",
                    UNUSABLE,
                )
            found += [_failure(each, score) for score in matching if not each.passes(score)]
    return found


def _failure(threshold: Threshold, score: Score) -> str:
    limits = {"at least": threshold.at_least, "at most": threshold.at_most}
    wanted = " and ".join(f"{words} {limit:g}" for words, limit in limits.items() if limit is not None)
    ends = "" if score.low is None or score.high is None else f" ({score.low:.4g} to {score.high:.4g})"
    by = " by the worse end of its interval" if threshold.bound == "interval" else ""
    return f"{score.task}: {score.metric} is {score.value:.4g}{ends}; it must be {wanted}{by}"
