"""Prints the reference of all commands, `apps/lazarus-cli/docs/cli.md`; `--write` replaces the page.

    uv run python tools/cli_reference.py --write

The page is made from the commands themselves. A test compares it.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from typer.main import get_command

from lazarus_core.commands import broken, help_record, split_examples

PAGE = Path(__file__).parents[1] / "apps/lazarus-cli/docs/cli.md"
HEAD = """\
# Commands

Every command of `lazarus`, made from the code by `tools/cli_reference.py`; a test compares this page. `lazarus COMMAND --help` prints
the same. [Getting started](getting-started.md) is the better first page.

Results go to stdout, messages and progress to stderr. Exit codes: 0 success, 1 a check failed, 2 bad input or bad usage, 128 plus the
number of a signal. Every error line ends with a code; `lazarus explain CODE` prints its meaning and the way out ([all
codes](errors.md)). Every command has `-h`, which prints its help, and `-q`, which hides information and progress. [Environment
variables, exit codes and JSON](environment.md) are on a page of their own. Each package has its own command too: `lazarus-plan build` is `lazarus data batchplan build`.
"""
SHARED = "Options of all training commands"


class Leaf(NamedTuple):
    """A command that does something.

    Args:
        words: Its name, such as `lazarus data lengths build`.
        command: The command of click.
        context: The context in which its parameters are described.
    """

    words: str
    command: Any
    context: Any


def leaves(command: Any, context: Any) -> Iterator[Leaf]:
    """All commands below a command that help shows, in the order of its lists."""
    if not hasattr(command, "list_commands"):
        yield Leaf(context.command_path, command, context)
        return
    for name in command.list_commands(context):
        _, child, _ = command.resolve_command(context, [name])
        if child is not None and not child.hidden:
            yield from leaves(child, type(context)(child, info_name=name, parent=context))
            for deeper in command.below(name) if hasattr(command, "below") else ():
                words, found, _ = command.resolve_command(context, [name, deeper])
                yield from leaves(found, type(context)(found, info_name=words, parent=context))


def all_leaves() -> list[Leaf]:
    """All commands of `lazarus`."""
    os.environ["COLUMNS"] = "80"  # no text depends on the terminal
    from lazarus_cli.main import app

    root = get_command(app)
    return list(leaves(root, root.make_context("lazarus", [], resilient_parsing=True)))


class Parameter(NamedTuple):
    """An argument or option as help describes it."""

    name: str
    words: str


def parameters(leaf: Leaf) -> list[Parameter]:
    """What help lists of a command, without `--help`, `--quiet`, aliases and names of types."""
    found: list[Parameter] = []
    for each in leaf.command.get_params(leaf.context):
        is_common = bool({"--help", "--quiet"} & set(each.opts))
        record = None if is_common or getattr(each, "hidden", False) else help_record(each, leaf.context)
        if record is not None:
            found.append(Parameter(record[0], " ".join(broken(record[1]).split())))
        elif each.param_type_name == "argument":
            found.append(Parameter(each.make_metavar(leaf.context), ""))
    return found


def cell(text: str) -> str:
    """A text in a cell of a table of Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def table(rows: list[Parameter]) -> str:
    """Arguments and options as a table."""
    escaped = "\\|"
    lines = [f"| `{row.name.replace('|', escaped)}` | {cell(row.words)} |" for row in rows]
    return "\n".join(["| option | meaning |", "|---|---|", *lines])


def prose(text: str) -> str:
    """The text of a help: paragraphs on one line each, examples as blocks."""
    parts: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.replace("\b", "").strip()):
        lines = paragraph.splitlines()
        is_example = all(line.startswith(("  ", "$ ", "lazarus ")) for line in lines if line.strip())
        parts.append(f"```\n{paragraph}\n```" if is_example else " ".join(paragraph.split()).replace("<", "&lt;"))
    return "\n\n".join(parts)


def anchor(heading: str) -> str:
    """The link to a heading of this page."""
    return "#" + heading.lower().replace(" ", "-")


def section(leaf: Leaf, shared: list[Parameter], first: dict[str, str]) -> str:
    """The entry of one command.

    Args:
        leaf: The command.
        shared: Parameters that are listed elsewhere, if it has all of them.
        first: The first command with the same help and parameters; this function adds to it.
    """
    own = parameters(leaf)
    same = first.setdefault(f"{leaf.command.help}{own}", leaf.words)
    if same != leaf.words:
        heading = [f"### {leaf.words}"] if len(leaf.words.split()) > 2 else []
        return "\n\n".join([*heading, f"The same as [`{same}`]({anchor(same)})."])
    has_shared = bool(shared) and set(shared) <= set(own)
    if has_shared:
        own = [each for each in own if each not in shared]
    usage = " ".join([leaf.words, *leaf.command.collect_usage_pieces(leaf.context)])
    heading = [f"### {leaf.words}"] if len(leaf.words.split()) > 2 else []  # a command alone has that of its group
    text, examples = split_examples(leaf.command.help)
    shown = "\n".join([usage, "", *(f"{leaf.words} {each}" for each in examples)] if examples else [usage])
    parts = [*heading, prose(text), f"```\n{shown}\n```"]
    if own:
        parts.append(table(own))
    if has_shared:
        parts.append(f"And the [options of all training commands]({anchor(SHARED)}).")
    if leaf.command.epilog:
        parts.append(prose(leaf.command.epilog))
    return "\n\n".join(part for part in parts if part)


def shared_parameters(found: list[Leaf]) -> list[Parameter]:
    """The parameters that every command has that trains a model."""
    listed = [parameters(leaf) for leaf in found if leaf.words.startswith("lazarus train ")]
    trains = [each for each in listed if any("--learning-rate" in one.name for one in each)]
    return [each for each in trains[0] if all(each in others for others in trains)]


def page() -> str:
    """The whole page."""
    found = all_leaves()
    shared = shared_parameters(found)
    groups: dict[str, list[Leaf]] = {}
    first: dict[str, str] = {}
    for leaf in found:
        groups.setdefault(" ".join(leaf.words.split()[:2]), []).append(leaf)
    index = ["| command | subcommands |", "|---|---|"]
    sections: list[str] = []
    for name, of_group in groups.items():
        below = [leaf.words.removeprefix(name).strip() for leaf in of_group]
        links = [f"[`{each}`]({anchor(f'{name} {each}')})" for each in below if each]
        index.append(f"| [`{name}`]({anchor(name)}) | {', '.join(links)} |")
        sections.append("\n\n".join([f"## {name}", *(section(leaf, shared, first) for leaf in of_group)]))
    last = f"## {SHARED}\n\n{table(shared)}"
    return "\n\n".join([HEAD.strip(), "\n".join(index), *sections, last]) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), "utf-8")
    else:
        sys.stdout.write(page())
