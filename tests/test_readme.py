"""The commands of the README run as they stand there, on the first rows of the same data."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from commands import run

ROOT = Path(__file__).parents[1]
ROWS = 40


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def beside_data(tmp_path) -> Path:
    """A folder from which `../shared/data` holds a few real rows."""
    real = Path(os.environ.get("LAZARUS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not real.is_dir():
        pytest.skip(f"no real data: set LAZARUS_TEST_DATA, or put the folder at {real}")
    data = tmp_path / "shared/data"
    shutil.copytree(real / "models/stories260k", data / "models/stories260k", copy_function=shutil.copyfile)
    (data / "datasets/gsm8k").mkdir(parents=True)
    for name in ("train", "test"):
        lines = (real / f"datasets/gsm8k/{name}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (data / f"datasets/gsm8k/{name}.jsonl").write_text("".join(lines[:ROWS]), encoding="utf-8")
    (tmp_path / "repository").mkdir()
    return tmp_path / "repository"


@pytest.mark.slow
def test_the_pipeline_of_the_readme_runs(beside_data):
    words = [shlex.split(command) for command in commands()]
    assert [word[1] for word in words] == ["data", "data", "data", "train", "train", "verify", "infer"]
    for word in words:
        command = [sys.executable, "-m", "lazarus_cli", *word[1:]]
        done = run(command, cwd=beside_data)
        assert done.returncode == 0, f"{shlex.join(word)}\n{done.stderr}"
