"""Prompts with labels, read from JSON Lines: `{"prompt": "...", "label": "..."}`."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lazarus_core.jsonl import read_objects
from lazarus_introspect.errors import RequestError

MAX_PROMPTS = 10_000
"""A fit takes a matrix of at most prompts x prompts numbers: 0.8 GB for as many."""
MAX_CLASSES = 50
MAX_CHARS = 100_000
"""Of one prompt."""
_LARGEST = 1e15
"""Labels below it are exact and their squares finite."""

Label = str | float


@dataclass(frozen=True)
class LabelledPrompts:
    """Prompts, each with a class or a number."""

    prompts: tuple[str, ...]
    labels: tuple[Label, ...]
    """All texts (names of classes), or all numbers."""

    def __post_init__(self) -> None:
        if len(self.prompts) != len(self.labels):
            raise RequestError(
                f"{len(self.prompts)} prompts have {len(self.labels)} labels; give one for each", "LI-E080"
            )
        if len(self.prompts) > MAX_PROMPTS:
            raise RequestError(f"{len(self.prompts):,} prompts: give at most {MAX_PROMPTS:,}", "LI-E082")
        if len({isinstance(each, str) for each in self.labels}) > 1:
            raise RequestError("some labels are texts and some are numbers: give labels of one kind", "LI-E080")
        if not self.is_numeric and not 2 <= len(self.names) <= MAX_CLASSES:
            raise RequestError(
                f"the labels have {len(self.names)} classes: give 2 to {MAX_CLASSES}, or numbers as labels", "LI-E082"
            )
        if self.is_numeric and len(set(self.labels)) < 2:
            raise RequestError("all labels are the same number: give at least two values", "LI-E082")

    @property
    def is_numeric(self) -> bool:
        """Whether the labels are numbers."""
        return bool(self.labels) and not isinstance(self.labels[0], str)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, sorted; none for numbers."""
        return () if self.is_numeric else tuple(sorted({str(each) for each in self.labels}))

    @property
    def classes(self) -> NDArray[np.int64] | None:
        """The class of each prompt as its index in `names`; None for numbers."""
        if self.is_numeric:
            return None
        places = {name: place for place, name in enumerate(self.names)}
        return np.array([places[str(each)] for each in self.labels], np.int64)

    @property
    def values(self) -> NDArray[np.float64] | None:
        """The numbers; None for classes."""
        return np.array([float(each) for each in self.labels]) if self.is_numeric else None


def read_labelled(path: Path | str) -> LabelledPrompts:
    """Reads prompts with labels.

    Args:
        path: JSON Lines; each row has `prompt` and `label`, a text (class), a boolean (class) or a number.

    Raises:
        RequestError: A row has other members or types, or there are too many rows.
        InputError: The file is no JSON Lines.
    """
    prompts: list[str] = []
    labels: list[Label] = []
    for members, line, _ in read_objects(path):
        prompt, label = members.get("prompt"), members.get("label")
        if not isinstance(prompt, str) or not prompt or len(prompt) > MAX_CHARS:
            raise RequestError(
                f"{path}:{line}: `prompt` must be a text of 1 to {MAX_CHARS:,} characters; write "
                '{"prompt": "...", "label": "..."}',
                "LI-E080",
            )
        read = _label(label)
        if read is None:
            raise RequestError(f"{path}:{line}: `label` must be a text, a boolean or a finite number", "LI-E080")
        if len(prompts) == MAX_PROMPTS:
            raise RequestError(f"{path} has more than {MAX_PROMPTS:,} rows: give fewer", "LI-E082")
        prompts.append(prompt)
        labels.append(read)
    if not prompts:
        raise RequestError(f'{path} is empty: give rows such as {{"prompt": "...", "label": "..."}}', "LI-E080")
    return LabelledPrompts(tuple(prompts), tuple(labels))


def _label(value: object) -> Label | None:
    """A label; None for another value."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value or None
        case int() | float():
            return float(value) if abs(value) < _LARGEST and isfinite(value) else None
        case _:
            return None


def labelled(prompts: Sequence[str], labels: Sequence[Label]) -> LabelledPrompts:
    """Prompts with labels from Python.

    Args:
        prompts: Texts.
        labels: Names of classes, or numbers; integers are numbers.
    """
    return LabelledPrompts(tuple(prompts), tuple(each if isinstance(each, str) else float(each) for each in labels))
