"""Files that an older version wrote are read, verified and resumed by this one.

`tests/older_files/make.py` made them at commit 199dd77, before the packages were divided into rooms.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import commands
from lazarus_models.backend import BLAS

FILES = Path(__file__).parent / "older_files"
EXPECTED = json.loads((FILES / "expected.json").read_text("utf-8"))
MADE_WITH_CORE = "Haswell"
"""The kernels of OpenBLAS that merged the adapter of the older run."""
MEASURED = 1e-4
"""Relative difference of losses between processors and BLAS libraries."""


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FILES, tmp_path / "older", symlinks=True))


def lazarus(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return commands.run([sys.executable, "-m", "lazarus_cli", *command], cwd=folder)


def test_the_plan_is_read_and_rebuilt_to_the_byte(older: Path):
    done = lazarus(
        older, "data", "batchplan", "verify", "-p", "plan", "-l", "lengths.jsonl", "-d", "data.jsonl", "--rebuild"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_and_the_proof_hold(older: Path):
    for command in (
        ("data", "batchplan", "materialise", "-k", "lock", "-l", "lengths.jsonl", "-o", "from-lock"),
        ("data", "batchplan", "check-proof", "proof.json", "--expect", EXPECTED["plan_id"]),
    ):
        done = lazarus(older, *command)
        assert done.returncode == 0, (command, done.stdout + done.stderr)
    assert (older / "from-lock" / "plan.jsonl").read_bytes() == (older / "plan" / "plan.jsonl").read_bytes()


def test_the_length_cache_is_measured_to_the_byte(older: Path):
    done = lazarus(older, "data", "lengths", "build", "-d", "data.jsonl", "-t", "model", "-o", "again.jsonl")
    assert done.returncode == 0, done.stderr
    assert (older / "again.jsonl").read_bytes() == (older / "lengths.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("run", ["full", "lora"])
def test_a_run_is_verified_and_resumed(older: Path, run: str):
    where = ("--model", "model", "--data", "data.jsonl", "--batch-plan", "plan")
    other_bits = (
        run == "lora" and BLAS.core != MADE_WITH_CORE
    )  # merged adapters are written again, with a matrix product
    done = lazarus(older, "verify", run, *where, *(["--allow-unchecked"] if other_bits else []))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("NOT checked") == other_bits
    lora = ("--use-lora", "--lora-rank", "2") if run == "lora" else ()
    settings = ("--learning-rate", "0.005", "--save-every", "3")
    done = lazarus(older, "train", "sft", *where, *lora, *settings, "-o", run)
    assert done.returncode == 0, done.stderr
    metrics = [json.loads(line) for line in (older / run / "metrics.jsonl").read_text("utf-8").splitlines()]
    audit = [json.loads(line) for line in (older / run / "audit.jsonl").read_text("utf-8").splitlines()]
    assert [line["loss"] for line in metrics if "loss" in line] == pytest.approx(EXPECTED[run]["losses"], rel=MEASURED)
    assert [line["rows"] for line in audit if "rows" in line and "bind" not in line] == EXPECTED[run]["rows"]
    done = lazarus(older, "verify", run, *where)
    assert done.returncode == 0, done.stdout + done.stderr
