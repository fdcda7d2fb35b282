"""Commands are named as they can be called."""

import pytest
import typer
from typer.testing import CliRunner

from lazarus_core import command_names, console
from lazarus_core.cli_app import App
from lazarus_core.command_names import MOUNTS, as_called

TEXT = "run `lazarus data batchplan lock --update`, then lazarus train sft"


@pytest.mark.parametrize("script", ["lazarus", "act", "python -m lazarus_cli"])
def test_other_scripts_leave_texts_as_they_are(script: str):
    assert as_called(TEXT, script) == TEXT


@pytest.mark.parametrize("script", ["lazarus-plan", "lazarus-train", "python -m lazarus_plan"])
def test_scripts_of_packages_name_their_own_commands(script: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command_names, "_is_installed", lambda package: True)
    assert as_called(TEXT, script) == "run `lazarus-plan lock --update`, then lazarus-train sft"


def test_a_command_of_a_missing_package_keeps_its_place(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command_names, "_is_installed", lambda package: package == "lazarus_plan")
    assert as_called(TEXT, "lazarus-plan") == "run `lazarus-plan lock --update`, then lazarus train sft"


@pytest.mark.parametrize(
    "text", ["lazarus trainer", "my-lazarus train", "a/lazarus train/x", "lazarus train-set", "lazarus"]
)
def test_other_words_are_no_commands(text: str):
    assert as_called(text, "lazarus-train") == text


@pytest.mark.parametrize("command", MOUNTS)
def test_every_mount_is_replaced_by_one_that_stays(command: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command_names, "_is_installed", lambda package: True)
    own = as_called(command, "lazarus-plan")
    assert own == MOUNTS[command]
    assert as_called(own, "lazarus-plan") == own


def test_messages_and_help_name_the_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(command_names, "_is_installed", lambda package: True)
    monkeypatch.setattr(command_names, "_script", "lazarus-tokenkit")
    console.say("next: lazarus tokenizer doctor -t x")
    console.warn("error: call `lazarus data lengths build`")
    assert (
        capsys.readouterr().err == "next: lazarus-tokenkit doctor -t x\nerror: call `lazarus-tokenkit lengths build`\n"
    )
    app = App()

    @app.command()
    def act(size: int = typer.Option(1, help="As of `lazarus tokenizer vocab`.")) -> None:
        """Makes files for `lazarus data lengths build`."""

    for script in ("lazarus-tokenkit", "lazarus"):
        page = CliRunner().invoke(app, ["-h"], prog_name=script).output
        assert as_called("`lazarus tokenizer vocab`", script) in page
        assert as_called("`lazarus data lengths build`", script) in " ".join(page.split())
