"""Suggests strings to add to a vocabulary, by the number of tokens that they really save.

An added token splits texts before the merges run, and the text on both sides is encoded separately. So the saving of a
candidate is measured: the texts are split at the candidate and encoded again, as the engine would do. Candidates are
repeated runs of tokens. After each choice, the savings of the remaining candidates are measured again.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from lazarus_tokenkit.samples.documents import as_documents
from lazarus_tokenkit.tables import Table, as_text
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, as_tokenizer
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

MAX_RUN = 6
"""Largest number of current tokens in a candidate."""
NUM_MEASURED = 60
"""Number of candidates that are measured: those with the largest estimated savings."""


@dataclass(frozen=True)
class Suggestion:
    """A suggested string.

    Args:
        text: The string.
        occurrences: Number of occurrences in the corpus that do not overlap earlier suggestions.
        tokens_now: Number of current tokens of the string alone.
        saved_tokens: Number of tokens that adding the string saves, after the earlier suggestions.
        bytes: UTF-8 bytes of all occurrences.
    """

    text: str
    occurrences: int
    tokens_now: int
    saved_tokens: int
    bytes: int


@dataclass(frozen=True)
class Suggestions:
    """Suggested strings and their total effect.

    Args:
        suggestions: The suggestions, best first.
        tokens_before: Number of tokens of the corpus.
        tokens_after: Number of tokens with all suggestions added.
    """

    suggestions: tuple[Suggestion, ...]
    tokens_before: int
    tokens_after: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Formats the result as a table."""
        return as_text(self.blocks())

    def blocks(self) -> list[Table | str]:
        """The result as tables and paragraphs."""
        saved = self.tokens_before - self.tokens_after
        rows = [("saves", "occurs", "tokens now", "text")]
        rows += [
            (f"{each.saved_tokens:,}", f"{each.occurrences:,}", str(each.tokens_now), repr(each.text))
            for each in self.suggestions
        ]
        return [
            Table(rows, right=(0, 1, 2), has_head=True),
            f"together {saved:,} of {self.tokens_before:,} tokens;"
            " added tokens bypass merges, so the ids of adjacent text change too",
        ]


def suggest_vocabulary(
    tokenizer: TokenizerOrName, documents: Iterable[str], count: int = 20, least: int = 3
) -> Suggestions:
    """Suggests the strings that save most tokens when they are added to a vocabulary.

    Args:
        tokenizer: A tokenizer, or its name or path.
        documents: The corpus.
        count: Largest number of suggestions.
        least: Smallest number of occurrences of a candidate.
    """
    tokenizer = as_tokenizer(tokenizer)
    documents = [text for text in as_documents(documents) if text]
    spent = _lengths(tokenizer, documents, [])
    before = sum(spent)
    chosen: list[Suggestion] = []
    candidates = _candidates(tokenizer, documents, least)
    waiting = [_measure(tokenizer, documents, spent, [], text) for text in candidates]
    while waiting and len(chosen) < count:
        texts = [each.text for each in chosen]
        waiting.sort(key=lambda each: (-each.saved_tokens, each.text))
        # Savings only shrink as strings are chosen. A candidate that stays first after a new measurement is the best.
        best = _measure(tokenizer, documents, spent, texts, waiting[0].text)
        if len(waiting) > 1 and best.saved_tokens < waiting[1].saved_tokens and best != waiting[0]:
            waiting[0] = best
            continue
        waiting = waiting[1:]
        if best.saved_tokens > 0:
            chosen.append(best)
            spent = _lengths(tokenizer, documents, [*texts, best.text])
    return Suggestions(tuple(chosen), before, sum(spent))


def token_count(tokenizer: Tokenizer, pieces: Sequence[str]) -> int:
    """Counts the tokens of texts that are encoded separately.

    Args:
        tokenizer: The tokenizer to encode with; special-token text counts as ordinary text.
        pieces: Texts; tokens never span two of them.
    """
    return sum(map(len, tokenizer.encode_batch(pieces, parse_special=False)))


def _measure(
    tokenizer: Tokenizer, documents: Sequence[str], spent: Sequence[int], texts: Sequence[str], text: str
) -> Suggestion:
    """Measures what a candidate saves after `texts` were added. `spent` has the current tokens of each document."""
    # Only documents that contain the candidate can change.
    touched = [(document, size) for document, size in zip(documents, spent, strict=True) if text in document]
    after = _lengths(tokenizer, [document for document, _ in touched], [*texts, text])
    cut = _pattern([*texts, text])
    occurrences = sum(found == text for document, _ in touched for found in cut.findall(document))
    saved = sum(size for _, size in touched) - sum(after)
    now = len(tokenizer.encode(text, parse_special=False))
    return Suggestion(text, occurrences, now, saved, occurrences * len(text.encode()))


def _lengths(tokenizer: Tokenizer, documents: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Counts the tokens of each document after adding `texts`: it is split at them, and the parts are encoded."""
    if not texts:
        return [len(ids) for ids in tokenizer.encode_batch(documents, parse_special=False)]
    cut = _pattern(texts)
    # `split` with a group alternates between text (even places) and added tokens (odd places).
    parts = [cut.split(document) for document in documents]
    rest = [[part for part in each[::2] if part] for each in parts]
    sizes = iter(map(len, tokenizer.encode_batch([part for each in rest for part in each], parse_special=False)))
    return [len(each) // 2 + sum(islice(sizes, len(between))) for each, between in zip(parts, rest, strict=True)]


def _pattern(texts: Sequence[str]) -> re.Pattern[str]:
    """Returns the pattern of added tokens: the leftmost match, then the longest, as in the engine."""
    return re.compile(f"({'|'.join(map(re.escape, sorted(texts, key=len, reverse=True)))})")


def _candidates(tokenizer: Tokenizer, pieces: Sequence[str], least: int) -> list[str]:
    """Returns repeated runs of tokens, ordered by their estimated saving (adjacent text unchanged)."""
    runs: Counter[bytes] = Counter()
    sizes: dict[bytes, int] = {}
    for piece, found in zip(pieces, tokenizer.segment_batch(pieces, parse_special=False), strict=True):
        content = piece.encode()
        for place, start in enumerate(found.starts):
            for size in range(2, MAX_RUN + 1):  # every run of 2 to MAX_RUN tokens that starts here
                if place + size > len(found.ends):
                    break
                run = content[start : found.ends[place + size - 1]]
                runs[run] += 1
                sizes[run] = size
    # A run of k tokens that becomes one token saves k - 1 tokens at each occurrence.
    worth = [(number * (sizes[run] - 1), run) for run, number in runs.items() if number >= least]
    worth.sort(key=lambda each: (-each[0], each[1]))
    texts: list[str] = []
    for _, run in worth:
        try:
            text = run.decode()
        except UnicodeDecodeError:  # a run that ends inside a character
            continue
        if text.strip():
            texts.append(text)
        if len(texts) == NUM_MEASURED:
            break
    return texts
