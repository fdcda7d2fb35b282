"""Laws of the families of tasks: right answers, right steps, disjoint sets, wrong replies that are wrong."""

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lazarus_gym.__main__ as entry
from lazarus_core.errors import LazarusError
from lazarus_gym import Kind, Task, TaskError, generate_tasks, read_tasks, verify
from lazarus_gym.task_folder import check_task_folder, write_task_folder
from lazarus_gym.tasks.families import FAMILIES, family_kinds, generate_set, wrong_reply
from lazarus_gym.tasks.maths import _QUESTIONS
from lazarus_gym.tasks.questions import ALL_KINDS
from lazarus_gym.tasks.tool_calls import call_of, verify_call
from lazarus_tokenkit import read_samples

NEW = [kind for name in ("algebra", "word", "tools") for kind in FAMILIES[name]]
seeds = st.integers(-(2**40), 2**40)


def right_answer(task: Task) -> Fraction:
    """The answer from the prompt alone."""
    n = [int(each) for each in re.findall(r"(?<![\w)])-?\d+|\d+", task.prompt)]
    match task.kind:
        case "linear_equation":
            a, b, c = re.fullmatch(r"Solve for x: (\d+)\*x ([+-] \d+) = (-?\d+)", task.prompt).groups()  # pyright: ignore[reportOptionalMemberAccess]
            return Fraction(int(c) - int(b.replace(" ", "")), int(a))
        case "expression_value":
            return Fraction(n[0] * n[2] + n[1])
        case "proportion":
            return Fraction(n[1] * n[2], n[0])
        case "boxes":
            return Fraction(n[0] * n[1] + n[2] - n[3])
        case "journey":
            return Fraction(n[0] * n[1] + n[2] * n[3])
        case "times_as_many":
            return Fraction(n[0] + n[0] * n[1] + n[2])
        case _:
            sign = {"plus": n[0] + n[1], "minus": n[0] - n[1], "times": n[0] * n[1]}
            return Fraction(next(value for word, value in sign.items() if f" {word} " in task.prompt))


def value(expression: str) -> Fraction:
    """Value of `a op b op c` by precedence; a number may have a sign or stand in parentheses."""
    tokens = re.findall(r"\(-\d+\)|(?<![\d)] )-?\d+|[-+*/]", expression)
    numbers, signs = [Fraction(each.strip("()")) for each in tokens[::2]], tokens[1::2]
    for level in ("*/", "+-"):
        at = 0
        while at < len(signs):
            if signs[at] in level:
                a, b = numbers[at], numbers[at + 1]
                numbers[at : at + 2] = [
                    {"*": a * b, "+": a + b, "-": a - b}.get(signs[at]) or (a / b if signs[at] == "/" else Fraction(0))
                ]
                del signs[at]
            else:
                at += 1
    return numbers[0]


@pytest.mark.parametrize("kind", NEW)
@given(seed=seeds, digits=st.integers(1, 7))
def test_answers_follow_from_the_prompt_alone(kind: Kind, seed: int, digits: int):
    for task in generate_tasks(8, seed=seed, kinds=[kind], digits=digits):
        assert right_answer(task) == task.answer
        assert abs(task.answer) < 2**53
        assert verify(task, task.reply).correct
        assert "\n" not in task.prompt
        longest = max(len(each) for each in re.findall(r"\d+", task.prompt))
        assert longest <= (2 * digits + 1 if kind in ("linear_equation", "proportion") else digits)


@pytest.mark.parametrize("kind", [kind for kind in NEW if kind != "linear_equation"])
def test_every_step_of_a_reply_is_right(kind: Kind):
    for task in generate_tasks(200, kinds=[kind], digits=3):
        for line in task.reply.split("\n"):
            parts = line.rpartition(":")[2].split(" = ")
            parts = [re.sub(r"^One ticket costs | euros\.$", "", part).strip() for part in parts]
            assert len({value(part) for part in parts}) == 1, (line, [value(part) for part in parts])


def test_every_step_of_an_equation_is_right():
    for task in generate_tasks(300, kinds=["linear_equation"], digits=2):
        first, second = task.reply.split("\n")
        left, sum_, result = first.split(" = ")
        assert value(sum_) == Fraction(result) == int(left.removesuffix("*x")) * task.answer
        assert second == f"x = {result} / {left.removesuffix('*x')} = {task.answer}"


@pytest.mark.parametrize("kind", NEW)
def test_every_question_comes_once(kind: Kind):
    size = _QUESTIONS[kind].size(10)
    asked = [_QUESTIONS[kind].ask(index, 10).prompt for index in range(min(size, 20_000))]
    assert len(set(asked)) == len(asked)
    assert len({_QUESTIONS[kind].ask(index, 10).prompt for index in (size - 1, size - 2, 0)}) == 3


@given(seeds, st.sampled_from(sorted(FAMILIES)), st.integers(1, 40), st.integers(0, 40))
def test_training_and_evaluation_share_no_question(seed: int, family: str, count: int, evaluation: int):
    tasks = generate_set(count, evaluation, seed=seed, kinds=family_kinds(family), digits=2)
    prompts = [{task.prompt for task in each} for each in (tasks.train, tasks.evaluation)]
    assert [len(tasks.train), len(tasks.evaluation)] == [count, evaluation]
    assert [*map(len, prompts)] == [count, evaluation]
    assert prompts[0].isdisjoint(prompts[1])
    assert {task.id for task in tasks.train}.isdisjoint(task.id for task in tasks.evaluation)


@given(seeds, st.integers(1, 7))
def test_wrong_replies_are_wrong_and_have_the_form_of_right_ones(seed: int, digits: int):
    for task in generate_tasks(len(ALL_KINDS), seed=seed, kinds=ALL_KINDS, digits=digits):
        wrong = wrong_reply(task)
        assert not verify(task, wrong).correct
        head = task.reply.rpartition(str(task.answer))[0]
        assert wrong.startswith(head)
        assert verify(task, wrong).found is not None


def test_calls_are_compared_exactly():
    prompt = generate_tasks(1, kinds=["calculator_call"])[0].prompt
    right = call_of(prompt)
    assert verify_call(prompt, json.dumps(right))
    arguments: Any = right["arguments"]
    for wrong in (
        "", "null", "[]", "call " + json.dumps(right), json.dumps([right]), json.dumps(right) * 2,
        json.dumps({**right, "name": "python"}), json.dumps({**right, "extra": 1}),
        json.dumps({**right, "arguments": {**arguments, "a": arguments["a"] + 1}}),
        json.dumps({**right, "arguments": {**arguments, "a": float(arguments["a"])}}),
        json.dumps({**right, "arguments": {**arguments, "a": str(arguments["a"])}}),
        json.dumps({**right, "arguments": {**arguments, "c": 1}}),
        json.dumps({**right, "arguments": json.dumps(arguments)}),
        json.dumps(right).replace("{", '{"name": "python", ', 1),  # the last of two members would win
        "[" * 100_000, "\ud800", "__import__('os')",
    ):  # fmt: skip
        assert not verify_call(prompt, wrong)
    truth = "Use the calculator: how much is 1 plus 0?"
    assert verify_call(truth, '{"name":"calculator","arguments":{"operation":"add","a":1,"b":0}}')
    assert not verify_call(truth, '{"name":"calculator","arguments":{"operation":"add","a":true,"b":false}}')
    for prompt in ("What is 1 + 1?", "Use the calculator: how much is 1 power 2?"):
        with pytest.raises(ValueError, match="not a task"):
            call_of(prompt)


def lazarus_gym(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["lazarus-gym", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_folder_holds_samples_that_training_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str):
    folder = tmp_path / "data" / "lazarus"
    assert lazarus_gym(monkeypatch, "generate", "--type", family, "-n", 20, "--output", folder) == 0
    train, evaluation = (read_tasks(folder / name) for name in ("train.jsonl", "eval.jsonl"))
    assert (len(train), len(evaluation)) == (20, 2)
    assert {task.kind for task in train} == set(family_kinds(family))
    assert all(verify(task, task.reply).correct for task in (*train, *evaluation))
    assert [sample.id for sample in read_samples(folder / "train.jsonl")] == [task.id for task in train]
    assert len(list(read_samples(folder / "preferences.jsonl"))) == 20
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert lazarus_gym(monkeypatch, "generate", "--type", family, "-n", 20, "--output", folder) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    rows = [json.loads(line) for line in before["preferences.jsonl"].decode().splitlines()]
    for task, row in zip(train, rows, strict=True):
        assert verify(task, row["chosen"][0]["content"]).correct
        assert not verify(task, row["rejected"][0]["content"]).correct
    if family == "tools":
        call = json.loads(before["train.jsonl"].decode().splitlines()[0])["messages"][1]["tool_calls"][0]
        assert verify_call(train[0].prompt, json.dumps(call["function"]))


def test_a_changed_folder_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "tasks"
    write_task_folder(generate_set(3, 1), folder, {})
    check_task_folder(folder)
    with (folder / "train.jsonl").open("a") as file:
        file.write('{"mine":1}\n')
    with pytest.raises(LazarusError) as caught:
        check_task_folder(folder)
    assert caught.value.code == "LG-E118"
    assert lazarus_gym(monkeypatch, "generate", "-o", folder) == 2
    assert "--force" in capsys.readouterr().err
    assert (folder / "train.jsonl").read_text().endswith('{"mine":1}\n')
    check_task_folder(folder, force=True)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(LazarusError, match="thesis"):
        check_task_folder(folder, force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/train.jsonl").write_text("mine")
    with pytest.raises(LazarusError):
        check_task_folder(tmp_path / "other")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--type", "chess"], "there is `math`, `algebra`, `word` and `tools`"),
        (["--type", "word", "--kinds", "addition"], "unknown kind 'addition' of word"),
        (["--eval", "-1"], "`evaluation` is -1"),
        (["-n", "0"], "`count` is 0"),
        (["-n", "90", "--kinds", "comparison", "--digits", "1"], "90 different comparison questions"),
    ],
)
def test_bad_usage_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], says: str
):
    monkeypatch.chdir(tmp_path)
    assert lazarus_gym(monkeypatch, "generate", "-o", "tasks", *words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_eval_needs_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert lazarus_gym(monkeypatch, "generate", "-o", tmp_path / "tasks.jsonl", "--eval", 3) == 2
    assert "a name without an ending" in capsys.readouterr().err
    with pytest.raises(TaskError):
        family_kinds("chess")
    assert set(get_args(Kind.__value__ if hasattr(Kind, "__value__") else Kind)) == set(ALL_KINDS)
