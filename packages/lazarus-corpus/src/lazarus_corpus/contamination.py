"""Documents with items of evaluation sets.

An item is found by the share of its word n-grams that a document has, in any order. Words are compared without case, punctuation, line
breaks, and markers of lists and options; so re-wrapped text, lists and text around the item make no difference. An n-gram that occurs in
several items counts for each of them.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from lazarus_corpus.dedup.minhash import U64, ordered_shingles, words_of
from lazarus_corpus.errors import SettingError
from lazarus_corpus.settings import ContaminationSettings

_MARKER = re.compile(r"^[ \t]*(?:[-*+•>|]+|\(?(?:\d{1,3}|[A-Za-z])[.):])[ \t]+", re.MULTILINE)
"""Markers at the start of lines: `-`, `*`, `1.`, `(a)`, `B)`, `>`."""
_QUESTION = re.compile(r"^[ \t]*(?:question|answer|q|a)[ \t]*:[ \t]*", re.MULTILINE | re.IGNORECASE)
MIN_NGRAMS = 4
"""Shorter items are not looked for: a few common words are in many documents."""


def compared_words(text: str) -> list[str]:
    r"""The words of a text without markers of lists, options and questions.

    >>> compared_words("Question: Which?\n- one\n(B) two\n3. three")
    ['which', 'one', 'two', 'three']
    """
    return words_of(_MARKER.sub("", _QUESTION.sub("", text)))


class Hit(NamedTuple):
    """An evaluation item in a document.

    Args:
        item: Its name, `file:line`.
        coverage: Share of its n-grams in the document.
    """

    item: str
    coverage: float


class EvaluationItems:
    """Items of evaluation sets, for the search in documents.

    Args:
        items: Name and text of each part of an item; several parts may have one name.
        ngram: Words of an n-gram.
        coverage: Share of an item's n-grams from which it counts as found.
    """

    def __init__(self, items: Iterable[tuple[str, str]], ngram: int, coverage: float) -> None:
        self._ngram, self._coverage = ngram, coverage
        self.names: list[str] = []
        self.too_short = 0
        counts: list[int] = []
        grams: list[U64] = []
        owners: list[np.ndarray] = []
        for name, text in items:
            found = self._ngrams(text)
            if len(found) < MIN_NGRAMS:
                self.too_short += 1
                continue
            owners.append(np.full(len(found), len(self.names), np.int64))
            self.names.append(name)
            counts.append(len(found))
            grams.append(found)
        joined = np.concatenate(grams) if grams else np.empty(0, np.uint64)
        order = np.argsort(joined, kind="stable")
        self._grams = joined[order]
        self._owners = np.concatenate(owners)[order] if owners else np.empty(0, np.int64)
        self._counts = np.asarray(counts, np.int64)
        self._distinct = np.unique(self._grams)

    def compares(self, text: str) -> bool:
        """Whether an item is long enough to be looked for.

        Args:
            text: Its text.
        """
        return len(self._ngrams(text)) >= MIN_NGRAMS

    def _ngrams(self, text: str) -> U64:
        return np.unique(ordered_shingles(compared_words(text), self._ngram))

    def find(self, text: str) -> Hit | None:
        """The item that a document covers most; of equal ones the first. None if it covers none enough.

        Args:
            text: The document.
        """
        if not len(self._distinct):
            return None
        own = self._ngrams(text)
        places = np.searchsorted(self._distinct, own)
        places[places == len(self._distinct)] = 0
        shared = own[self._distinct[places] == own]
        if not len(shared):
            return None
        first = np.searchsorted(self._grams, shared, "left")
        last = np.searchsorted(self._grams, shared, "right")
        seen = Counter[int]()
        for start, end in zip(first.tolist(), last.tolist(), strict=True):
            seen.update(self._owners[start:end].tolist())
        share, item = max((count / int(self._counts[owner]), -owner) for owner, count in seen.items())
        return Hit(self.names[-item], round(share, 4)) if share >= self._coverage else None


def read_items(paths: Iterable[Path | str]) -> list[tuple[str, str]]:
    """The parts of evaluation items: name of the item and text. Each text of a row is a part, a list of texts is one.

    Args:
        paths: Files in any form that `lazarus_tokenkit.read_rows` reads, or rows of strings.

    Raises:
        SettingError: A file does not exist.
        SampleError: A file is malformed.
    """
    from lazarus_tokenkit.samples import read_objects

    found: list[tuple[str, str]] = []
    for path in sorted(
        map(Path, paths), key=lambda path: (path.name, path)
    ):  # by name first: folders have no influence on witnesses
        if not path.exists():
            raise SettingError(f"{path} does not exist: give an evaluation set", "LD-E124")
        before = len(found)
        for row in read_objects(path):
            found.extend((f"{path.name}:{row.line}", part) for part in _parts(row.members))
        if len(found) == before:
            raise SettingError(f"{path}: no items: give an evaluation set with items", "LD-E124")
    return found


def evaluation_items(settings: ContaminationSettings) -> EvaluationItems | None:
    """The items of the settings; None if there is no evaluation set.

    Args:
        settings: Files, n-grams and share.
    """
    if not settings.against:
        return None
    return EvaluationItems(read_items(settings.against), settings.ngram, settings.coverage)


def _parts(value: Any) -> Iterable[str]:
    """The texts of a row in their order, without ids and names of roles. A list of texts, as of options, is one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in cast("dict[str, Any]", value).items():
            if name not in ("id", "role", "source", "url", "subject", "type"):
                yield from _parts(member)
    elif isinstance(value, list):
        members = cast("list[Any]", value)
        if all(isinstance(member, str) for member in members):
            yield "\n".join(members)
        else:
            for member in members:
                yield from _parts(member)
