"""Recall of the search for contamination: items are put into clean documents in the forms in which they leak."""

import random
import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from lazarus_corpus.contamination import MIN_NGRAMS, EvaluationItems, compared_words, read_items
from lazarus_corpus.settings import CorpusSettings


def _rewrapped(text: str) -> str:
    words = text.split()
    return "\n".join(" ".join(words[start : start + 8]) for start in range(0, len(words), 8))


def _interleaved(text: str) -> str:
    lines = _rewrapped(text).split("\n")
    return "\n".join(f"{line}\nAnd here is something else between the lines." for line in lines)


def _as_list(text: str) -> str:
    return "\n".join(f"- {line}" for line in textwrap.wrap(text, 48))


def _as_options(text: str) -> str:
    lines = textwrap.wrap(text, 60)
    return "Question: which is right?\n" + "\n".join(
        f"({chr(ord('A') + number % 26)}) {line}" for number, line in enumerate(lines)
    )


def _shouted(text: str) -> str:
    return text.upper().replace(",", " ,")


FORMS: dict[str, Callable[[str], str]] = {
    "verbatim": str,
    "8 words a line": _rewrapped,
    "list": _as_list,
    "options": _as_options,
    "capitals": _shouted,
    "filler between lines": _interleaved,
}
"""Form -> function from an item to its text in a document."""
DILUTIONS = (1, 3, 10)
"""Words around an item, as a multiple of its own."""


INJECTED = 60
"""Items of each form that a build injects."""
CLEAN_DOCUMENTS = 300
"""Documents at the start of the corpus that a build puts items into; their order is random."""


def recall_of_build(settings: CorpusSettings, texts: Iterable[str]) -> dict[str, Any] | None:
    """Recall of the search with the settings of a build, for its manifest; None without evaluation sets.

    Args:
        settings: The settings.
        texts: Documents of the corpus, in its order.
    """
    contamination = settings.contamination
    if not contamination.against:
        return None
    parts = read_items(contamination.against)
    items = EvaluationItems(parts, contamination.ngram, contamination.coverage)
    documents = list(islice(texts, CLEAN_DOCUMENTS))
    return {
        "texts": len(items.names),
        "too_short": items.too_short,
        "injected": INJECTED,
        "recall": measure_recall(items, parts, documents, INJECTED, settings.seed),
    }


def measure_recall(
    items: EvaluationItems, parts: Sequence[tuple[str, str]], documents: Sequence[str], count: int, seed: int
) -> dict[str, float]:
    """The share of injected items that are found, by form.

    Args:
        items: The search.
        parts: Name and text of the items.
        documents: Clean texts to put items into.
        count: Items of each form.
        seed: Seed of the choice.
    """
    generator = random.Random(seed)
    least = MIN_NGRAMS + 8
    long_enough = [text for _, text in parts if len(compared_words(text)) >= least and items.compares(text)]
    if not long_enough:
        return {}
    filler = " ".join(documents).split() or ["filler"]
    chosen = [long_enough[generator.randrange(len(long_enough))] for _ in range(count)]
    found = {form: sum(items.find(make(text)) is not None for text in chosen) / count for form, make in FORMS.items()}
    for times in DILUTIONS:
        hits = 0
        for text in chosen:
            words = len(text.split()) * times // 2
            start = generator.randrange(len(filler))
            around = (filler * (1 + 2 * words // len(filler)))[start:][: 2 * words]
            hits += items.find(" ".join((*around[:words], "\n\n" + text + "\n\n", *around[words:]))) is not None
        found[f"diluted {times} times"] = hits / count
    return found
