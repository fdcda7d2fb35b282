"""`lazarus introspect evolve` on a run that is trained here: the rows of the jump are those of the plan."""

import json
import sys
from pathlib import Path

import pytest

import commands

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evolution")
    rows = [{"prompt": f"{n} and {n}?", "completion": f"It is {2 * n}."} for n in range(40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for words in (
        "model new --preset nano -t byte -o model",
        "tokenizer lengths build -t model -d rows.jsonl -o rows.lengths.jsonl",
        "data batchplan build -l rows.lengths.jsonl --predictable -b 300 -e 3 -o plan",
        "data batchplan build -l rows.lengths.jsonl -b 300 -e 3 --seed 1 -o other",
        "train sft --model model --data rows.jsonl --batch-plan plan --max-steps 14 --save-every 2 --keep-checkpoints 9"
        " --learning-rate 3e-3 -o run",
    ):
        lazarus(folder, *words.split())
    return folder


def lazarus(folder: Path, *words: str) -> str:
    line = [sys.executable, "-m", "lazarus_cli", *words]
    return commands.run(line, cwd=folder, check=True).stdout


def test_the_rows_of_the_jump_are_those_of_the_plan(folder: Path):
    shown = lazarus(folder, *["introspect", "evolve", "run", "--raw", "--json"], "-p", "3 and 3? It is 6.")
    found = json.loads(shown)
    assert [each["step"] for each in found["checkpoints"]] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert found["checkpoints"][0]["value"] > found["checkpoints"][-1]["value"]
    jump, trained = found["jump"], found["rows"]
    assert jump["intervals"] == 7 and 0 < jump["p"] <= 1
    expected: set[int] = set()
    placed = 0
    for step in range(jump["first_step"], jump["last_step"]):
        explained = json.loads(lazarus(folder, *f"data batchplan explain -p plan --step {step} --json".split()))
        samples = [sample for row in explained["rows"] for sample in row["samples"]]
        placed += len(samples)
        expected |= set(samples)
    assert trained["sources"] == [{"source": "rows.lengths.jsonl", "rows": sorted(expected)}]
    assert trained["num_samples"] == placed > 0
    (folder / "r.json").write_text(shown, "utf-8")
    assert "equal, bit for bit" in lazarus(folder, "introspect", "replay", "r.json")


def test_rows_of_another_plan_are_not_listed(folder: Path):
    words = ["introspect", "evolve", "run", "--raw", "--json", "-p", "a", "--plan", "other"]
    found = json.loads(lazarus(folder, *words))
    assert found["rows"] is None and "did not follow other" in found["rows_absent"]
