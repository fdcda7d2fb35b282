"""Multiple choice by the log-probability of each choice after the question.

| metric | choice taken, as in lm-evaluation-harness |
|---|---|
| `acc` | largest log-probability |
| `acc_norm` | largest log-probability a character of the choice, without the delimiter |
| `acc_bytes` | largest log-probability a byte of its UTF-8 |

Of equal choices the first one counts. The baseline is the better of two predictors: any choice with equal probability, and always
the place that is right most often in this data.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from lazarus_models.evaluation.data import bad_row, row_ids, rows_of, sampled
from lazarus_models.evaluation.log_likelihoods import encode_answer, encode_pair, likelihoods
from lazarus_models.evaluation.task import BaselineKind, Item, Metric, Subject, Task, TaskResult, TaskSettings
from lazarus_models.evaluation.tasks.choice_forms import Form, Question, form_of, question_of
from lazarus_models.loading.loaded_model import LoadedModel

METRICS = ("acc", "acc_norm", "acc_bytes")


class ChoiceSettings(TaskSettings, frozen=True):
    """Multiple choice by log-probabilities."""

    kind: Literal["choice"] = "choice"
    form: Form = "auto"
    """Form of the rows; `auto` takes the form of the first row."""
    prompt_style: Literal["raw", "chat"] = "raw"
    """`raw` continues the question; `chat` makes it a message of the chat template, and the choice its answer, without `delimiter`."""
    delimiter: Annotated[str, Field(max_length=100)] = " "
    """Text between question and choice in the form `generic`."""


def score_choices(subject: Subject, settings: ChoiceSettings) -> TaskResult:
    """Evaluates multiple choice.

    Args:
        subject: The model.
        settings: The data.

    Raises:
        EvaluationError: A row is not of the form, or a choice does not fit the model's context.
    """
    questions = read_questions(settings)
    items: list[Item] = []
    cut = 0
    for number, question in enumerate(questions, 1):
        item, is_cut = score_question(subject.model, question, settings.prompt_style)
        items.append(item)
        cut += is_cut
        subject.on_progress(number, len(questions))
    baseline, kind = guess(questions)
    metrics = [Metric(name, "proportion", "higher", baseline, kind) for name in METRICS]
    return TaskResult(metrics, items, "questions", {"truncated": cut} if cut else {})


def read_questions(settings: ChoiceSettings) -> list[Question]:
    """The questions of a data file.

    Raises:
        EvaluationError: A row is not of the form.
    """
    rows = rows_of(settings.data)
    form = form_of(rows[0]) if settings.form == "auto" else settings.form
    ids = row_ids(rows)
    questions = [question_of(row, form, name, settings.delimiter) for row, name in zip(rows, ids, strict=True)]
    other = next((row for row in rows if settings.form == "auto" and form_of(row) != form), None)
    if other is not None:  # it could be read, but fields of it would not be
        words = f"of the form `{form_of(other)}`, but the first row is of the form `{form}`; give rows of one form, or `form`"
        raise bad_row(other, words)
    return sampled(questions, settings)


def score_question(lm: LoadedModel, question: Question, style: Literal["raw", "chat"] = "raw") -> tuple[Item, bool]:
    """Scores the choices of a question.

    Args:
        lm: The model.
        question: The question.
        style: Form of the prompt.

    Returns:
        The item, and whether its context was truncated.
    """
    pairs = [
        encode_answer(lm, question.context, choice, question.place)
        if style == "chat"
        else encode_pair(lm, question.context, question.delimiter + choice, question.place)
        for choice in question.choices
    ]
    found = likelihoods(lm, pairs, question.place)
    logprobs = [each.logprob for each in found]
    taken = taken_choices(logprobs, question.choices)
    details = {"gold": question.gold, "logprobs": logprobs, "tokens": [each.tokens for each in found], **taken}
    values = {name: (float(place == question.gold), 1.0) for name, place in taken.items()}
    return Item(question.id, values, details), any(each.is_cut for each in pairs)


def guess(questions: Sequence[Question]) -> tuple[float, BaselineKind]:
    """Accuracy of the better of two predictors: random, and the place that is right most often."""
    random = sum(1 / len(each.choices) for each in questions) / len(questions)
    majority = max(Counter(each.gold for each in questions).values()) / len(questions)
    return (majority, "majority") if majority > random else (random, "random")


def taken_choices(logprobs: Sequence[float], choices: Sequence[str]) -> dict[str, int]:
    """The place of the choice that each metric takes.

    >>> taken_choices([-6.0, -10.0, -11.5], ["ab", "abcdefgh", "ééééé"])
    {'acc': 0, 'acc_norm': 1, 'acc_bytes': 2}

    Args:
        logprobs: Log-probability of each choice.
        choices: Their texts, without the delimiter.
    """
    characters = [logprob / len(choice) for logprob, choice in zip(logprobs, choices, strict=True)]
    in_bytes = [logprob / len(choice.encode()) for logprob, choice in zip(logprobs, choices, strict=True)]
    return {name: _first_best(of) for name, of in zip(METRICS, (logprobs, characters, in_bytes), strict=True)}


def _first_best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


TASK = Task(ChoiceSettings, score_choices, "Multiple choice by log-probabilities: BoolQ, ARC, HellaSwag and others.")
