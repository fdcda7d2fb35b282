"""Tasks of `generate` are answered by `infer`, and `verify` scores the answers: no file is edited in between."""

import json
import sys
from pathlib import Path

import pytest

import commands
from lazarus_gym import read_replies, read_tasks
from lazarus_models import init_model, save
from lazarus_tokenkit import load_tokenizer


def run(*words: object) -> str:
    return commands.run([sys.executable, "-m", *words], check=True).stdout


@pytest.mark.slow
def test_answers_to_generated_tasks_are_scored(tmp_path: Path):
    model, tasks, answers = tmp_path / "model", tmp_path / "tasks.jsonl", tmp_path / "answers.jsonl"
    save(init_model("nano", load_tokenizer("byte"), seed=0), model)
    run("lazarus_cli", "generate", "-n", "11", "-o", tasks)
    rows = run("lazarus_cli", "infer", "-m", model, "--prompts", tasks, "--max-tokens", "4", "--json")
    answers.write_text(rows, "utf-8")
    expected = {task.id: task.prompt for task in read_tasks(tasks)}
    assert {row["id"]: row["prompt"] for row in map(json.loads, rows.splitlines())} == expected
    assert read_replies(answers).keys() == expected.keys()
    scores = json.loads(run("lazarus_gym", "verify", "-d", tasks, "--replies", answers, "--json"))
    assert scores["all"]["n"] == 11


@pytest.mark.parametrize("member", ["reply", "response", "completion"])
def test_a_reply_has_one_of_three_names(tmp_path: Path, member: str):
    (tmp_path / "replies.jsonl").write_text(json.dumps({"id": "a", member: "7", "prompt": "3 + 4"}) + "\n", "utf-8")
    assert read_replies(tmp_path / "replies.jsonl") == {"a": "7"}


def test_reply_comes_before_the_other_names(tmp_path: Path):
    (tmp_path / "replies.jsonl").write_text('{"id":"a","completion":"1","response":"2","reply":"3"}\n', "utf-8")
    assert read_replies(tmp_path / "replies.jsonl") == {"a": "3"}
