"""Which strings would be worth a token: measured, not estimated.

A token that is added to a vocabulary cuts texts before anything else: it bypasses the merges, and what stands beside it
is encoded as if it stood alone. So the saving of a candidate is found by cutting there and encoding again, which is
what the engine would do. Candidates are runs of tokens that recur; the best is taken, and the others are measured again
beside it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from lazarus_tokenkit.samples.documents import as_documents
from lazarus_tokenkit.tables import aligned
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, opened
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

MAX_RUN = 6
"""Tokens that a candidate may be made of now."""
NUM_MEASURED = 60
"""Candidates that are measured; the others are estimated to save less."""


@dataclass(frozen=True)
class Suggestion:
    """A string worth a token.

    Args:
        text: The string.
        occurrences: In the corpus, where the suggestions before leave room for it.
        tokens_now: Tokens that the string takes by itself.
        saved_tokens: Tokens that the corpus has fewer once it is added, after those before.
        bytes: Of the string, all occurrences.
    """

    text: str
    occurrences: int
    tokens_now: int
    saved_tokens: int
    bytes: int


@dataclass(frozen=True)
class Induction:
    """Suggestions, best first, and what they do together.

    Args:
        suggestions: Best first.
        tokens_before: Of the corpus.
        tokens_after: With all suggestions added.
    """

    suggestions: tuple[Suggestion, ...]
    tokens_before: int
    tokens_after: int

    def to_json(self) -> dict[str, Any]:
        """As it is printed with `--json`."""
        return asdict(self)

    def text(self) -> str:
        """As it is printed for people."""
        saved = self.tokens_before - self.tokens_after
        rows = [("saves", "occurs", "tokens now", "text")]
        rows += [
            (f"{each.saved_tokens:,}", f"{each.occurrences:,}", str(each.tokens_now), repr(each.text))
            for each in self.suggestions
        ]
        return (
            f"{aligned(rows, right=[0, 1, 2])}\n\ntogether {saved:,} of {self.tokens_before:,} tokens;"
            " added tokens bypass merges, so the ids beside them change too"
        )


def suggest_vocabulary(
    tokenizer: TokenizerOrName, documents: Iterable[str], count: int = 20, least: int = 3
) -> Induction:
    """Strings that would save most tokens as tokens of their own.

    Args:
        tokenizer: What they would be added to.
        documents: The corpus.
        count: How many to suggest.
        least: Occurrences that a candidate must have.
    """
    tokenizer = opened(tokenizer)
    documents = [text for text in as_documents(documents) if text]
    spent = _lengths(tokenizer, documents, [])
    before = sum(spent)
    chosen: list[Suggestion] = []
    candidates = _candidates(tokenizer, documents, least)
    waiting = [_measure(tokenizer, documents, spent, [], text) for text in candidates]
    while waiting and len(chosen) < count:
        texts = [each.text for each in chosen]
        waiting.sort(key=lambda each: (-each.saved_tokens, each.text))
        # Savings shrink as others are chosen, so the first that is still first once measured again is the best.
        best = _measure(tokenizer, documents, spent, texts, waiting[0].text)
        if len(waiting) > 1 and best.saved_tokens < waiting[1].saved_tokens and best != waiting[0]:
            waiting[0] = best
            continue
        waiting = waiting[1:]
        if best.saved_tokens > 0:
            chosen.append(best)
            spent = _lengths(tokenizer, documents, [*texts, best.text])
    return Induction(tuple(chosen), before, sum(spent))


def token_count(tokenizer: Tokenizer, pieces: Sequence[str]) -> int:
    """Tokens of texts, each by itself."""
    return sum(map(len, tokenizer.encode_batch(pieces, parse_special=False)))


def _measure(
    tokenizer: Tokenizer, documents: Sequence[str], spent: Sequence[int], texts: Sequence[str], text: str
) -> Suggestion:
    """What a candidate saves beside `texts`, which are tokens already and leave `spent` tokens a document."""
    touched = [(document, size) for document, size in zip(documents, spent, strict=True) if text in document]
    after = _lengths(tokenizer, [document for document, _ in touched], [*texts, text])
    cut = _pattern([*texts, text])
    occurrences = sum(found == text for document, _ in touched for found in cut.findall(document))
    saved = sum(size for _, size in touched) - sum(after)
    now = len(tokenizer.encode(text, parse_special=False))
    return Suggestion(text, occurrences, now, saved, occurrences * len(text.encode()))


def _lengths(tokenizer: Tokenizer, documents: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Tokens of each document where `texts` are tokens too: it is cut at them, and each part encoded by itself."""
    if not texts:
        return [len(ids) for ids in tokenizer.encode_batch(documents, parse_special=False)]
    cut = _pattern(texts)
    parts = [cut.split(document) for document in documents]
    rest = [[part for part in each[::2] if part] for each in parts]
    sizes = iter(map(len, tokenizer.encode_batch([part for each in rest for part in each], parse_special=False)))
    return [len(each) // 2 + sum(islice(sizes, len(between))) for each, between in zip(parts, rest, strict=True)]


def _pattern(texts: Sequence[str]) -> re.Pattern[str]:
    """Leftmost, then longest: how the engine finds added tokens."""
    return re.compile(f"({'|'.join(map(re.escape, sorted(texts, key=len, reverse=True)))})")


def _candidates(tokenizer: Tokenizer, pieces: Sequence[str], least: int) -> list[str]:
    """Runs of tokens that recur, by what they would save if nothing beside them changed."""
    runs: Counter[bytes] = Counter()
    sizes: dict[bytes, int] = {}
    for piece, found in zip(pieces, tokenizer.segment_batch(pieces, parse_special=False), strict=True):
        content = piece.encode()
        for place, start in enumerate(found.starts):
            for size in range(2, MAX_RUN + 1):
                if place + size > len(found.ends):
                    break
                run = content[start : found.ends[place + size - 1]]
                runs[run] += 1
                sizes[run] = size
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
