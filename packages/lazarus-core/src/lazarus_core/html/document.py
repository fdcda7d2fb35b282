"""The frame of every report: one self-contained HTML page that loads nothing, with a light and a dark theme."""

import re
from html import escape
from importlib.metadata import version

from lazarus_core.html.charts import COLOURS
from lazarus_core.outputs import OutputKind, begins_with
from lazarus_core.printable import printable

HEAD = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="Lazarus">'
"""The first bytes of every page. They mark a page as written by Lazarus, so that it may be replaced."""
PAGE = OutputKind("a page of Lazarus", begins_with(re.escape(HEAD)))

_DARK = """--ink: #e7ebf1; --soft: #9aa6b6; --line: #343c48; --paper: #14181f; --mark: #6ea3ff; --other: #f0935f;"""
_STYLE = (
    """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6675; --line: #d9dee6; --paper: #fff; --mark: #2f6fdb; --other: #c2572b; }
@media (prefers-color-scheme: dark) { :root { DARK } }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 2.25rem 0 .25rem; }
p { margin: 0 0 .75rem; color: var(--soft); max-width: 46rem; } code, pre, td.code { font: 13px/1.6 ui-monospace, monospace; }
pre { padding: 1rem; border: 1px solid var(--line); border-radius: 8px; overflow-x: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 0 2rem; }
svg { width: 100%; height: auto; display: block; } svg.chart { max-width: 29rem; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .axis { stroke: var(--line); } svg .mark { fill: var(--mark); } svg .other { fill: var(--other); } svg .label { fill: var(--ink); }
svg [class^=path] { fill: none; stroke-width: 1.5; } svg .hair { stroke: var(--soft); stroke-dasharray: 2 3; visibility: hidden; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; } td, th { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } .key { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin-right: .4rem; vertical-align: -1px; }
select, input { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: 6px; padding: .2rem .5rem; }
""".replace("DARK", _DARK)
    + "".join(
        f"svg .path{number} {{ stroke: {colour}; }} .key{number} {{ background: {colour}; }}\n"
        for number, colour in enumerate(COLOURS)
    )
)


def page(title: str, body: str, distribution: str, script: str = "") -> str:
    """Build a page.

    Args:
        title: Title of the window, as plain text.
        body: Content, as HTML.
        distribution: Package that made the page; the footer names it with its version.
        script: JavaScript that runs after the body is loaded.
    """
    code = f"<script>{script}</script>" if script else ""
    return printable(
        f'{HEAD}<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n{body}"
        f"<p>{escape(distribution)} {escape(version(distribution))}</p>{code}</body></html>\n"
    )


def section(title: str, text: str, picture: str) -> str:
    """Build a section.

    Args:
        title: Heading, as plain text.
        text: One line of explanation, as HTML.
        picture: Chart or table, as HTML.
    """
    return f"<section><h2>{escape(title)}</h2><p>{text}</p>{picture}</section>\n"
