"""The frame of every report: one self-contained HTML page that loads nothing, with a light and a dark theme."""

import re
from html import escape
from importlib.metadata import version

from lazarus_core.html.origin import Origin
from lazarus_core.html.readout import READOUT
from lazarus_core.html.theme import DARK, LIGHT, STYLE
from lazarus_core.outputs import OutputKind, begins_with
from lazarus_core.printable import printable

HEAD = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="Lazarus">'
"""The first bytes of every page. They mark a page as written by Lazarus, so that it may be replaced."""
PAGE = OutputKind("a page of Lazarus", begins_with(re.escape(HEAD)))
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: the browser refuses every request of a page."""


def page(
    title: str, body: str, distribution: str, script: str = "", *, style: str = "", origin: Origin | None = None
) -> str:
    """Build a page.

    Args:
        title: Title of the window, as plain text. It says what the page is of.
        body: Content, as HTML, with one `h1`.
        distribution: Package that made the page; the footer names it with its version.
        script: JavaScript that runs after the body is loaded.
        style: Rules of the page's own, after those of every page.
        origin: Command and time for the footer. Without it, the same content is the same page.
    """
    code = "".join(f"<script>{each}</script>" for each in (script, READOUT if 'class="plot"' in body else "") if each)
    made = f"{escape(distribution)} {escape(version(distribution))}"
    if origin is not None:
        time = f"{origin.time:%Y-%m-%dT%H:%M:%SZ}"
        made += f', <time datetime="{time}">{origin.time:%Y-%m-%d %H:%M:%S} UTC</time>'
    command = "" if origin is None else f"<p><code>{escape(origin.command)}</code></p>"
    themes = "".join(
        f'<meta name="theme-color" media="(prefers-color-scheme: {name})" content="{colours["paper"]}">'
        for name, colours in (("light", LIGHT), ("dark", DARK))
    )
    return printable(
        f'{HEAD}<meta name="viewport" content="width=device-width, initial-scale=1">{themes}'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>\n<main>{body}</main>\n"
        f"<footer>{command}<p>{made}</p></footer>{code}</body></html>\n"
    )


def section(title: str, text: str, picture: str) -> str:
    """Build a section.

    Args:
        title: Heading, as plain text.
        text: One line of explanation, as HTML.
        picture: Chart or table, as HTML.
    """
    return f"<section><h2>{escape(title)}</h2>{f'<p>{text}</p>' if text else ''}{picture}</section>\n"
