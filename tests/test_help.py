"""The help of every command of every package: examples that parse, whole sentences, values instead of types."""

import re
import shlex

import pytest
import typer
from typer.testing import CliRunner

from command_pages import SCRIPTS, app_of, leaves, pages
from lazarus_cli.catalog import installed
from lazarus_core.command_names import MOUNTS, as_called
from lazarus_core.commands import split_examples


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
        if parent is None:
            continue
        name, listed = page.context.info_name, parent.command.listed(parent)
        assert name in listed or parent.command.commands[name].hidden, path
        assert listed.get(name, ".").endswith("."), path
        assert listed.get(name, "").count("(") == listed.get(name, "").count(")"), path


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


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script != "lazarus"])
def test_commands_of_lazarus_and_of_the_packages_are_the_same(script: str):
    """Fails for a new command of `lazarus` without an entry in `lazarus_core.command_names.MOUNTS`."""
    for mounted, leaf in leaves("lazarus").items():
        own = as_called(mounted, script)
        if own.split()[0] != script:
            continue
        if leaf.command.callback.__module__ == "lazarus_core.settings.command":  # options made from settings
            assert own in leaves(script)
        else:
            assert leaves(script)[own].command.callback.__qualname__ == leaf.command.callback.__qualname__
    unmounted = {f"lazarus {name.replace('.', ' ')}" for name in installed()} - MOUNTS.keys()
    assert unmounted == {
        *("lazarus bench", "lazarus data batching", "lazarus explain", "lazarus quickstart"),
        *("lazarus cleanup", "lazarus status", "lazarus backup", "lazarus restore", "lazarus push", "lazarus pull"),
        *("lazarus lock", "lazarus remote", "lazarus report", "lazarus run"),
    }


def test_a_command_with_two_places_is_listed_in_one():
    pages_of = pages("lazarus")
    for hidden, shown in (("tokenizer lengths", "data lengths"), ("tokenizer samples", "data samples")):
        assert pages_of[f"lazarus {hidden}"].command.hidden
        assert not pages_of[f"lazarus {shown}"].command.hidden
    for name in ("sweep", "verify"):
        assert name not in pages_of["lazarus train"].command.listed(pages_of["lazarus train"].context)
    lengths = pages("lazarus-tokenkit")["lazarus-tokenkit lengths"]
    assert not lengths.command.hidden
    assert lengths.text.startswith("Usage: lazarus-tokenkit lengths")


def test_a_typer_of_another_kind_would_be_seen():
    def act(size: int = typer.Option(1)) -> None: ...

    plain = typer.Typer(rich_markup_mode=None, add_completion=False)
    plain.command()(act)
    assert re.search(r"<int>|INTEGER", CliRunner().invoke(plain, ["--help"]).output)
