"""Renders an analysis as one HTML page: the requested analysis first, then histograms, coverage and entropy."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lazarus_core.html import Bar, bars, columns, page, section
from lazarus_tokenkit.analysis.comparison import Comparison
from lazarus_tokenkit.analysis.counts import CorpusCounts, count_corpus
from lazarus_tokenkit.analysis.coverage import Coverage, CoverageByFile, coverage_of, single_token_rates
from lazarus_tokenkit.analysis.efficiency import histogram
from lazarus_tokenkit.analysis.entropy import Entropy, entropy_of
from lazarus_tokenkit.analysis.fit import FitScore
from lazarus_tokenkit.analysis.suggestions import Suggestions
from lazarus_tokenkit.analysis.vocabularies import VocabularyDiff
from lazarus_tokenkit.analysis.words import Ranges, WordReport
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

MOST_FREQUENT = 30
MAX_NAME = 40
"""Largest number of characters of a bar's label in `lazarus_core.html`."""


class Analysis(Protocol):
    """The result of an analysis."""

    def to_json(self) -> dict[str, Any]: ...

    def text(self) -> str:
        """Formats the result as a table."""
        ...


def analysis_page(tokenizer: Tokenizer, documents: Sequence[str], found: Analysis) -> str:
    """Renders the HTML page of one tokenizer.

    Args:
        tokenizer: The tokenizer that the page describes.
        documents: The corpus.
        found: The requested analysis. Histograms, coverage and entropy follow it.
    """
    counts = count_corpus(tokenizer, documents)
    sections = [*_pictures(found), _lengths(counts), _widths(tokenizer, counts), _frequent(tokenizer, counts)]
    if not isinstance(found, Coverage):
        covered = coverage_of(counts, *single_token_rates(tokenizer, documents))
        sections.append(section("Coverage", "", _printed(covered)))
    if not isinstance(found, Entropy):
        sections.append(section("Entropy", "", _printed(entropy_of(counts))))
    heading = f"<h1>Tokenizer <code>{escape(tokenizer.name)}</code></h1>{_printed(found)}\n"
    return page(f"Tokenizer {tokenizer.name}", heading + "".join(sections), "lazarus-tokenkit")


def diff_page(
    tokenizers: tuple[Tokenizer, Tokenizer],
    documents: Sequence[str],
    vocabularies: VocabularyDiff,
    found: Comparison | None,
) -> str:
    """Renders the HTML page that compares two tokenizers.

    Args:
        tokenizers: The two tokenizers.
        documents: The corpus; used only with `found`.
        vocabularies: The comparison of the vocabularies.
        found: The comparison on the corpus, or None.
    """
    names = vocabularies.names
    only = {f"only {name}": size - vocabularies.shared for name, size in zip(names, vocabularies.sizes, strict=True)}
    sections = [
        section("Pieces", "By their bytes.", _bars({"in both": vocabularies.shared} | only)),
        section("Vocabulary differences", "", _printed(vocabularies)),
    ]
    if found is not None:
        counted = [count_corpus(tokenizer, documents) for tokenizer in tokenizers]
        kinds = [
            (kind, names[place], count) for kind, both in found.by_category.items() for place, count in enumerate(both)
        ]
        most = max(count for *_, count in kinds) or 1
        pairs = [
            Bar(_short(f"{kind}, {name}"), count / most, f"{count:,}", name == names[0]) for kind, name, count in kinds
        ]
        both = "".join(_lengths(counts, name) for name, counts in zip(names, counted, strict=True))
        sections = [
            f'<div class="pair">{both}</div>',
            section("Tokens by the kind of their first character", "", bars(pairs)),
            *sections,
        ]
    heading = f"<h1>Tokenizers <code>{escape(names[0])}</code> and <code>{escape(names[1])}</code></h1>"
    printed = "" if found is None else _printed(found)
    return page(f"{names[0]} and {names[1]}", f"{heading}{printed}\n{''.join(sections)}", "lazarus-tokenkit")


def _pictures(found: Analysis) -> Iterable[str]:
    """Yields the charts that are specific to an analysis."""
    match found:
        case CoverageByFile():
            rates = {name: each.bytes_per_token or 0.0 for name, each in found.files.items()}
            yield section("Bytes a token, by file", "", _bars(rates))
        case FitScore():
            shares = [Bar(name, share, f"{share:.3f}", is_ours=True) for name, share in found.parts.items()]
            yield section("Parts", "Each from 0 to 1, relative to the reference tokenizer.", bars(shares))
        case Suggestions() if found.suggestions:
            saved = {repr(each.text): each.saved_tokens for each in found.suggestions}
            yield section("Tokens saved", "By each suggestion, after those above it.", _bars(saved))
        case WordReport() if found.distinct:
            yield section("Tokens a word", "Distinct words, each after a space.", _bars(_labelled(found.by_tokens)))
            yield section(
                "Occurrences of a word",
                "Distinct words by their number of occurrences.",
                _bars(_labelled(found.by_occurrence)),
            )
        case _:
            pass


def _lengths(counts: CorpusCounts, name: str = "") -> str:
    picture = _histogram(counts.columns["tokens"], None, "tokens a document (documents upwards)")
    return section("Tokens a document", escape(name), picture)


def _widths(tokenizer: Tokenizer, counts: CorpusCounts) -> str:
    used = np.flatnonzero(counts.frequencies)
    sizes = np.array([len(tokenizer.token_bytes.get(number, b"")) for number in used.tolist()], dtype=np.int64)
    picture = _histogram(sizes, counts.frequencies[used], "bytes a token (tokens upwards)") if len(used) else ""
    return section("Bytes a token", "Tokens of the corpus by their bytes.", picture)


def _histogram(sizes: NDArray[np.int64], occurrences: NDArray[np.int64] | None, unit: str) -> str:
    ranges = histogram(sizes, occurrences)
    edges = [*(low for low, _, _ in ranges), ranges[-1][1] + 1]
    return columns([count for *_, count in ranges], edges, unit)


def _frequent(tokenizer: Tokenizer, counts: CorpusCounts) -> str:
    used = counts.frequencies
    numbers = [int(number) for number in np.argsort(-used, kind="stable")[:MOST_FREQUENT] if used[number]]
    contents = {number: tokenizer.token_bytes.get(number, b"").decode(errors="backslashreplace") for number in numbers}
    items = {f"{contents[number]!r}, id {number}": int(used[number]) for number in numbers}
    return section("Most frequent tokens", f"Of {int(used.sum()):,} in all.", _bars(items))


def _bars(items: Mapping[str, int | float]) -> str:
    """Renders horizontal bars. The longest bar has the full width."""
    most = max(items.values(), default=0) or 1
    texts = {name: f"{value:,}" if isinstance(value, int) else f"{value:.3f}" for name, value in items.items()}
    return bars([Bar(_short(name), value / most, texts[name], is_ours=True) for name, value in items.items()])


def _short(name: str) -> str:
    """Shortens a long name in the middle: the end of a path and the start of a piece are both significant."""
    half = MAX_NAME // 2 - 1
    return name if len(name) <= MAX_NAME else f"{name[:half]}..{name[-half:]}"


def _labelled(ranges: Ranges) -> dict[str, int]:
    labels = [
        f"{low:,} or more" if high is None else f"{low:,}" if low == high else f"{low:,} to {high:,}"
        for low, high, _ in ranges
    ]
    return {label: count for label, (*_, count) in zip(labels, ranges, strict=True)}


def _printed(found: Analysis) -> str:
    return f"<pre>{escape(found.text())}</pre>"
