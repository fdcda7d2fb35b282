"""The tables of the pages of `docs/migrate`: what another project calls a thing, and what does its work here.

A row has three cells: `there`, `here`, and a remark. Names and lines are in backticks. A row of commands runs, from the
top of a page to its end, unless its remark begins with "not run: REASON".
"""

import functools
import re
import shlex
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

import commands
import documents
from command_pages import Page, pages
from lazarus_core.codes import all_codes
from lazarus_core.commands import Group
from lazarus_train.objective_registry import ObjectiveSettings

FOLDER = documents.DOCS / "migrate"
NOT_RUN = ("needs the network", "needs another machine", "runs until ctrl-c", "takes hours", "needs a gpu")
"""Reasons why a line may stay unrun."""
RUN_ELSEWHERE = ("Lines of its README",)
"""Sections whose lines `test_seed_commands` runs."""
COMPLETE = ("Steps", "Commands", "Make targets", "Recipes of just", "Tokenizer mismatch", *RUN_ELSEWHERE)
"""Sections whose commands are whole lines, which run. Those of other sections name options of a command."""
_CODE = re.compile(r"L[A-Z]-E\d{3}")
_CELLS = re.compile(r"(?<!\\)\|")
_TICKED = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        section: Heading above the table.
        there: Names of the other project; `*` stands for any text.
        here: Commands, settings and error codes.
        remark: The third cell.
        line: Its line in the page, from 1.
    """

    section: str
    there: tuple[str, ...]
    here: tuple[str, ...]
    remark: str
    line: int

    @property
    def lines(self) -> list[str]:
        """Its commands."""
        return [word for word in self.here if word.startswith("lazarus ")]

    @property
    def codes(self) -> list[str]:
        """Codes with which its commands refuse."""
        return [word for word in self.here if _CODE.fullmatch(word)]

    @property
    def is_complete(self) -> bool:
        """Whether its commands are whole lines."""
        return self.section in COMPLETE

    @property
    def runs(self) -> bool:
        """Whether a test of its page runs its commands."""
        return self.is_complete and self.reason is None and self.section not in RUN_ELSEWHERE

    @property
    def reason(self) -> str | None:
        """Why it is not run, or None."""
        matched = re.match(r"not run: ([^;]+)", self.remark)
        return matched[1] if matched else None


def rows_of(text: str) -> list[Row]:
    """Rows of all tables with the head `there`, `here`, `remark`."""
    found: list[Row] = []
    section, inside = "", False
    for number, line in enumerate(text.splitlines(), 1):
        if heading := re.match(r"#+ (.*)", line):
            section, inside = heading[1], False
        cells = [cell.strip() for cell in _CELLS.split(line)[1:-1]] if line.startswith("|") else []
        if cells == ["there", "here", "remark"]:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(line) <= set("|- "):
            assert len(cells) == 3, f"line {number}: a row has three cells"
            there, here = (tuple(word.replace("\\|", "|") for word in _TICKED.findall(cell)) for cell in cells[:2])
            found.append(Row(section, there, here, cells[2], number))
    return found


def matches(pattern: str, name: str) -> bool:
    """Whether a name of a page is that of a thing; `*` stands for any text, also in the thing's own name."""
    return pattern == name or fnmatchcase(name, pattern)


def uncovered(rows: list[Row], things: dict[str, list[str]]) -> list[str]:
    """Things without a row in the section that bears their kind."""
    patterns: dict[str, set[str]] = {}
    for row in rows:
        patterns.setdefault(row.section, set()).update(row.there)
    return [
        f"{section}: {name}"
        for section, names in things.items()
        for name in names
        if not any(matches(pattern, name) for pattern in patterns.get(section, ()))
    ]


class Called(NamedTuple):
    """The command that a line calls.

    Attributes:
        command: The command.
        name: Its name in its group.
        parent: Context of the group.
        words: The words after the name.
    """

    command: Any
    name: str
    parent: Any
    words: list[str]


def called(line: str) -> Called:
    """The command that a line calls, as the command line finds it."""
    page, words = pages("lazarus")["lazarus"], shlex.split(line)[1:]
    while words:
        try:
            name, command, words = page.command.resolve_command(page.context, words)
        except Exception as error:  # of the parser that typer brings
            raise AssertionError(f"{line}: {error}") from error
        if not isinstance(command, Group):
            return Called(command, name, page.context, words)
        page = Page(command, command.make_context(name, [], parent=page.context, resilient_parsing=True))
    raise AssertionError(f"{line}: it names a group, not a command")


def check_line(line: str) -> None:
    """Parses a whole line by the command that it calls."""
    it = called(line)
    try:
        context = it.command.make_context(it.name, it.words, parent=it.parent)
    except Exception as error:  # of the parser that typer brings
        raise AssertionError(f"{line}: {error}") from error
    assert context.args == [], line


def check_options(line: str) -> None:
    """Checks that a command has the options that a row names, without the values of the others."""
    it = called(line)
    known = {name for each in it.command.params for name in (*each.opts, *each.secondary_opts)}
    unknown = [word for word in it.words if word.startswith("-") and word not in known]
    assert not unknown, f"{line}: no option {unknown}"


def check_setting(name: str) -> None:
    """Checks that a recipe has a setting `STAGE.NAME...`, of a stage that is named by its type."""
    from lazarus_cli.recipes.registry import is_type, stage_type

    stage, *parts = name.split(".")
    assert is_type(stage), f"no type of stages `{stage}`: {name}"
    at: Any = stage_type(stage).settings_type()
    for part in parts:
        members = [model for model in _models(at) if part in model.model_fields]
        assert members, f"no setting `{name}`"
        at = members[0].model_fields[part].annotation


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from annotation.variants() if annotation is ObjectiveSettings else (annotation,)
    for part in get_args(annotation):
        yield from _models(part)


@functools.cache
def config_keys() -> frozenset[str]:
    """Keys of `config.json` of a model of texts."""
    from lazarus_models.composition import preset

    config = preset("nano", vocab_size=300)
    return frozenset({*type(config).model_fields, *config.raw})


def run_page(page: Path, folder: Path) -> list[str]:
    """Writes a page's files and runs its commands in order.

    Args:
        page: The page.
        folder: An empty folder.

    Returns:
        A line for each command that did not do what the page says.
    """
    text = page.read_text("utf-8")
    for block in documents.blocks(text):
        if block.language == "python":
            commands.run([sys.executable, "-c", block.text], cwd=folder, check=True)
        else:
            documents.play(block, folder)
    wrong: list[str] = []
    for row in rows_of(text):
        for line in row.lines if row.runs else ():
            done = commands.run([sys.executable, "-m", "lazarus_cli", *shlex.split(line)[1:]], cwd=folder)
            refused = any(f"[{code}]" in done.stderr for code in row.codes)
            if (done.returncode in (1, 2) and refused) if row.codes else done.returncode == 0:
                continue
            wrong.append(f"{page.name}:{row.line}: {line}: exit {done.returncode}: {done.stderr[-400:]}")
    return wrong


def check_name(row: Row, name: str) -> None:
    """Checks one name in the second cell of a row: a command, an option, a setting, a key of `config.json`, or a code."""
    if name.startswith("lazarus "):
        (check_line if row.is_complete else check_options)(name)
    elif _CODE.fullmatch(name):
        assert name in all_codes(), f"line {row.line}: no code {name}"
    elif name.startswith("config.json: "):
        assert name.partition(": ")[2] in config_keys(), f"line {row.line}: {name}"
    else:
        check_setting(name)
