"""Exported files: they import nothing of ours, and their scores equal ours on right, random and wrong replies."""

import ast
import importlib.util
import inspect
import itertools
import random
import sys
from pathlib import Path
from typing import Any

import pytest

import commands
import suite
from lazarus_gym import GymError, generate_tasks, make_environment, verify
from lazarus_gym.environments import GAMES
from lazarus_gym.exports import EXPORT, LIBRARIES, ExportConfig, export_tasks
from lazarus_gym.tasks.families import FAMILIES
from lazarus_gym.tasks.tool_calls import verify_call

QUESTIONS = ("maths", "tool_calls", *FAMILIES)
NAMES = (*GAMES, *QUESTIONS)


def load(content: str, folder: Path, name: str = "exported") -> Any:
    """An exported file as a module."""
    path = folder / f"{name}.py"
    path.write_text(content, "utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def ours(name: str, row: dict[str, Any], replies: list[str]) -> float:
    """The rewards of our environment for the same replies."""
    environment = make_environment(name)
    environment.reset(seed=row["seed"], task=row["level"])
    total = 0.0
    for reply in replies:
        step = environment.step(reply)
        total += step.reward
        if step.done or step.truncated:
            break
    return total


@pytest.mark.parametrize(("library", "name"), suite.every_nth(itertools.product(LIBRARIES, NAMES), 4))
def test_a_file_is_python_without_our_packages(name: str, library: Any):
    content = export_tasks(name, library, ExportConfig(count=2))
    assert content == export_tasks(name, library, ExportConfig(count=2))
    modules = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in ast.walk(ast.parse(content))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    others = {"trl": set(), "verifiers": {"verifiers"}, "openenv": {"openenv", "uvicorn"}}
    assert modules - set(sys.stdlib_module_names) == others[library]
    assert "@" not in content.replace("@property", "").replace("@dataclass", "").replace("@abstractmethod", "").replace(
        "@override", ""
    ).replace("@classmethod", "").replace("@staticmethod", "").replace("@lru_cache", "").replace("@vf.reward", "")


@pytest.mark.parametrize("name", GAMES)
def test_scores_of_a_game_equal_ours(tmp_path: Path, name: str):
    config = ExportConfig(count=suite.repeats(30, 3), level="medium", seed=11)
    file = load(export_tasks(name, "trl", config), tmp_path)
    draw = random.Random(0)
    for row in file.ROWS:
        environment = make_environment(name)
        first = environment.reset(seed=row["seed"], task=row["level"])
        assert file.make_episode(row).first_text() == first.text
        moves = list(file.solution(row))
        assert moves == list(environment.solution())
        shuffled = [draw.choice([*moves, "hint", "zap", "solve", moves[0][:-1]]) for _ in range(40)]
        for replies in (moves, moves[:-1], ["hint", *moves], ["zap", *moves], ["solve", *moves], shuffled, []):
            assert file.score(row, replies) == ours(name, row, replies)
        assert file.score(row, moves) == 1
        assert file.score(row, [f"Let me think.\n\n{move}\n" for move in moves]) == 1


@pytest.mark.parametrize("name", GAMES)
def test_the_class_for_trl_plays_the_puzzle_of_a_row(tmp_path: Path, name: str):
    file = load(export_tasks(name, "trl", ExportConfig(count=2)), tmp_path)
    player = file.Environment()
    for row in file.train_rows():
        assert row["prompt"][-1]["content"].endswith("\n\n")
        assert player.reset(**row) == make_environment(name).reset(seed=row["seed"], task=row["level"]).text
        for move in file.solution(row):
            verb, *numbers = move.split()
            values = [list(map(int, numbers))] if verb == "guess" else list(map(int, numbers))
            getattr(player, verb)(*values)
        assert (player.get_reward(), file.rewards([player], prompts=[], completions=[])) == (1, [1])
    for tool, method in inspect.getmembers(type(player), inspect.isfunction):
        if tool[0] != "_" and tool not in ("reset", "get_reward"):
            assert "Returns:" in (inspect.getdoc(method) or "")


@pytest.mark.parametrize("name", QUESTIONS)
def test_scores_of_questions_equal_ours(tmp_path: Path, name: str):
    config = ExportConfig(count=suite.repeats(300, 40), seed=3, digits=3)
    file = load(export_tasks(name, "trl", config), tmp_path)
    kinds = make_environment("maths").tasks if name == "maths" else FAMILIES.get(name, FAMILIES["tools"])
    tasks = generate_tasks(config.count, seed=3, kinds=kinds, digits=3)  # pyright: ignore[reportArgumentType]
    draw = random.Random(1)
    rights = 0
    for row, task in zip(file.ROWS, tasks, strict=True):
        assert (row["id"], row["prompt"]) == (task.id, task.prompt)
        (right,) = file.solution(row)
        assert file.score(row, [right]) == 1
        number = draw.randrange(-1000, 1000)
        for reply in (
            task.reply,
            right,
            f"{right}.",
            f"It is {right}",
            f"{number}",
            "",
            "\u0661",
            right.replace("-", "\u2212"),
            right[:-1],
            f"{right} or {number}",
            right.replace("{", "{ ", 1),
            right.replace(": ", ":"),
            right.replace("}", ',"x":1}'),
            "[" * 10_000,
            "9" * 5000,
            task.prompt,
        ):
            expected = verify_call(task.prompt, reply) if "call" in row else verify(task, reply).correct
            assert file.score(row, [reply]) == file.score(row, [reply, right]) == expected
            rights += expected
    assert rights > 2 * len(tasks)


def test_the_class_for_trl_asks_the_question_of_a_row(tmp_path: Path):
    for name, answers in (
        ("word", lambda row: {"answer": row["answer"]}),
        ("tools", lambda row: row["call"]["arguments"]),
    ):
        file = load(export_tasks(name, "trl", ExportConfig(count=3)), tmp_path, name)
        player = file.Environment()
        with pytest.raises(file.EnvironmentUseError):
            (player.answer if name == "word" else player.calculator)(**answers(file.ROWS[0]))
        for row, asked in zip(file.ROWS, file.train_rows(), strict=True):
            assert player.reset(**asked) == row["prompt"]
            tool = player.answer if name == "word" else player.calculator
            assert (tool(**answers(row)), player.get_reward()) == ("Correct.", 1)
            assert (tool(**answers(row)), player.get_reward()) == ("The question is answered already.", 1)
            player.reset(**asked)
            wrong = dict.fromkeys(answers(row), "9999999")
            assert (tool(**wrong), player.get_reward()) == ("Wrong.", 0)


def test_what_cannot_be_exported_is_one_error():
    with pytest.raises(GymError, match="sudoku") as caught:
        export_tasks("sudoko", "trl")
    assert caught.value.code == "LG-E178"
    with pytest.raises(GymError) as caught:
        export_tasks("math", "trl", ExportConfig(count=10_000, digits=1))
    assert caught.value.code == "LG-E105"


def test_the_command_replaces_only_an_unedited_export(tmp_path: Path):
    file = tmp_path / "a b.py"

    def export(*words: object) -> Any:
        return commands.run([sys.executable, "-m", "lazarus_cli", "gym", "export", *words, "-o", file])

    assert export("lights_out", "--to", "trl", "-n", 2).returncode == 0
    assert EXPORT.is_own(file)
    done = export("word", "--to", "verifiers", "-n", 2)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, f"2 tasks of word for verifiers: {file}")
    edited = file.read_text("utf-8").replace("Tasks", "Mine")
    file.write_text(edited, "utf-8")
    done = export("word", "--to", "verifiers")
    assert (done.returncode, file.read_text("utf-8")) == (2, edited)
    assert export("word", "--to", "openenv", "--force").returncode == 0
    for words in (("--to", "trl", "chess"), ("--to", "trl", "word", "-n", 0), ("--to", "trl", "word", "--digits", 9)):
        done = export(*words)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert (
        commands.run(
            [sys.executable, "-m", "lazarus_cli", "gym", "export", "word", "--to", "trl", "-o", tmp_path / "x"]
        ).returncode
        == 2
    )
