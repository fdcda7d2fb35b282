"""Renders an analysis as one HTML page: the requested analysis first, then histograms, coverage and entropy."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lazarus_core.html import Bar, Origin, bars, columns, in_words, page, section, table
from lazarus_tokenkit.analysis.comparison import Comparison
from lazarus_tokenkit.analysis.counts import CorpusCounts, count_corpus
from lazarus_tokenkit.analysis.coverage import Coverage, CoverageByFile, coverage_of, single_token_rates
from lazarus_tokenkit.analysis.efficiency import histogram
from lazarus_tokenkit.analysis.entropy import Entropy, entropy_of
from lazarus_tokenkit.analysis.fit import FitScore
from lazarus_tokenkit.analysis.suggestions import Suggestions
from lazarus_tokenkit.analysis.vocabularies import VocabularyDiff
from lazarus_tokenkit.analysis.words import Ranges, WordReport
from lazarus_tokenkit.tables import Table
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

MOST_FREQUENT = 30


class Analysis(Protocol):
    """The result of an analysis."""

    def to_json(self) -> dict[str, Any]: ...

    def text(self) -> str:
        """Formats the result as a table."""
        ...

    def blocks(self) -> Sequence[Table | str]:
        """The result as tables and paragraphs."""
        ...


def analysis_page(
    tokenizer: Tokenizer,
    documents: Sequence[str],
    found: Analysis,
    *,
    names: Sequence[str] = (),
    origin: Origin | None = None,
) -> str:
    """Renders the HTML page of one tokenizer.

    Args:
        tokenizer: The tokenizer that the page describes.
        documents: The corpus.
        found: The requested analysis. Histograms, coverage and entropy follow it.
        names: Names of the corpus's files, for the title.
        origin: Command and time for the footer. Without it, the same results are the same page.
    """
    counts = count_corpus(tokenizer, documents)
    histograms = f'<div class="pair">{_lengths(counts)}{_widths(tokenizer, counts)}</div>'
    sections = [*_pictures(found), histograms, _frequent(tokenizer, counts)]
    if not isinstance(found, Coverage):
        covered = coverage_of(counts, *single_token_rates(tokenizer, documents))
        title = "Coverage of all files" if isinstance(found, CoverageByFile) else "Coverage"
        sections.append(section(title, "", _printed(covered)))
    if not isinstance(found, Entropy):
        sections.append(section("Entropy", "", _printed(entropy_of(counts))))
    title = f"{_title(found)} of tokenizer {tokenizer.name}{' on ' + in_words(names) if names else ''}"
    counted = f"<p>{len(documents):,} documents, {int(counts.frequencies.sum()):,} tokens</p>"
    heading = f"<header><h1>{escape(title)}</h1>{counted}</header>{_printed(found)}\n"
    return page(title, heading + "".join(sections), "lazarus-tokenkit", origin=origin)


def _title(found: Analysis) -> str:
    """What an analysis measures."""
    match found:
        case Coverage() | CoverageByFile():
            return "Coverage"
        case Entropy():
            return "Entropy"
        case FitScore():
            return "Fit score"
        case Suggestions():
            return "Suggested vocabulary"
        case WordReport():
            return "Words"
        case _:
            return "Lengths"


def diff_page(
    tokenizers: tuple[Tokenizer, Tokenizer],
    documents: Sequence[str],
    vocabularies: VocabularyDiff,
    found: Comparison | None,
    *,
    files: Sequence[str] = (),
    origin: Origin | None = None,
) -> str:
    """Renders the HTML page that compares two tokenizers.

    Args:
        tokenizers: The two tokenizers.
        documents: The corpus; used only with `found`.
        vocabularies: The comparison of the vocabularies.
        found: The comparison on the corpus, or None.
        files: Names of the corpus's files, for the title.
        origin: Command and time for the footer. Without it, the same results are the same page.
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
        pairs = [Bar(f"{kind}, {name}", count / most, f"{count:,}", name == names[0]) for kind, name, count in kinds]
        both = "".join(_lengths(counts, name) for name, counts in zip(names, counted, strict=True))
        sections = [
            f'<div class="pair">{both}</div>',
            section("Tokens by the kind of their first character", "", bars(pairs)),
            *sections,
        ]
    title = f"Tokenizers {names[0]} and {names[1]}{' on ' + in_words(files) if files else ''}"
    printed = "" if found is None else _printed(found)
    body = f"<header><h1>{escape(title)}</h1></header>{printed}\n{''.join(sections)}"
    return page(title, body, "lazarus-tokenkit", origin=origin)


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
    picture = _histogram(counts.columns["tokens"], None, "tokens", "documents")
    return section("Tokens a document", escape(name), picture)


def _widths(tokenizer: Tokenizer, counts: CorpusCounts) -> str:
    used = np.flatnonzero(counts.frequencies)
    sizes = np.array([len(tokenizer.token_bytes.get(number, b"")) for number in used.tolist()], dtype=np.int64)
    picture = _histogram(sizes, counts.frequencies[used], "bytes", "tokens") if len(used) else ""
    return section("Bytes a token", "Tokens of the corpus by their bytes.", picture)


def _histogram(sizes: NDArray[np.int64], occurrences: NDArray[np.int64] | None, unit: str, counted: str) -> str:
    ranges = histogram(sizes, occurrences)
    edges = [*(low for low, _, _ in ranges), ranges[-1][1] + 1]
    return columns([count for *_, count in ranges], edges, unit, counted)


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
    return bars([Bar(name, value / most, texts[name], is_ours=True) for name, value in items.items()])


def _labelled(ranges: Ranges) -> dict[str, int]:
    labels = [
        f"{low:,} or more" if high is None else f"{low:,}" if low == high else f"{low:,} to {high:,}"
        for low, high, _ in ranges
    ]
    return {label: count for label, (*_, count) in zip(labels, ranges, strict=True)}


def _printed(found: Analysis) -> str:
    """Renders the tables and paragraphs of an analysis. Coverage by file is one table with a column for each file."""
    if isinstance(found, CoverageByFile) and len(found.files) > 1:
        tables = [each.table().rows for each in found.files.values()]
        rows = [
            (each[0][0], *(cells[1] for cells in each), each[0][2] if len({cells[2] for cells in each}) == 1 else "")
            for each in zip(*tables, strict=True)
        ]
        head = ("", *found.files, "")
        *_, last = found.blocks()
        return f"{table(head, rows, numbers=range(1, len(head) - 1))}<p>{escape(str(last))}</p>"
    return "".join(f"<p>{escape(each)}</p>" if isinstance(each, str) else _table(each) for each in found.blocks())


def _table(found: Table) -> str:
    head, rows = (found.rows[0], found.rows[1:]) if found.has_head else ((), found.rows)
    title = f"<h3>{escape(found.title)}</h3>" if found.title else ""
    return title + table(head, rows, numbers=found.right, label=found.title or "Figures")
