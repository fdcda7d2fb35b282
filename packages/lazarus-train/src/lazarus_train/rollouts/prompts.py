"""Prompts of a data set: the token ids before the first answer of each sample, and the rows with all their fields."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_tokenkit import Tokenizer
from lazarus_tokenkit.samples import read_objects
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import SetupError


@dataclass(frozen=True)
class Prompts:
    """The prompts of a data set.

    Args:
        dataset: Samples; the tokens before the first label are the prompt.
        tokenizer: The tokenizer that encoded it.
    """

    dataset: Dataset
    tokenizer: Tokenizer

    def ids(self, sample: int) -> list[int]:
        """Token ids of a prompt."""
        ids, mask = self.dataset.sample(sample)
        return ids[: _prompt_length(mask)].tolist()

    def text(self, sample: int) -> str:
        """Text of a prompt, with special tokens."""
        return self.tokenizer.decode(self.ids(sample))

    def answer(self, sample: int) -> str | None:
        """Text of the row's own answer to the prompt, without special tokens; None if it has none. Later turns are not of it."""
        ids, mask = self.dataset.sample(sample)
        first = _prompt_length(mask)
        length = int(np.append(~mask[first:], True).argmax())
        return self.tokenizer.decode(ids[first : first + length].tolist(), skip_special=True) if length else None

    def row(self, sample: int) -> Mapping[str, Any]:
        """The row of a sample, with every field."""
        return self._rows[sample]

    @cached_property
    def _rows(self) -> Sequence[Mapping[str, Any]]:
        return _rows_of(self.dataset)


def check_prompts(dataset: Dataset, samples: Iterable[int]) -> None:
    """Checks that every sample begins with a prompt.

    Args:
        dataset: The samples.
        samples: Their ids.

    Raises:
        SetupError: A sample is a pair of answers or a document, or begins with its answer.
    """
    for sample in samples:
        _, mask = dataset.sample(sample)
        if dataset.part_lengths(sample) is not None or dataset.is_text or not _prompt_length(mask):
            raise SetupError(
                f"{dataset.place(sample)} has no prompt: give rows with `prompt`, or with `messages` that begin with the user",
                "LR-E252",
            )


def check_answers(dataset: Dataset, samples: Sequence[int]) -> None:
    """Checks that a sample has an answer to compare with.

    Args:
        dataset: The samples.
        samples: Their ids.

    Raises:
        SetupError: None has one.
    """
    if not any(dataset.sample(sample)[1].any() for sample in samples):
        raise SetupError(
            f"{dataset.place(samples[0])} and all others have no answer that `reward` exact could compare with: give rows with "
            "answers, or another reward",
            "LR-E252",
        )


def check_episodes(dataset: Dataset, samples: Iterable[int]) -> None:
    """Checks that the `seed` and `task` of every row are of a kind that environments take.

    Args:
        dataset: The samples.
        samples: Their ids.

    Raises:
        SetupError: A `seed` is no whole number, or a `task` is no text.
    """
    rows = _rows_of(dataset)
    for sample in samples:
        row = rows[sample]
        for name, wanted, kind in (("seed", "a whole number", int), ("task", "a text", str)):
            if name in row and type(row[name]) is not kind and not (name == "task" and row[name] is None):
                raise SetupError(
                    f"{dataset.place(sample)}: its {name} is {row[name]!r:.60}: give {wanted}, as `lazarus gym prompts` writes, "
                    "or leave it out",
                    "LR-E252",
                )


def check_field(dataset: Dataset, samples: Iterable[int], name: str) -> None:
    """Checks that every row has a field.

    Args:
        dataset: The samples.
        samples: Their ids.
        name: Name of the field.

    Raises:
        SetupError: A row does not have it.
    """
    rows = _rows_of(dataset)
    for sample in samples:
        if name not in rows[sample]:
            known = ", ".join(sorted(rows[sample])[:20])
            raise SetupError(
                f"{dataset.place(sample)} has no field {name!r}, which `signal_field` names; it has {known}: correct the data, "
                "or omit `signal_field`",
                "LR-E252",
            )


def _rows_of(dataset: Dataset) -> list[Mapping[str, Any]]:
    return [
        row.members
        for name, count, first in dataset.files
        for row in islice(read_objects(Path(name)), first, first + count)
    ]


def _prompt_length(mask: NDArray[np.bool_]) -> int:
    """Tokens before the first label."""
    labels = np.flatnonzero(mask)
    return int(labels[0]) if len(labels) else len(mask)
