from importlib.metadata import version

from typer.testing import CliRunner

from lazarus_corpus.cli.app import app


def test_the_command_knows_its_version_and_its_commands():
    assert CliRunner().invoke(app, ["--version"]).output == f"lazarus-corpus {version('lazarus-corpus')}\n"
    words = CliRunner().invoke(app, ["--help"]).output
    assert all(
        f"  {name} " in words for name in ("build", "analyze", "dedup", "contamination", "split", "card", "verify")
    )
    assert CliRunner().invoke(app, ["anything"]).exit_code == 2
