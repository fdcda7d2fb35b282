"""The help of every command of every package: examples that parse, whole sentences, values instead of types."""

import functools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lazarus_core.cli_command import Group
from lazarus_core.cli_help import split_examples

SCRIPTS = {
    "lazarus": "lazarus_cli.main:app",
    "lazarus-plan": "lazarus_plan.cli.app:app",
    "lazarus-tokenkit": "lazarus_tokenkit.cli.app:app",
    "lazarus-models": "lazarus_models.cli.app:app",
    "lazarus-train": "lazarus_train.cli.app:app",
    "lazarus-gym": "lazarus_gym.cli.app:app",
    "lazarus-introspect": "lazarus_introspect.cli:app",
    "lazarus-corpus": "lazarus_corpus.cli.app:app",
}
"""Console scripts and their applications."""


@dataclass(frozen=True)
class Page:
    """A command or group with its context."""

    command: Any
    context: Any

    @property
    def path(self) -> str:
        """The command as it is called."""
        names: list[str] = []
        context = self.context
        while context is not None:
            names.insert(0, context.info_name)
            context = context.parent
        return " ".join(names)

    @property
    def is_group(self) -> bool:
        """Whether it has commands."""
        return isinstance(self.command, Group)

    @functools.cached_property
    def text(self) -> str:
        """The help page."""
        return self.command.get_help(self.context)


def app_of(script: str) -> Any:
    module, _, attribute = SCRIPTS[script].partition(":")
    return getattr(import_module(module), attribute)


def walk(page: Page) -> Iterator[Page]:
    yield page
    if not page.is_group:
        return
    for name in page.command.list_commands(page.context):
        _, command, _ = page.command.resolve_command(page.context, [name])
        yield from walk(Page(command, command.make_context(name, [], parent=page.context, resilient_parsing=True)))


@functools.cache
def pages(script: str) -> dict[str, Page]:
    """All pages of a console script, by the command as it is called."""
    root = typer.main.get_command(app_of(script))
    found = walk(Page(root, root.make_context(script, [], resilient_parsing=True)))
    return {page.path: page for page in found}


def leaves(script: str) -> dict[str, Page]:
    return {path: page for path, page in pages(script).items() if not page.is_group}


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("lazarus", "lazarus train sft"),
        ("lazarus", "lazarus data batchplan build"),
        ("lazarus-train", "lazarus-train dpo"),
        ("lazarus-tokenkit", "lazarus-tokenkit analyze words"),
        ("lazarus-gym", "lazarus-gym verify"),
        ("lazarus-models", "lazarus-models cache remove"),
    ],
)
def test_every_script_is_walked_to_its_commands(script: str, path: str):
    assert path in leaves(script)


@pytest.mark.parametrize("script", SCRIPTS)
def test_pages_have_no_types_and_no_cut_sentences(script: str):
    for path, page in pages(script).items():
        usage, _, rest = page.text.partition("\n\n")
        assert re.findall(r"<[a-z][^<>\n]*>", rest) == [], path
        assert re.findall(r"\b(?:list\[|Path\]|int range|float range|x[<>]=)", page.text) == [], path
        assert re.findall(r".*[a-z]\.\.\.$|\.{4}", rest, re.MULTILINE) == [], path
        assert "{" not in usage, path
        assert "-h, --help" in rest, path
        assert ("-q, --quiet" in rest) is not page.is_group, path


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_has_a_whole_sentence_in_its_group(script: str):
    for path, page in pages(script).items():
        parent = page.context.parent
        if parent is not None and not page.command.hidden:
            assert parent.command.listed(parent)[page.context.info_name].endswith("."), path


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_has_an_example_that_parses(script: str):
    for path, leaf in leaves(script).items():
        _, _, shown = leaf.text.replace("\\\n", "").partition("\nExample")
        examples = [line.strip() for line in shown.splitlines()[1:] if line.strip()]
        expected = split_examples(leaf.command.help)[1]
        assert len(examples) == len(expected) > 0, f"{path}: add a line `Example: ARGUMENTS` to the docstring"
        for example in examples:
            called, words = path.split(), shlex.split(example)
            assert words[: len(called)] == called
            context = leaf.command.make_context(called[-1], words[len(called) :], parent=leaf.context.parent)
            assert context.args == [], example


@pytest.mark.parametrize("script", SCRIPTS)
def test_h_is_help_whatever_else_is_missing(script: str, capsys: pytest.CaptureFixture[str]):
    for path, leaf in leaves(script).items():
        with pytest.raises(typer.Exit):
            leaf.command.make_context(leaf.context.info_name, ["-h"], parent=leaf.context.parent)
        assert capsys.readouterr().out.startswith(f"Usage: {path} [OPTIONS]")


@pytest.mark.parametrize("script", SCRIPTS)
def test_version_has_a_short_name_and_completion_is_at_the_root(script: str):
    short, long = (CliRunner().invoke(app_of(script), [option]) for option in ("-V", "--version"))
    assert (short.exit_code, short.output) == (0, long.output)
    assert script in short.output
    having = [path for path, page in pages(script).items() if "--show-completion" in page.text]
    assert having == [script]


def test_a_typer_of_another_kind_would_be_seen():
    def act(size: int = typer.Option(1)) -> None: ...

    plain = typer.Typer(rich_markup_mode=None, add_completion=False)
    plain.command()(act)
    assert re.search(r"<int>|INTEGER", CliRunner().invoke(plain, ["--help"]).output)
