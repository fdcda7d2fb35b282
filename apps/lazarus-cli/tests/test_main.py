import subprocess
import sys
from importlib.metadata import entry_points

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
