"""Commands that a message suggests can be pasted into a shell, whatever the paths are."""

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from command_pages import app_of


@pytest.fixture
def suggested(tmp_path: Path):
    """Runs a command; returns the words of the command that it suggests."""

    def call(*arguments: object) -> list[str]:
        result = CliRunner().invoke(app_of("lazarus"), list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        line = next(line for line in result.output.splitlines() if "lazarus " in line)
        return shlex.split(line[line.index("lazarus ") :])

    return call


def test_a_path_with_a_space_is_one_word_of_what_is_suggested(suggested, tmp_path: Path):
    folder = tmp_path / "my data"
    folder.mkdir()
    data, lengths, plan, lock = (folder / name for name in ("rows.jsonl", "lengths.jsonl", "a plan", "a lock"))
    data.write_text("".join(json.dumps({"prompt": f"{n}?", "completion": f"{n}."}) + "\n" for n in range(9)), "utf-8")
    assert str(lengths) in suggested("data", "lengths", "build", "-d", data, "-t", "byte", "-o", lengths)
    assert str(lengths) in suggested("data", "batching", "suggest", "-l", lengths)
    assert str(plan) in suggested("data", "batchplan", "build", "-l", lengths, "-b", 256, "--predictable", "-o", plan)
    assert str(lock) in suggested("data", "batchplan", "lock", "-p", plan, "-o", lock)


def test_the_model_of_a_run_is_one_word(capsys: pytest.CaptureFixture[str]):
    from lazarus_train import RunResult, TrainConfig
    from lazarus_train.cli.training import _say_next

    final = Path("my runs/final")
    config = TrainConfig(model="m", data="d.jsonl", batch_plan="p", output="my runs")
    _say_next(config, RunResult(final, 1, 1, "", ""))
    words = shlex.split(capsys.readouterr().err.removeprefix("next: "))
    assert words[words.index("--model") + 1] == str(final)
