import re
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import BaseModel, ConfigDict
from typer.testing import CliRunner

from lazarus_core import console
from lazarus_core.cli_app import Alias, App, Deferred, bare_option, command_of, deferred_of, value_name
from lazarus_core.settings.options import Option, parameters_of, values_of
from lazarus_core.settings.schema import schema_of

same_typer = pytest.mark.skipif(
    tuple(map(int, version("typer").split(".")[:2])) < (0, 29), reason="older versions of Typer use other words"
)


@pytest.fixture
def app():
    made: list[str] = []
    app = App(no_args_is_help=True)

    @app.command()
    def plain(
        files: Annotated[list[Path], typer.Argument(help="Files.")],
        path: Annotated[list[Path] | None, typer.Option("--path")] = None,
        count: Annotated[int, typer.Option("--count", min=1)] = 1,
        rate: Annotated[float | None, typer.Option("--rate")] = None,
        name: Annotated[str, typer.Option("--name")] = "",
        mode: Annotated[Literal["a", "b"], typer.Option("--mode")] = "a",
        own: Annotated[str, typer.Option("--own", metavar="KEY=X")] = "",
        is_on: Annotated[bool, typer.Option("--on")] = False,
    ) -> None:
        """Plain."""

    def make():
        made.append("made")

        def late(size: Annotated[int, typer.Option("--size")]) -> None:
            typer.echo(f"size {size}")

        return late

    app.add_deferred(Deferred("late", "Late words.", make))
    app.made = made
    return app


def test_help_names_values_and_no_types(app):
    lines = CliRunner().invoke(app, ["plain", "--help"]).output.splitlines()
    shown = [line.split("  ")[1].strip() for line in lines if line.startswith("  --")]
    assert shown == [
        "--path PATH",
        "--count N",
        "--rate X",
        "--name TEXT",
        "--mode a|b",
        "--own KEY=X",
        "--on",
    ]


@same_typer
def test_help_of_an_argument_has_its_name_alone(app):
    assert re.search(
        r"^  FILES\.\.\.  +Files \[required\]\.", CliRunner().invoke(app, ["plain", "--help"]).output, re.MULTILINE
    )


def test_a_deferred_command_is_made_when_it_is_called(app):
    assert "Late words." in CliRunner().invoke(app, ["--help"]).output
    assert app.made == []
    assert CliRunner().invoke(app, ["late", "--size", "3"]).output == "size 3\n"
    assert "Late words." in CliRunner().invoke(app, ["late", "--help"]).output
    assert app.made == ["made"]


def test_a_deferred_command_is_found_behind_typer_s_function(app):
    found = {each.callback.__name__: deferred_of(each.callback) for each in app.registered_commands}
    assert (found.pop("plain"), [each.__name__ for each in found.values()]) == (None, ["late"])


def test_a_type_that_has_no_name_keeps_typer_s():
    assert value_name(bytes) is None


class Settings(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)
    size: int = 3
    """Size of the page. In dots."""
    names: tuple[str, ...] = ()
    """Names."""
    mode: Literal["a", "b"] | None = None
    """Mode. Default: the printer's."""
    is_dark: bool = False
    """Dark."""


OPTIONS = [
    Option(("size",), ("-s", "--size"), least=1),
    Option(("names",), ("--names",)),
    Option(("mode",), ("--mode",), prefix="With care: "),
    Option(("is_dark",), ("--dark/--light",)),
]


def invoke(*words: str):
    import inspect

    seen = []
    schema = schema_of(Settings)

    def run(**given) -> None:
        seen.append(values_of(schema, OPTIONS, given))

    run.__signature__ = inspect.Signature(parameters_of(schema, OPTIONS))
    run.__annotations__ = {}
    result = CliRunner().invoke(_typer(run), [*words])
    return result, seen


def _typer(function):
    app = App()
    app.command()(function)
    return app


def test_options_are_made_from_settings():
    result, _ = invoke("--help")
    words = " ".join(result.output.split())
    assert "-s, --size N Size of the page [default: 3]." in words
    assert "--names A,B Names." in words
    assert "--mode a|b With care: mode [default: the printer's]." in words
    assert "--dark / --light Dark." in words


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ([], {}),
        (["--size", "5", "--light"], {("size",): 5, ("is_dark",): False}),
        (["--names", "a,b", "--mode", "b", "--dark"], {("names",): ("a", "b"), ("mode",): "b", ("is_dark",): True}),
        (["--names", ""], {("names",): ()}),
    ],
)
def test_only_options_that_are_given_give_values(words, values):
    result, seen = invoke(*words)
    assert (result.exit_code, seen) == (0, [values])


@pytest.mark.parametrize("words", [["--size", "x"], ["--size", "0"], ["--mode", "c"]])
def test_the_parser_refuses_other_types(words):
    result, seen = invoke(*words)
    assert (result.exit_code, seen) == (2, [])


def test_a_function_is_a_command_of_its_name():
    assert command_of(lambda: None, "made").name == "made"


@pytest.fixture
def copying():
    app = App()

    @app.command()
    @bare_option("--copy", "//beside")
    def copy(
        data: Annotated[list[Path], typer.Option("-d", "--data", Alias("--file"), help="Rows.")],
        copy_to: Annotated[Path | None, typer.Option("--copy", help="Copy.")] = None,
        quiet: Annotated[bool, typer.Option("--quiet")] = False,
    ) -> None:
        console.show(f"{data} {copy_to} {quiet}")

    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("name", ["-d", "--data", "--file"])
@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], "None False"),
        (["--copy"], "//beside False"),
        (["--copy", "--quiet"], "//beside True"),
        (["--copy", "out", "--quiet"], "out True"),
        (["--copy=out"], "out False"),
    ],
)
def test_an_option_may_be_bare_and_have_an_alias(copying, name: str, words: list[str], shown: str):
    assert copying(name, "rows", *words).output == f"[{Path('rows')!r}] {shown}\n"
    assert copying(*words, name, "rows").output == f"[{Path('rows')!r}] {shown}\n"


def test_help_and_errors_leave_aliases_out(copying):
    shown = copying("--help").output
    assert "-d, --data PATH" in shown
    assert "--file" not in shown
    missing = copying("--quiet").output
    assert "'--data'" in missing
    assert "--file" not in missing


def test_a_command_without_words_is_no_failure_of_bare_options(copying):
    assert copying().exit_code == 2


def test_lines_of_progress_do_not_count_an_earlier_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    now = [100.0]
    monkeypatch.setattr(console.progress_bar.time, "monotonic", lambda: now[0])
    with console.progress("training", total=100, unit="steps", done=60) as advance:
        now[0] += 5
        advance(1, note="loss 2")
        assert capsys.readouterr().err == ""
        for _ in range(4):
            now[0] += 15
            advance(1, note="loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training: 62/100 steps, loss 1"  # no time before three steps
    assert lines[-1] == "training: 65/100 steps, 9 min left, loss 1"  # 35 steps of 15 s


def unusable(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    app = App()

    @app.command()
    def act(
        paths: Annotated[list[Path], typer.Argument()],
        name: Annotated[str, typer.Option("--name")] = "",
        count: Annotated[int, typer.Option("--count")] = 0,
        rate: Annotated[float, typer.Option("--rate")] = 0.0,
        prompt: Annotated[str, typer.Option("--prompt")] = "",
        folder: Annotated[Path | None, typer.Option("--folder")] = None,
    ) -> None:
        """Accepts everything."""

    with pytest.raises(SystemExit) as ended:
        console.run(app_with(app, words), "act")
    assert ended.value.code in (0, 2)
    return capsys.readouterr().err


def app_with(app: App, words: list[str]):
    return lambda **options: app(words, **options)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a", ""], " is empty: give one"),
        (["a", "--folder", ""], " is empty: give one"),
        (["a", "--folder="], " is empty: give one"),
        (["a", "--name", ""], "the value is empty"),
        (["a", "--name", "x\udcff"], "the value is not UTF-8"),
        (["a", "--count", str(2**63)], "must be at most 9,223,372,036,854,775,807 in size"),
        (["a", "--count", str(-(2**63))], "must be at most"),
        (["a", "--rate", "nan"], "must be a finite number"),
        (["a", "--rate", "1e999"], "must be a finite number"),
        (["a", "--count", "1.5"], "must be a whole number"),
        (["a", "--name", "b", "--folder="], "'--folder'"),
        (["a", "--prompt", "", "--count", str(2**63 - 1), "--rate", "1e300"], ""),
        ([".", "--folder", "."], ""),
        (["a", "--prompt", "", "--folder", "."], ""),
    ],
)
def test_a_value_that_no_option_can_use_is_refused(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]):
    said = unusable(words, capsys)
    assert reason in said and bool(said) is bool(reason), said
