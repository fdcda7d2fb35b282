"""A small run with held-out data and a checkpoint after every step, made once; every test has a copy of its own."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lazarus_cli.main import app
from lazarus_core.console import run as run_console

Lazarus = Callable[..., tuple[int, str, str]]
TRAIN = (
    *("train", "sft", "--model", "model", "--data", "data.jsonl", "--batch-plan", "plan", "-o", "run"),
    *("--save-every", "1", "--eval-data", "held-out.jsonl", "--eval-every", "1", "--learning-rate", "5e-3"),
)


def _call(words: tuple[object, ...]) -> int:
    with pytest.raises(SystemExit) as ended:
        run_console(lambda **options: app([str(word) for word in words], **options), "lazarus")
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def lazarus(capsys: pytest.CaptureFixture[str]) -> Lazarus:
    """Runs a command line in this process: exit code, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = _call(words)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`model`, `data.jsonl`, `held-out.jsonl`, `plan` and `run`, which is finished after four steps."""
    folder = tmp_path_factory.mktemp("made")
    for name, numbers in (("data", range(16)), ("held-out", range(20, 23))):
        rows = [{"prompt": f"{n} + {n}?", "completion": f"{2 * n}."} for n in numbers]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert _call(("model", "new", "--preset", "nano", "-t", "byte", "-o", "model")) == 0
        assert _call(("data", "lengths", "build", "-t", "model", "-d", "data.jsonl", "-o", "lengths.jsonl")) == 0
        plan = ("data", "batchplan", "build", "-l", "lengths.jsonl", "-b", "96", "--row-len", "96")
        assert _call((*plan, "--predictable", "-o", "plan")) == 0
        assert _call((*TRAIN, "--max-steps", "4")) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def world(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `made`, which is the current folder."""
    shutil.copytree(made, tmp_path / "world", symlinks=True)
    record = tmp_path / "world/run/config.json"  # relative paths begin here
    record.write_bytes(record.read_bytes().replace(str(made).encode(), str(tmp_path / "world").encode()))
    monkeypatch.chdir(tmp_path / "world")
    return tmp_path / "world"
