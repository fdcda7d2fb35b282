import functools
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import commands
from lazarus_cli import main
from lazarus_cli.catalog import GROUP, KNOWN, children, installed
from lazarus_core import console


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


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["tokenzier"], "did you mean `tokenizer`? See lazarus --help"),
        (["tok"], "did you mean `tokenizer`? See lazarus --help"),
        (["data", "length"], "did you mean `lengths`? See lazarus data --help"),
        (["data", "batchplan", "buidl"], "did you mean `build`? See lazarus data batchplan --help"),
        (["train", "stf"], "did you mean `sft`? See lazarus train --help"),
        (["tokenizer", "analyze", "entorpy"], "did you mean `entropy`? See lazarus tokenizer analyze --help"),
        (["infer", "--modle", "m"], "did you mean --model? See lazarus infer --help"),
    ],
)
def test_unknown_names_bring_the_nearest_at_every_level(words, near, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lazarus", *words])
    with pytest.raises(SystemExit) as end:
        console.run(functools.partial(main.app, prog_name="lazarus"), "lazarus")
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n")) == (2, 1)
    assert near in err


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("lazarus tok", "tokenizer"),
        ("lazarus data b", "batching batchplan"),
        ("lazarus data batchplan chec", "check-proof"),
        ("lazarus train sft --learn", "--learning-rate"),
        ("lazarus train sft --mode pac", "packed"),
    ],
)
def test_completion_descends_into_groups(line, found, monkeypatch, capsys):
    monkeypatch.setenv("_LAZARUS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    monkeypatch.setattr(sys, "argv", ["lazarus"])
    with pytest.raises(SystemExit) as end:
        console.run(functools.partial(main.app, prog_name="lazarus"), "lazarus")
    assert end.value.code == 0
    assert capsys.readouterr().out.split() == found.split()


@pytest.mark.parametrize("line", ["lazarus ", "lazarus t", "lazarus data "])
def test_completion_of_groups_imports_no_package(line):
    code = (
        "import sys; from lazarus_core.console import run\n"
        "sys.argv = ['lazarus']\n"
        "try: run('lazarus_cli.main:app', 'lazarus')\n"
        "finally: print(*sorted({name.partition('.')[0] for name in sys.modules if name.startswith('lazarus')}))\n"
    )
    environment = {"_LAZARUS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = commands.run([sys.executable, "-c", code], environment=environment, check=True)
    *names, imported = done.stdout.splitlines()
    assert names
    assert imported == "lazarus_cli lazarus_core"


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
