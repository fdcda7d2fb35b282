"""Forms of multiple-choice rows, with the prompts of lm-evaluation-harness 0.4.

| form | fields of a row | prompt | choices |
|---|---|---|---|
| `boolq` | `passage`, `question`, and `answer` true or false or `label` 0 or 1 | passage, question, `Answer:` | ` no`, ` yes` |
| `arc` | `question`, `choices` with `text` and `label`, `answerKey` | `Question: ...` and `Answer:` | a space and the text |
| `hellaswag` | `ctx`, or `ctx_a` and `ctx_b`; `activity_label`, `endings`, `label` | activity and context, without marks of WikiHow | a space and the ending |
| `generic` | `question` (or `query`, `context`), `choices`, `answer` (or `gold`, `label`) | the question as it is | `delimiter` and the choice |
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, cast

from lazarus_models.evaluation.data import bad_row, text_of, value_of
from lazarus_tokenkit.samples import PlacedRow

Form = Literal["auto", "boolq", "arc", "hellaswag", "generic"]
MAX_CHOICES = 100
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Question(NamedTuple):
    """A question with its choices.

    Args:
        id: Unique in the data.
        place: File and line.
        context: Text before the choice.
        choices: Texts of the choices, without the delimiter.
        delimiter: Text between context and choice.
        gold: Place of the right choice, from 0.
    """

    id: str
    place: str
    context: str
    choices: tuple[str, ...]
    delimiter: str
    gold: int


def form_of(row: PlacedRow) -> Form:
    """The form of a row, from its fields.

    Raises:
        EvaluationError: It is none of them.
    """
    names = row.members.keys()
    if {"passage", "question"} <= names:
        return "boolq"
    if "endings" in names:
        return "hellaswag"
    if "answerKey" in names:
        return "arc"
    if "choices" in names:
        return "generic"
    raise bad_row(row, "no form of multiple choice; give rows with `question`, `choices` and `answer`")


def question_of(row: PlacedRow, form: Form, name: str, delimiter: str) -> Question:
    """The question of a row.

    Args:
        row: The row.
        form: Form of all rows of the file.
        name: Id of the item.
        delimiter: Text between a question of the form `generic` and its choice.

    Raises:
        EvaluationError: A field is missing or has another type, there are fewer than two choices, or the answer is none of
            them.
    """
    context, choices, gold, between = _READERS[form](row, delimiter)
    if not 2 <= len(choices) <= MAX_CHOICES:
        raise bad_row(row, f"{len(choices)} choices; a row has 2 to {MAX_CHOICES}")
    if not all(choices):
        raise bad_row(row, f"choice {choices.index('') + 1} is empty; write its text")
    if not 0 <= gold < len(choices):
        raise bad_row(row, f"the answer is choice {gold} of {len(choices)}, counted from 0; correct it")
    return Question(name, row.place, context, choices, between, gold)


Read = tuple[str, tuple[str, ...], int, str]


def _boolq(row: PlacedRow, _: str) -> Read:
    context = f"{text_of(row, 'passage')}\nQuestion: {text_of(row, 'question')}?\nAnswer:"
    answer = value_of(row, "answer", "label")
    if answer not in (0, 1):  # False and True, too
        raise bad_row(row, f"`answer` must be true or false, not {answer!r}")
    return context, ("no", "yes"), int(answer), " "


def _arc(row: PlacedRow, _: str) -> Read:
    question, listed = value_of(row, "question"), row.members.get("choices")
    if isinstance(question, dict):  # the files of AI2; those of the hub are flat
        nested = cast("Mapping[str, Any]", question)
        question, listed = nested.get("stem"), nested.get("choices")
    texts, labels = _labelled(row, listed)
    if not isinstance(question, str):
        raise bad_row(row, "`question` must be a text, or an object with `stem` and `choices`")
    key = text_of(row, "answerKey")
    if key not in labels:
        raise bad_row(row, f"`answerKey` {key!r} is none of the labels {', '.join(labels)}")
    return f"Question: {question}\nAnswer:", texts, labels.index(key), " "


def _labelled(row: PlacedRow, listed: Any) -> tuple[tuple[str, ...], list[str]]:
    """Texts and labels: of an object with two lists, or of a list of objects."""
    if isinstance(listed, dict):
        both = cast("Mapping[str, Any]", listed)
        texts, labels = both.get("text"), both.get("label")
    elif isinstance(listed, list):
        empty: Mapping[str, Any] = {}
        pairs = [
            cast("Mapping[str, Any]", each) if isinstance(each, dict) else empty for each in cast("list[Any]", listed)
        ]
        texts, labels = [each.get("text") for each in pairs], [each.get("label") for each in pairs]
    else:
        texts, labels = None, None
    found, names = _texts(row, "choices.text", texts), _texts(row, "choices.label", labels)
    if len(found) != len(names):
        raise bad_row(row, f"`choices` has {len(found)} texts and {len(names)} labels")
    if len(set(names)) < len(names):
        raise bad_row(row, f"a label of `choices` occurs twice: {', '.join(names)}")
    return found, list(names)


def _hellaswag(row: PlacedRow, _: str) -> Read:
    if row.members.get("ctx_a") is not None and row.members.get("ctx_b") is not None:
        context = f"{text_of(row, 'ctx_a')} {text_of(row, 'ctx_b').capitalize()}"
    else:
        context = text_of(row, "ctx")
    activity = row.members.get("activity_label")
    context = plain_wikihow(f"{activity}: {context}" if isinstance(activity, str) else context)
    endings = tuple(map(plain_wikihow, _texts(row, "endings", value_of(row, "endings"))))
    label = value_of(row, "label")
    if isinstance(label, str) and label.isdecimal() and len(label) < 4:  # the hub's files have texts
        label = int(label)
    if type(label) is not int:
        raise bad_row(row, f"`label` must be the place of the right ending, not {label!r}")
    return context, endings, label, " "


def plain_wikihow(text: str) -> str:
    """A text of HellaSwag without the marks of WikiHow, as lm-evaluation-harness reads it.

    >>> plain_wikihow("Peel it [title] Slow [step] Take  a knife.")
    'Peel it. Slow Take a knife.'
    """
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[[^\]\n]*?\]", "", text).replace("  ", " ")


def _generic(row: PlacedRow, delimiter: str) -> Read:
    choices = _texts(row, "choices", value_of(row, "choices"))
    answer = value_of(row, "answer", "gold", "label")
    gold: int | None = answer if type(answer) is int else None
    if isinstance(answer, str):
        if choices.count(answer) == 1:
            gold = choices.index(answer)
        elif len(answer) == 1 and answer in LETTERS[: len(choices)]:
            gold = LETTERS.index(answer)
    if gold is None:
        raise bad_row(row, f"`answer` must be the place of a choice from 0, its letter or its text, not {answer!r}")
    return text_of(row, "question", "query", "context"), choices, gold, delimiter


def _texts(row: PlacedRow, name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in cast("list[Any]", value)):
        raise bad_row(row, f"`{name}` must be a list of texts")
    return tuple(cast("list[str]", value))


_READERS: Mapping[str, Callable[[PlacedRow, str], Read]] = {
    "boolq": _boolq,
    "arc": _arc,
    "hellaswag": _hellaswag,
    "generic": _generic,
}
