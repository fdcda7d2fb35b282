"""Values of the parts that judge text without a jail. Nothing is evaluated; every one takes time linear in the text."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, cast

from lazarus_gym.answers import all_numbers, gsm8k_answer, last_number
from lazarus_gym.errors import RewardError
from lazarus_gym.rewards.settings import ExactPart, FormatPart, Gsm8kPart, LengthPart, NumberPart

_FRACTION = re.compile(r"\\[dt]?frac\{\s*([0-9]{1,400})\s*\}\{\s*([0-9]{1,400})\s*\}", re.ASCII)
_BOXED = r"\boxed{"


def number_value(part: NumberPart, completion: str, row: Mapping[str, Any]) -> float:
    """1 where the number is right, 0 otherwise.

    >>> number_value(NumberPart(type="number"), "That is 3/4.", {"answer": 0.75})
    1.0

    Args:
        part: The settings.
        completion: Text of the reply.
        row: The row with the right answer.

    Raises:
        RewardError: The row has no number (LG-E124).
    """
    right = _right_number(row, part.answer)
    text: str | None = completion if part.tag is None else inside_tag(completion, part.tag)
    if text is not None and part.take == "boxed":
        text = boxed(text)
    if text is None:
        return 0.0
    if part.take == "last":
        found = last_number(text)
    else:
        numbers = all_numbers(_FRACTION.sub(r"\1/\2", text))
        found = numbers[0] if len(numbers) == 1 else None
    if found is None:
        return 0.0
    allowed = max(_exactly(part.absolute), _exactly(part.relative) * abs(right))
    return float(abs(found - right) <= allowed)


def gsm8k_value(part: Gsm8kPart, completion: str, row: Mapping[str, Any]) -> float:
    """1 where the number after the last `####` is right, 0 otherwise.

    Args:
        part: The settings.
        completion: Text of the reply.
        row: The row with the right answer.

    Raises:
        RewardError: The row has no number (LG-E124).
    """
    right = _right_number(row, part.answer)
    return float(gsm8k_answer(completion) == right)


def exact_value(part: ExactPart, completion: str, row: Mapping[str, Any]) -> float:
    """1 where the text is right, 0 otherwise.

    Args:
        part: The settings.
        completion: Text of the reply.
        row: The row with the right answer: a text, a number, or a list of texts.

    Raises:
        RewardError: The row has no such answer (LG-E124).
    """
    value = _field(row, part.answer)
    right = cast("list[object]", value) if isinstance(value, list | tuple) else [value]
    if not right or not all(isinstance(each, str | int) and not isinstance(each, bool) for each in right):
        raise RewardError(
            f"the row has no text in `{part.answer}`, but {value!r:.80}: correct the data or the field `answer`",
            "LG-E124",
        )
    text = completion if part.tag is None else inside_tag(completion, part.tag)
    return float(text is not None and _folded(text, part) in {_folded(str(each), part) for each in right})


def format_value(part: FormatPart, completion: str, row: Mapping[str, Any]) -> float:
    """1 where the tags are there, each once and in order, 0 otherwise.

    >>> format_value(FormatPart(type="format"), "<think>2+2</think> <answer>4</answer>", {})
    1.0

    Args:
        part: The settings.
        completion: Text of the reply.
        row: The row; not used.
    """
    marks = [mark for tag in part.tags for mark in (f"<{tag}>", f"</{tag}>")]
    if any(completion.count(mark) != 1 for mark in marks):
        return 0.0
    places = [completion.index(mark) for mark in marks]
    if places != sorted(places):
        return 0.0
    if part.allows_text:
        return 1.0
    # Outside is before the first opening mark and behind each closing one, up to the next opening one.
    ends = [0, *(place + len(mark) for place, mark in zip(places[1::2], marks[1::2], strict=True))]
    starts = [*places[::2], len(completion)]
    return float(not any(completion[end:start].strip() for end, start in zip(ends, starts, strict=True)))


def length_value(part: LengthPart, completion: str, row: Mapping[str, Any]) -> float:
    """1 inside the range, falling to 0 outside.

    >>> [length_value(LengthPart(type="length", most=4, fall=4), "x" * n, {}) for n in (4, 5, 8)]
    [1.0, 0.75, 0.0]

    Args:
        part: The settings.
        completion: Text of the reply.
        row: The row; not used.
    """
    length = len(completion.split()) if part.unit == "words" else len(completion)
    beyond = max(part.least - length, 0 if part.most is None else length - part.most, 0)
    if not beyond:
        return 1.0
    return max(0.0, 1 - beyond / part.fall) if part.fall else 0.0


def inside_tag(text: str, tag: str) -> str | None:
    """The text inside the last `<tag>...</tag>`, or None.

    Args:
        text: The text.
        tag: Name of the tag.
    """
    before, mark, _ = text.rpartition(f"</{tag}>")
    if not mark:
        return None
    _, mark, inside = before.rpartition(f"<{tag}>")
    return inside if mark else None


def boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{...}`, or None.

    >>> boxed(r"so \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    """
    start = text.rfind(_BOXED)
    if start < 0:
        return None
    depth, begin = 1, start + len(_BOXED)
    for place in range(begin, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if not depth:
            return text[begin:place]
    return None


def _right_number(row: Mapping[str, Any], field: str) -> Fraction:
    value = _field(row, field)
    match value:
        case bool():
            found = None
        case int():
            found = Fraction(value)
        case float() if value - value == 0:  # finite
            found = _exactly(value)
        case str():
            found = gsm8k_answer(value) if "####" in value else last_number(value)
        case _:
            found = None
    if found is None:
        raise RewardError(
            f"the row has no number in `{field}`, but {value!r:.80}: correct the data or the field `answer`", "LG-E124"
        )
    return found


def _field(row: Mapping[str, Any], field: str) -> Any:
    if field not in row:
        names = ", ".join(sorted(map(str, row))[:20]) or "none"
        raise RewardError(f"the row has no field `{field}`; it has {names}: correct the field `answer`", "LG-E124")
    return row[field]


def _exactly(value: float) -> Fraction:
    """The fraction that the decimal digits of a float name: 0.1 is 1/10."""
    return Fraction(repr(float(value)))


def _folded(text: str, part: ExactPart) -> str:
    text = " ".join(text.split()) if part.ignore_space else text.strip()
    return text.casefold() if part.ignore_case else text
