"""Exact answers of grade-school maths problems in the form of GSM8K: rows with `question` and `answer`.

The right answer is the number after the last `####` of `answer`, or `answer` if it is a number. The model's answer is the number
after its last `####`, otherwise its last number. Numbers are compared as fractions: `1,200.0` equals `1200`.

| metric | definition | baseline |
|---|---|---|
| `exact_match` | share of right answers | the most frequent answer of this data, always |
| `answered` | share of answers with a number | 0: empty answers |
| `ended` | share of answers that the model ended itself | a model that draws every token with equal probability |
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import entry_points
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from lazarus_core.plugins import PluginGroup, near_name
from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.answers import Asked, PromptStyle, answers_to, random_end
from lazarus_models.evaluation.data import bad_row, row_ids, rows_of, sampled, text_of
from lazarus_models.evaluation.task import Item, Metric, Subject, Task, TaskResult, TaskSettings
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_tokenkit import Message
from lazarus_tokenkit.samples import PlacedRow

FINAL = "final-number"
"""The scorer of this package."""
NUMBER = re.compile(
    r"(?:(?<![\w.)])[-\u2212])?[$\u20ac\u00a3]?"  # the minus of 10-5 is no sign
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\d.])\.\d+)(?:/\d+)?"
)
_PLAIN = str.maketrans({"\u2212": "-", **dict.fromkeys(",$\u20ac\u00a3")})
MAX_DIGITS = 100
"""Longer numbers are no answers."""
SCORERS = PluginGroup(
    "lazarus.scorers",
    "scorer",
    "a callable whose result has a method `score`",
    callable,
    EvaluationError,
    "LM-E506",
)


class Gsm8kSettings(TaskSettings, frozen=True):
    """Exact answers of maths problems."""

    kind: Literal["gsm8k"] = "gsm8k"
    prompt_style: PromptStyle = "auto"
    """`chat` uses the chat template, `raw` continues `Question: ... Answer:`; `auto` uses the template if there is one."""
    shots: Annotated[int, Field(ge=0, le=64)] = 0
    """Worked examples before each problem."""
    shots_data: Path | None = None
    """File whose first rows are the examples. Needed with `shots`, so that no problem is its own example."""
    max_new_tokens: Annotated[int, Field(ge=1, le=1 << 17)] = 320
    """Largest number of tokens of an answer."""
    scorer: str = FINAL
    """`final-number`, or the name of an installed scorer (entry points `lazarus.scorers`)."""


class Problem(NamedTuple):
    """A maths problem.

    Args:
        id: Unique in the data.
        row: The row.
        question: Its text.
        worked: The worked answer.
        answer: The right number.
    """

    id: str
    row: PlacedRow
    question: str
    worked: str
    answer: Fraction


@dataclass(frozen=True)
class ScoredAnswer:
    """An answer, as scorers of the group `lazarus.scorers` receive it."""

    prompt: str
    completion: str
    row: Mapping[str, Any]
    reference: str | None = None


def solve_gsm8k(subject: Subject, settings: Gsm8kSettings) -> TaskResult:
    """Evaluates exact answers.

    Args:
        subject: The model.
        settings: Data, examples and prompts.

    Raises:
        EvaluationError: A row has no number as its answer, a prompt exceeds the context, or the scorer cannot be used.
    """
    scorer = None if settings.scorer == FINAL else load_scorer(settings.scorer)
    problems = sampled(read_problems(settings.data), settings)
    asked = [_asked(each, _examples(settings)) for each in problems]
    config = GenerationConfig(max_new_tokens=settings.max_new_tokens, stop=("\nQuestion:",))
    answers = answers_to(subject, asked, config, settings.prompt_style)
    found = [final_number(each.text) for each in answers]
    right: Sequence[float | None] = [
        float(number == problem.answer) for number, problem in zip(found, problems, strict=True)
    ]
    if scorer is not None:
        scored = [
            ScoredAnswer(one.text, answer.text, problem.row.members, problem.worked)
            for one, answer, problem in zip(asked, answers, problems, strict=True)
        ]
        right = verdicts(scorer, settings.scorer, scored)
    unscored = sum(each is None for each in right)
    items = [
        Item(
            problem.id,
            {
                "exact_match": (reward or 0.0, 1.0),
                "answered": (float(number is not None), 1.0),
                "ended": (float(answer.finish_reason == "stop"), 1.0),
            },
            {"answer": answer.text, "number": None if number is None else str(number), "right": str(problem.answer)},
        )
        for problem, answer, number, reward in zip(problems, answers, found, right, strict=True)
    ]
    majority = max(Counter(each.answer for each in problems).values()) / len(problems)
    is_binary = all(each in (None, 0.0, 1.0) for each in right)
    metrics = [
        Metric("exact_match", "proportion" if is_binary else "mean", "higher", majority, "majority"),
        Metric("answered", "proportion", "higher", 0.0, "empty answer"),
        Metric("ended", "proportion", "higher", random_end(subject.model, settings.max_new_tokens), "random"),
    ]
    return TaskResult(metrics, items, "problems", {"without_verdict": unscored} if unscored else {})


def read_problems(path: Path) -> list[Problem]:
    """The problems of a data file.

    Raises:
        EvaluationError: A row has no question, or no number as its answer.
    """
    rows = rows_of(path)
    return [_problem(row, name) for row, name in zip(rows, row_ids(rows), strict=True)]


def final_number(text: str) -> Fraction | None:
    """The number after the last `####` of an answer, otherwise its last number; None without a number.

    >>> final_number("3 + 4 = 7, so she has $1,200.50."), final_number("#### 5 apples of 9")
    (Fraction(2401, 2), Fraction(5, 1))
    """
    _, mark, after = text.rpartition("####")
    if mark and (first := NUMBER.search(after)):
        return _number(first[0])
    last: str | None = None
    for each in NUMBER.finditer(text):
        last = each[0]
    return None if last is None else _number(last)


def load_scorer(name: str) -> Any:
    """The scorer of a name.

    Raises:
        EvaluationError: No package provides it, or it has no method `score`.
    """
    plugin = SCORERS.load(name)
    if plugin is None:
        known = sorted({FINAL, *(each.name for each in entry_points(group=SCORERS.group) if each.name != "toml")})
        raise EvaluationError(
            f"there is no scorer {name!r}{near_name(name, known)}; there are {', '.join(known)}", SCORERS.code
        )
    scorer = plugin.value()
    if not callable(getattr(scorer, "score", None)):
        raise EvaluationError(f"the scorer {name!r} of {plugin.package} has no method `score`", SCORERS.code)
    return scorer


def verdicts(scorer: Any, name: str, answers: Sequence[ScoredAnswer]) -> list[float | None]:
    """The reward of each answer; None without a verdict, which counts as wrong.

    Args:
        scorer: An object with `score`.
        name: Its name, for messages.
        answers: The answers.

    Raises:
        EvaluationError: It gave another number of verdicts, something else than verdicts, or a reward outside 0 to 1.
    """
    found = list(scorer.score(answers))
    if len(found) != len(answers):
        raise EvaluationError(
            f"the scorer {name!r} gave {len(found)} verdicts for {len(answers)} answers", SCORERS.code
        )
    try:
        rewards = [None if each.reward is None or each.status != "ok" else float(each.reward) for each in found]
    except (AttributeError, TypeError, ValueError) as error:
        raise EvaluationError(
            f"the scorer {name!r} gave {found[0]!r:.80} first; give verdicts with `reward` and `status`", SCORERS.code
        ) from error
    wrong = next((each for each in rewards if each is not None and not (isfinite(each) and 0 <= each <= 1)), None)
    if wrong is not None:
        raise EvaluationError(f"the scorer {name!r} gave the reward {wrong}; it must be 0 to 1", SCORERS.code)
    return rewards


def _number(text: str) -> Fraction | None:
    plain = text.translate(_PLAIN)
    if len(plain) > MAX_DIGITS:
        return None
    try:
        return (
            Fraction(plain)
            if "/" not in plain
            else Fraction(plain.partition("/")[0]) / Fraction(plain.partition("/")[2])
        )
    except ZeroDivisionError:
        return None


def _problem(row: PlacedRow, name: str) -> Problem:
    question = text_of(row, "question")
    given = row.members.get("answer")
    if type(given) in (int, float):
        return Problem(name, row, question, str(given), Fraction(str(given)))
    worked = text_of(row, "answer")
    answer = final_number(worked)
    if answer is None:
        raise bad_row(row, "`answer` has no number; end it with `#### NUMBER`")
    return Problem(name, row, question, worked, answer)


def _examples(settings: Gsm8kSettings) -> list[Problem]:
    if not settings.shots:
        return []
    if settings.shots_data is None:
        raise EvaluationError(
            "`shots` needs `shots_data`: a file of other problems, such as the training split", "LM-E501"
        )
    found = read_problems(settings.shots_data)
    if len(found) < settings.shots:
        raise EvaluationError(f"{settings.shots_data} has {len(found)} problems, fewer than `shots`", "LM-E503")
    return found[: settings.shots]


def _asked(problem: Problem, examples: Sequence[Problem]) -> Asked:
    messages = [
        message for each in examples for message in (Message("user", each.question), Message("assistant", each.worked))
    ]
    before = "".join(f"Question: {each.question}\nAnswer: {each.worked}\n\n" for each in examples)
    return Asked(
        problem.row.place,
        (*messages, Message("user", problem.question)),
        f"{before}Question: {problem.question}\nAnswer:",
    )


TASK = Task(Gsm8kSettings, solve_gsm8k, "Exact answers of maths problems in the form of GSM8K.")
