from importlib.metadata import version

from typer.testing import CliRunner

from lazarus_introspect.cli import app


def test_the_command_knows_its_version_and_promises_nothing():
    assert CliRunner().invoke(app, ["--version"]).output == f"lazarus-introspect {version('lazarus-introspect')}\n"
    help_text = CliRunner().invoke(app).output
    assert "no commands yet" in " ".join(help_text.split())
    assert "Commands:" not in help_text
    assert CliRunner().invoke(app, ["anything"]).exit_code == 2
