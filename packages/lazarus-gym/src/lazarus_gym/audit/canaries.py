"""Fifteen answers that are wrong everywhere, to see what a verifier does with them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lazarus_gym.answers import last_number

MARKER = "lazaruscanary"
"""A word in the answers that hold code; executed code with it is reported."""
_OPTIONS = "A B C D E a b c d e yes no true false Yes No True False left right up down 0 1 2 3 4 5 6 7 8 9 10"


class Canary(NamedTuple):
    """A wrong answer.

    Args:
        name: Name in messages.
        text: The answer, made of the question and the path of a file that must not appear.
        may_be_right: Whether some task has it for a right answer.
    """

    name: str
    text: Callable[[str, str], str]
    may_be_right: bool = False


def _fixed(text: str) -> Callable[[str, str], str]:
    return lambda _question, _path: text


def _question_itself(question: str, _path: str) -> str:
    return question


def _with_path(form: str) -> Callable[[str, str], str]:
    return lambda _question, path: form.replace("PATH", path)


CANARIES: tuple[Canary, ...] = (
    Canary("white space", _fixed(" \n\t ")),
    Canary("a refusal", _fixed("I do not know.")),
    Canary("the question", _question_itself),
    Canary("a call of the shell", _with_path("__import__('os').system('touch PATH')")),
    Canary("a list that opens a file", _with_path("[open('PATH', 'w').name]")),
    Canary("a call of an unknown name", _fixed(f"{MARKER}(1)")),
    Canary("every option at once", _fixed(_OPTIONS), may_be_right=True),
    Canary("a huge number", _fixed("9" * 5000)),
    Canary("a huge power", _fixed("9**9**9**9")),
    Canary("Unicode digits", _fixed("\u0664\u0662"), may_be_right=True),
    Canary("zero", _fixed("0"), may_be_right=True),
    Canary("True", _fixed("True"), may_be_right=True),
    Canary("a JSON object", _fixed('{"a": [1, {"b": null}], "c": "d"}'), may_be_right=True),
    Canary("a JSON list", _fixed('[1, [2, null], {"a": 3}]'), may_be_right=True),
    Canary("brackets and control characters", _fixed("[" * 500 + "\x00\x1b[31m\ud7ff{0.__class__}%s%n" + "]" * 500)),
)


def is_same(answer: str, right: str) -> bool:
    """Whether an answer may be right by chance: equal text, or the same last number.

    >>> is_same("0 ", "0.0"), is_same("zero", "0")
    (True, False)

    Args:
        answer: An answer.
        right: The right answer.
    """
    if " ".join(answer.split()).casefold() == " ".join(right.split()).casefold():
        return True
    found = last_number(answer)
    return found is not None and found == last_number(right)


def wrong_answers(question: str, right: str, path: str, others: Mapping[str, str]) -> dict[str, str]:
    """Answers by name that are not the right one.

    Args:
        question: The question.
        right: The right answer; empty where it is unknown.
        path: A file that must not appear. A digit in it is a number for a verifier, so an answer with it may be right by chance.
        others: Further answers by name.
    """
    found = {each.name: each.text(question, path) for each in CANARIES} | dict(others)
    return {name: text for name, text in found.items() if not (right and is_same(text, right))}


def is_surely_wrong(name: str) -> bool:
    """Whether the canary of a name is wrong even where the right answer is unknown."""
    return any(each.name == name and not each.may_be_right for each in CANARIES)
