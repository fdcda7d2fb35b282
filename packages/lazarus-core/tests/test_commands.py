"""What every command line has: short names of help, near names, quiet, headings, examples, width, colour, completion."""

import functools
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lazarus_core import console
from lazarus_core.cli_app import Alias, App, Deferred, command_of
from lazarus_core.commands import first_sentence, nearest, shell_lines, split_examples
from lazarus_core.console.color import has_color, plain, styled


def make_app() -> App:
    app = App(name="act", help="Acts. More words.", no_args_is_help=True)
    inner = App(name="inner", help="An inner group.", no_args_is_help=True)

    @inner.command()
    def deep(path: Path) -> None:
        """Go deep."""

    @inner.command(hidden=True)
    def secret() -> None:
        """Nobody sees it."""

    @app.command()
    def copy(
        data: Annotated[Path, typer.Option("-d", "--data", Alias("--file"), help="Rows.")],
        paths: Annotated[list[Path] | None, typer.Argument(help="Paths.")] = None,
        rate: Annotated[float, typer.Option("--learning-rate", help="Rate.", rich_help_panel="Optimizer")] = 1.0,
        output: Annotated[Path | None, typer.Option("-o", "--output", help="Output.")] = None,
        window: Annotated[int, typer.Option("--window", help="Window.")] = 1,
        inner_name: Annotated[str, typer.Option("--hidden-name", hidden=True)] = "",
    ) -> None:
        """Copy rows of a file, which is a sentence that is longer than a line of eighty characters has room for. Then
        say so.

        Another paragraph.

        Example: -d rows.jsonl -o "a b" out
        Example: --data x --window 2
        """
        console.say(f"copied {data}")
        console.warn("warning: a warning")
        console.show("result")
        with console.progress("copying", total=2, unit="rows") as advance:
            advance(2)

    @app.command()
    def own(quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False) -> None:
        """Has its own."""
        console.say("information")
        console.show(str(quiet))

    app.add_deferred(Deferred("late", "Is made late.\n\nExample: --size 3", lambda: late))
    app.add_typer(inner)
    return app


def late(size: Annotated[int, typer.Option("--size")]) -> None: ...


def act(*words: str, **settings):
    return CliRunner().invoke(make_app(), [*words], **settings)


@pytest.fixture(autouse=True)
def no_color(monkeypatch: pytest.MonkeyPatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("words", [[], ["copy"], ["inner"], ["inner", "deep"], ["late"]])
def test_h_is_help_at_every_level(words: list[str]):
    short, long = act(*words, "-h"), act(*words, "--help")
    assert (short.exit_code, short.output) == (0, long.output)
    assert "-h, --help" in short.output


def test_options_have_headings_and_their_words_one_column():
    page = act("copy", "--help").output
    assert re.findall(r"^(\S[^\n]*):$", page, re.MULTILINE) == [
        *("Arguments", "Input", "Optimizer", "Options", "Output", "Common options", "Examples")
    ]
    starts = {
        len(line) - len(line[2:].partition("  ")[2].lstrip()) for line in page.splitlines() if line.startswith("  -")
    }
    assert len(starts) == 1
    assert "[PATHS]..." in page


def test_examples_name_the_command_as_it_was_called():
    page = act("copy", "--help").output
    lines = page[page.index("Examples:") :].splitlines()[1:]
    assert lines == ['  act copy -d rows.jsonl -o "a b" out', "  act copy --data x --window 2"]
    assert "Example: " not in page
    assert act("late", "--help").output.rstrip().endswith("Example:\n  act late --size 3")
    single = command_of(late, "single")
    assert "Example" not in CliRunner().invoke(make_app(), ["inner", "deep", "-h"]).output
    assert single.name == "single"


def test_lists_of_commands_have_whole_sentences():
    page = " ".join(act("--help").output.split())
    assert "than a line of eighty characters has room for. own" in page
    assert "..." not in page.partition("Commands:")[2]
    assert "secret" not in act("inner", "--help").output


@pytest.mark.parametrize(("columns", "most"), [("60", 60), ("120", 120), (None, 80), ("20", 40)])
def test_help_is_as_wide_as_the_terminal(columns: str | None, most: int, monkeypatch: pytest.MonkeyPatch):
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    page = act("copy", "--help").output
    longest = max(len(line) for line in page.splitlines() if not line.startswith("  act"))
    assert longest <= most
    assert most == 40 or longest > most - 25


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cpy"], "No such command 'cpy'; did you mean `copy`?"),
        (["inner", "deeep"], "No such command 'deeep'; did you mean `deep`?"),
        (["inner", "secrett"], "No such command 'secrett'"),
        (["zzz"], "No such command 'zzz'"),
        (["copy", "--datta", "x"], "No such option: --datta; did you mean --data?"),
        (["copy", "--learn", "1"], "No such option: --learn; did you mean --learning-rate?"),
        (["copy", "--filee", "1"], "No such option: --filee"),
        (["copy", "--hidden-nam", "1"], "No such option: --hidden-nam"),
        (["--versoin"], "No such option: --versoin"),
        (["late", "--sise", "1"], "No such option: --sise; did you mean --size?"),
    ],
)
def test_an_unknown_name_brings_the_nearest_that_is_shown(words: list[str], said: str):
    done = CliRunner().invoke(make_app(), words, standalone_mode=False)
    assert done.exception.format_message() == said


@given(st.text("ab-", max_size=6), st.lists(st.text("abc-", min_size=1, max_size=6), max_size=5))
def test_near_names_are_known_names(word: str, known: list[str]):
    found = nearest(word, known)
    assert len(found) <= 3
    assert set(found) <= set(known)


@given(st.lists(st.from_regex(r"(--?[a-z]{1,9})|[a-z0-9.]{1,9}", fullmatch=True), min_size=1), st.integers(10, 60))
def test_broken_lines_are_the_same_command(words: list[str], width: int):
    lines = shell_lines(" ".join(words), width)
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == words
    assert all(len(line) <= width or not re.search(r"\S -", line.strip()) for line in lines)


def test_quiet_leaves_results_warnings_and_errors(capsys: pytest.CaptureFixture[str]):
    loud, quiet = act("copy", "-d", "x"), act("copy", "-d", "x", "-q")
    assert (loud.stdout, quiet.stdout) == ("result\n", "result\n")
    assert (loud.stderr, quiet.stderr) == ("copied x\nwarning: a warning\n", "warning: a warning\n")
    console.say("loud again")
    assert capsys.readouterr().err == "loud again\n"
    assert (act("own", "-q").output, act("own").output) == ("True\n", "information\nFalse\n")
    assert "-q, --quiet" in act("late", "--help").output


def test_quiet_progress_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    now = [0.0]
    monkeypatch.setattr(console.progress_bar.time, "monotonic", lambda: now[0])
    with console.quiet(), console.progress("copying", total=9, unit="rows") as advance:
        now[0] += 60
        advance(1, note="half")
    assert capsys.readouterr().err == ""


class Terminal:
    def __init__(self, is_one: bool) -> None:
        self.isatty = lambda: is_one


@pytest.mark.parametrize(
    ("environment", "is_terminal", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, False, True),
    ],
)
def test_the_environment_decides_on_colour(
    environment: dict[str, str], is_terminal: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert has_color(Terminal(is_terminal)) is expected


def test_no_stream_has_no_colour():
    assert not has_color(None)


def test_help_errors_and_tables_have_colour_when_it_is_forced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    without = act("copy", "--help").output
    assert "\x1b" not in without
    monkeypatch.setenv("FORCE_COLOR", "1")
    page = act("copy", "--help", color=True).output
    assert styled("Input", "bold") in page
    assert plain(page) == without
    console.warn("error: no \x1b[2J escape")
    console.warn("errors: none")
    console.show_table("name  size\na        1")
    out, err = capsys.readouterr()
    assert err == f"{styled('error:', 'error')} no \\u001b[2J escape\nerrors: none\n"
    assert out == styled("name  size", "bold") + "\na        1\n"
    console.show_table("\nname\na\n\nsize\n1", ["size", "absent"])
    assert capsys.readouterr().out == f"\nname\na\n\n{styled('size', 'bold')}\n1\n"
    console.show_table("\nname\na")
    assert capsys.readouterr().out == f"\n{styled('name', 'bold')}\na\n"


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["act", *words])
    with pytest.raises(SystemExit) as end:
        console.run(functools.partial(make_app(), prog_name="act"), "act")
    return end.value.code


def complete(monkeypatch: pytest.MonkeyPatch, line: str, shell: str = "bash") -> None:
    monkeypatch.setenv("_ACT_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("act c", ["copy"]),
        ("act ", ["copy", "own", "late", "inner"]),
        ("act inner ", ["deep"]),
        ("act copy --le", ["--learning-rate"]),
        ("act late --s", ["--size"]),
        ("act copy --q", ["--quiet"]),
    ],
)
def test_bash_completes_commands_and_options(line: str, found: list[str], monkeypatch, capsys):
    complete(monkeypatch, line)
    assert run(monkeypatch) == 0
    assert capsys.readouterr().out.split() == found


def test_zsh_gets_one_sentence_of_each_command(monkeypatch, capsys):
    complete(monkeypatch, "act la", "zsh")
    assert run(monkeypatch) == 0
    assert '"late":"Is made late."' in capsys.readouterr().out


def test_completion_is_offered_by_the_root_alone():
    assert "--install-completion" in act("--help").output
    assert "--install-completion" not in act("inner", "--help").output
    assert "--install-completion" not in act("copy", "--help").output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_and_installed(shell: str, monkeypatch, capsys, tmp_path: Path):
    import shellingham

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(shellingham, "detect_shell", lambda: (shell, f"/bin/{shell}"))
    assert run(monkeypatch, "--show-completion") == 0
    assert f"_ACT_COMPLETE=complete_{shell}" in capsys.readouterr().out
    assert run(monkeypatch, "--install-completion") == 0
    assert "act" in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_an_unknown_shell_is_one_line(monkeypatch, capsys):
    import shellingham

    monkeypatch.setattr(shellingham, "detect_shell", lambda: ("dash", "/bin/dash"))
    assert run(monkeypatch, "--install-completion") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), "[LC-E150]" in err) == ("", 1, True)


def test_a_sentence_ends_with_its_full_stop():
    assert first_sentence("Reads `a.b` files, e.g. x.json. Then more.") == "Reads `a.b` files, e.g. x.json."
    assert first_sentence("Losses (GRPO, Dr. GRPO), in (0, 1]. More (Dr. M).") == "Losses (GRPO, Dr. GRPO), in (0, 1]."
    assert first_sentence("Numbers of [0, 1). Then ( more.") == "Numbers of [0, 1)."
    assert first_sentence("No stop") == "No stop"
    assert first_sentence(None) == ""
    assert split_examples(None) == ("", [])
