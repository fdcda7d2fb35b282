import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import commands
from lazarus_cli.catalog import GROUP, KNOWN, children, installed


def lazarus(*arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run([sys.executable, "-m", "lazarus_cli", *arguments])


def test_every_known_command_is_announced_by_its_package():
    points = {point.name: point for point in entry_points(group=GROUP)}
    for name, known in KNOWN.items():
        assert points[name].dist.name == known.distribution, name


def test_every_announced_command_has_a_line_of_help():
    assert installed().keys() <= KNOWN.keys()
    for prefix in ("", "data."):
        assert all(children(prefix).values()), prefix


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_command_answers_help_under_its_own_name(name):
    words = name.split(".")
    done = lazarus(*words, "--help")
    assert done.returncode == 0, done.stderr
    assert f"lazarus {' '.join(words)}" in done.stdout.splitlines()[0].replace("python -m lazarus_cli", "lazarus")


def test_an_unknown_command_is_refused():
    done = lazarus("nonsense")
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_a_command_of_a_missing_package_names_the_package(monkeypatch):
    from typer.testing import CliRunner

    from lazarus_cli import catalog, main

    monkeypatch.setattr(main, "installed", lambda: {"infer": catalog.installed()["infer"]})
    monkeypatch.setattr(main, "children", lambda prefix: {})
    result = CliRunner().invoke(main.app, ["train", "sft"])
    assert isinstance(result.exception, main.NotInstalled)
    assert "uv pip install lazarus-train" in str(result.exception)


def test_version_names_every_package():
    done = lazarus("--version")
    names = {line.split()[0] for line in done.stdout.splitlines()}
    assert {known.distribution for known in KNOWN.values()} == names


@pytest.mark.slow
def test_a_package_of_its_own_adds_a_command(tmp_path: Path):
    """One module and one entry point: nothing in this repository changes."""
    about = tmp_path / "toy_command-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-command\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[lazarus.commands]\ndata.count = toy_command:count\n")
    (tmp_path / "toy_command.py").write_text(
        'from pathlib import Path\n\n\ndef count(path: Path) -> None:\n    """Count lines."""\n'
        "    print(len(path.read_bytes().splitlines()))\n"
    )
    (tmp_path / "rows.txt").write_text("a\nb\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lazarus_cli", "data", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    assert (run("count", str(tmp_path / "rows.txt")).stdout, run("count").returncode) == ("2\n", 2)
    assert "count" in run("--help").stdout
