"""The layout of help pages: width, headings of options, whole sentences, examples.

A docstring of a command ends with lines `Example: ARGUMENTS`. Help shows each behind the command as it was called, such as
`lazarus tokenizer encode ARGUMENTS` or `lazarus-tokenkit encode ARGUMENTS`.
"""

import inspect
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from lazarus_core.console.color import styled

_EXAMPLE = re.compile(r"^[ \t]*Example: (.+)$", re.MULTILINE)
_SENTENCE = re.compile(r"(?:\([^()]*\)|.)*?[.!?](?=\s+[A-Z`]|$)", re.DOTALL)
"""A sentence; a full stop inside parentheses, as of an abbreviation, does not end it."""
_NOTES = re.compile(
    r"(?P<text>.*?)(?: ?\[(?P<own>default: [^\[\]]*)\]\.)?(?:(?:^|  )\[(?P<typer>[^\[\]]*)\])?", re.DOTALL
)
_LIMITS = r"^(?:(?P<low>[-\d.]+)<=)?x(?:>=(?P<least>[-\d.]+)|<=(?P<high>[-\d.]+))$"
_HYPHEN = "\N{NON-BREAKING HYPHEN}"
_LEAST_WIDTH = 38
"""Characters of a line in a narrower terminal."""
_NAMES_SHARE = 3
"""Names of options take at most a third of the line, and 30 characters."""

ARGUMENTS, INPUT, FIELDS, OPTIONS, OUTPUT, COMMON = (
    *("Arguments", "Input", "Fields of the rows", "Options", "Output", "Common options"),
)
_COMMON = {"--help", "--quiet", "--version", "--install-completion", "--show-completion"}
_OUTPUT = {"--output", "--force", "--json", "--format", "--report", "--save", "--dry-run", "--html"}
_INPUT = {
    *(
        "--adapter",
        "--base",
        "--batch-plan",
        "--config",
        "--data",
        "--draft",
        "--encoded",
        "--ids",
        "--lengths",
        "--lock",
    ),
    *(
        "--log",
        "--model",
        "--parent",
        "--parent-lengths",
        "--plan",
        "--prompt",
        "--prompt-file",
        "--prompts",
        "--replies",
    ),
    *("--system", "--template", "--tokenizer"),
}


def help_width() -> int:
    """Characters of a line of help: those of the terminal or of `COLUMNS`, 80 if there is none, less two."""
    return max(shutil.get_terminal_size((80, 24)).columns - 2, _LEAST_WIDTH)


def split_examples(words: str | None) -> tuple[str, list[str]]:
    r"""Text and examples of a docstring.

    >>> split_examples("Count lines.\n\nExample: --data a.txt\nExample: -")
    ('Count lines.', ['--data a.txt', '-'])
    """
    text = inspect.cleandoc(words or "").partition("\f")[0]
    return _EXAMPLE.sub("", text).strip(), _EXAMPLE.findall(text)


def first_sentence(words: str | None) -> str:
    r"""The first sentence of a docstring, on one line.

    >>> first_sentence("Check a plan: exit 1 if it is\ninvalid. See `verify`.")
    'Check a plan: exit 1 if it is invalid.'
    """
    paragraph = " ".join(split_examples(words)[0].partition("\n\n")[0].split())
    found = _SENTENCE.match(paragraph)
    return found[0] if found else paragraph


def unbroken(text: str) -> str:
    """A text whose words are not broken at their hyphens; `broken` gives the hyphens back after the lines are made."""
    return re.sub(r"(?<=\w)-(?=\w)", _HYPHEN, text)


def broken(page: str) -> str:
    """A page of `unbroken` texts with its hyphens."""
    return page.replace(_HYPHEN, "-")


def with_notes(words: str, *, is_repeatable: bool = False) -> str:
    """The words of an option with its notes in one bracket, and limits in words instead of Typer's.

    >>> with_notes("Rows.  [default: 4; x>=2]"), with_notes("Share [default: all].  [0<=x<=1.0]")
    ('Rows [default: 4; at least 2].', 'Share [default: all; 0 to 1].')
    >>> with_notes("Files.", is_repeatable=True), with_notes("Count.  [default: 1; x>=1]"), with_notes("Id.  [x>=0]")
    ('Files [repeatable].', 'Count [default: 1].', 'Id.')

    Args:
        words: As Typer writes them: `Text.  [notes]`, where the text may end with `[default: words].`.
        is_repeatable: Whether the option can be given several times.
    """
    found = _NOTES.fullmatch(words)
    assert found is not None, "every part is optional"
    notes = [found["own"] or "", *(_in_words(note) for note in (found["typer"] or "").split("; "))]
    notes = [note for note in [*notes, "repeatable" if is_repeatable else ""] if note]
    if not notes:
        return found["text"]
    text, bracket = found["text"].rstrip(". "), f"[{'; '.join(notes)}]"
    return f"{text} {bracket}." if text else bracket


def _in_words(note: str) -> str:
    """A note of Typer's; empty for the limit of a count, which is at least 0 or 1."""
    found = re.match(_LIMITS, note)
    if found is None:
        return note
    low, least, high = ((found[name] or "").removesuffix(".0") for name in ("low", "least", "high"))
    if low:
        return f"{low} to {high}"
    if least:
        return "" if least in ("0", "1") else f"at least {least}"
    return f"at most {high}"


def section_of(param: Any) -> str:
    """The heading under which help lists an option or argument: its `rich_help_panel`, or one by its name."""
    if param.param_type_name == "argument":
        return ARGUMENTS
    if heading := getattr(param, "rich_help_panel", None):
        return str(heading)
    names = set(param.opts)
    if names & _COMMON:
        return COMMON
    if names & _OUTPUT:
        return OUTPUT
    if any(name.endswith("-field") for name in names):
        return FIELDS
    return INPUT if names & _INPUT and not param.is_flag else OPTIONS


def ordered_sections(headings: Iterable[str]) -> list[str]:
    """Headings in the order of the page: arguments and input first, output and common options last.

    >>> ordered_sections(["Common options", "Output", "LoRA", "Input"])
    ['Input', 'LoRA', 'Output', 'Common options']
    """
    places = {ARGUMENTS: 0, INPUT: 1, FIELDS: 2, OUTPUT: 4, COMMON: 5}
    return sorted(dict.fromkeys(headings), key=lambda heading: places.get(heading, 3))


Rows = Sequence[tuple[str, str]]
"""Names and their words."""


def write_sections(formatter: Any, sections: Mapping[str, Rows], *, has_color: bool) -> None:
    """Writes lists of names with their words, each below its heading; the words of all begin in one column.

    Args:
        formatter: Of the help page.
        sections: Headings, in the order of the page, and lists.
        has_color: Whether the page has colour.
    """
    most = min(30, formatter.width // _NAMES_SHARE)
    width = min(most, max((len(name) for rows in sections.values() for name, _ in rows), default=0))
    for heading, rows in sections.items():
        padded = [(name.ljust(width) if words else name, words) for name, words in rows]
        shown = [(styled(name, "name") if has_color else name, words) for name, words in padded]
        with formatter.section(styled(heading, "bold") if has_color else heading):
            formatter.write_dl(shown, col_max=most)


def write_examples(formatter: Any, command: str, examples: Sequence[str], *, has_color: bool) -> None:
    """Writes examples as lines for a shell. A long one continues on the next line, behind a backslash.

    Args:
        formatter: Of the help page.
        command: The command as it was called.
        examples: Arguments of each example.
        has_color: Whether the page has colour.
    """
    heading = "Examples" if len(examples) > 1 else "Example"
    with formatter.section(styled(heading, "bold") if has_color else heading):
        for example in examples:
            lines = shell_lines(f"{command} {example}", formatter.width - 2)
            formatter.write("".join(f"  {line}\n" for line in lines))


def shell_lines(command: str, width: int) -> list[str]:
    r"""A command on lines of a width, broken before options only.

    >>> shell_lines("act --first one --second two", 20)
    ['act --first one \\', '    --second two']

    Args:
        command: The command.
        width: Characters of a line.
    """
    lines = [""]
    for part in re.split(r" (?=--?[a-z])", command):
        if lines[-1] and len(lines[-1]) + 1 + len(part) > width - 2:
            lines[-1] += " \\"
            lines.append(f"    {part}")
        else:
            lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return lines


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Names that are like an unknown one, best first, at most three: those that it begins, then those with like letters.

    >>> nearest("tok", ["train", "tokenizer"]), nearest("--nope", ["--mode", "--model"])
    (['tokenizer'], [])

    Args:
        word: The unknown name; dashes at its beginning do not count.
        known: The known names.
    """
    bare = {name.lstrip("-"): name for name in known}
    asked = word.lstrip("-")
    begun = [name for name in bare if len(asked) > 1 and name.startswith(asked)]
    like = get_close_matches(asked, bare, n=3, cutoff=0.66)
    return [bare[name] for name in dict.fromkeys([*begun, *like])][:3]


def did_you_mean(names: Sequence[str]) -> str:
    """The question whether names were meant; empty without names.

    >>> did_you_mean(["--mode", "--model"])
    '; did you mean --mode or --model?'
    """
    return f"; did you mean {' or '.join(names)}?" if names else ""
