"""An analysis as one page: self-contained HTML with inline SVG, nothing loaded from anywhere."""

from collections.abc import Sequence
from html import escape
from importlib.metadata import version

import numpy as np

from lazarus_tokenkit.metrics.counts import count_corpus
from lazarus_tokenkit.metrics.coverage import coverage_of
from lazarus_tokenkit.metrics.efficiency import histogram
from lazarus_tokenkit.metrics.entropy import entropy_of
from lazarus_tokenkit.tokenizer import Tokenizer

WIDTH, HEIGHT, MARGIN = 560, 180, 28
MOST_FREQUENT = 30
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6675; --line: #d9dee6; --paper: #fff; --mark: #2f6fdb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf1; --soft: #9aa6b6; --line: #343c48; --paper: #14181f; --mark: #6ea3ff; } }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 2.25rem 0 .25rem; } p { color: var(--soft); margin: 0 0 .75rem; }
pre { padding: 1rem; border: 1px solid var(--line); border-radius: 8px; overflow-x: auto; font: 13px/1.6 ui-monospace, monospace; }
svg { width: 100%; max-width: 36rem; height: auto; display: block; } svg rect { fill: var(--mark); } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
"""


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
        _section("Tokens a document", "", _columns([(f"{low}", count) for low, _, count in sizes])),
        _section("Bytes a token", "Tokens of the corpus by their bytes.", _columns(widths)),
        _section("Most frequent tokens", "", _columns([(repr(tokenizer.decode([n])), int(used[n])) for n in frequent])),
        _section("Coverage", "", f"<pre>{escape(coverage_of(counts).text())}</pre>"),
        _section("Entropy", "", f"<pre>{escape(entropy_of(counts).text())}</pre>"),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Tokenizer {escape(tokenizer.name)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>Tokenizer <code>{escape(tokenizer.name)}</code></h1><pre>{escape(text)}</pre>\n{''.join(sections)}"
        f"<p>lazarus-tokenkit {escape(version('lazarus-tokenkit'))}</p></body></html>\n"
    )


def _token_widths(tokenizer: Tokenizer, used: np.ndarray) -> list[tuple[str, int]]:
    widths: dict[int, int] = {}
    for number in np.flatnonzero(used).tolist():
        size = len(tokenizer.token_bytes.get(number, b""))
        widths[size] = widths.get(size, 0) + int(used[number])
    return [(str(size), widths.get(size, 0)) for size in range(max(widths, default=0) + 1)]


def _section(title: str, words: str, body: str) -> str:
    note = f"<p>{escape(words)}</p>" if words else ""
    return f"<h2>{escape(title)}</h2>{note}{body}\n"


def _columns(items: Sequence[tuple[str, int]]) -> str:
    """A histogram: one column an item, its label and count on hovering."""
    tallest = max((count for _, count in items), default=0) or 1
    step = WIDTH / max(len(items), 1)
    columns = [
        f'<rect x="{place * step:.1f}" y="{HEIGHT - count / tallest * HEIGHT:.1f}" width="{max(step - 1, 0.5):.1f}"'
        f' height="{count / tallest * HEIGHT:.1f}"><title>{escape(label)}: {count:,}</title></rect>'
        for place, (label, count) in enumerate(items)
    ]
    every = max(1, len(items) // 10)
    labels = [
        f'<text x="{place * step:.1f}" y="{HEIGHT + 16}">{escape(label[:12])}</text>'
        for place, (label, _) in enumerate(items)
        if place % every == 0
    ]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT + MARGIN}" role="img">{"".join(columns)}{"".join(labels)}</svg>'
