"""An analysis as one page; `lazarus_plan.page` frames it."""

from collections.abc import Sequence
from html import escape

import numpy as np

from lazarus_plan.page import page, section
from lazarus_tokenkit.metrics.counts import count_corpus
from lazarus_tokenkit.metrics.coverage import coverage_of
from lazarus_tokenkit.metrics.efficiency import histogram
from lazarus_tokenkit.metrics.entropy import entropy_of
from lazarus_tokenkit.tokenizer import Tokenizer

WIDTH, HEIGHT, MARGIN = 560, 180, 28
MOST_FREQUENT = 30


def analysis_page(tokenizer: Tokenizer, documents: Sequence[str], text: str) -> str:
    """The page.

    Args:
        tokenizer: What is analysed.
        documents: On what.
        text: The analysis that was asked for, as printed; coverage, entropy and histograms stand below it.
    """
    counts = count_corpus(tokenizer, documents)
    sizes = histogram(counts.columns["tokens"])
    used = counts.frequencies
    widths = _token_widths(tokenizer, used)
    frequent = [int(number) for number in np.argsort(-used, kind="stable")[:MOST_FREQUENT] if used[number]]
    sections = [
        section("Tokens a document", "", _columns([(f"{low}", count) for low, _, count in sizes])),
        section("Bytes a token", "Tokens of the corpus by their bytes.", _columns(widths)),
        section("Most frequent tokens", "", _columns([(repr(tokenizer.decode([n])), int(used[n])) for n in frequent])),
        section("Coverage", "", f"<pre>{escape(coverage_of(counts).text())}</pre>"),
        section("Entropy", "", f"<pre>{escape(entropy_of(counts).text())}</pre>"),
    ]
    heading = f"<h1>Tokenizer <code>{escape(tokenizer.name)}</code></h1><pre>{escape(text)}</pre>\n"
    return page(f"Tokenizer {tokenizer.name}", heading + "".join(sections), "lazarus-tokenkit")


def _token_widths(tokenizer: Tokenizer, used: np.ndarray) -> list[tuple[str, int]]:
    widths: dict[int, int] = {}
    for number in np.flatnonzero(used).tolist():
        size = len(tokenizer.token_bytes.get(number, b""))
        widths[size] = widths.get(size, 0) + int(used[number])
    return [(str(size), widths.get(size, 0)) for size in range(max(widths, default=0) + 1)]


def _columns(items: Sequence[tuple[str, int]]) -> str:
    """A histogram: one column an item, its label and count on hovering."""
    tallest = max((count for _, count in items), default=0) or 1
    step = WIDTH / max(len(items), 1)
    columns = [
        f'<rect class="mark" x="{place * step:.1f}" y="{HEIGHT - count / tallest * HEIGHT:.1f}" width="{max(step - 1, 0.5):.1f}"'
        f' height="{count / tallest * HEIGHT:.1f}"><title>{escape(label)}: {count:,}</title></rect>'
        for place, (label, count) in enumerate(items)
    ]
    every = max(1, len(items) // 10)
    labels = [
        f'<text x="{place * step:.1f}" y="{HEIGHT + 16}">{escape(label[:12])}</text>'
        for place, (label, _) in enumerate(items)
        if place % every == 0
    ]
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT + MARGIN}" role="img">{"".join(columns)}{"".join(labels)}</svg>'
