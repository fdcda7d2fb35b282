"""Rewards of a file: each part, their sum, aborted verdicts and messages."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_gym import make_environment
from lazarus_gym.__main__ import main
from lazarus_gym.errors import GymError, RewardError
from lazarus_gym.rewards import Answer, ComposedReward, RewardFile, load_rewards

HERE = Path(__file__).parent
Load = Callable[[str], ComposedReward]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str) -> ComposedReward:
        (tmp_path / "rewards.toml").write_text(text)
        return load_rewards(tmp_path / "rewards.toml")

    return load


def value(part: Mapping[str, Any], completion: str, **row: Any) -> float:
    """The value of one part."""
    reward = ComposedReward(RewardFile.model_validate({"rewards": {"p": part}}))
    (verdict,) = reward.score([Answer("", completion, row)])
    assert verdict.status == "ok"
    assert verdict.reward == verdict.parts["p"]
    return verdict.parts["p"]


FRACTIONS = st.fractions(-(10**6), 10**6, max_denominator=1000)


@given(FRACTIONS, FRACTIONS)
def test_a_number_is_right_exactly_when_it_is_the_rows(right: Fraction, said: Fraction):
    assert value({"type": "number"}, f"So it is {said}.", answer=str(right)) == (said == right)


@given(st.integers(-(10**9), 10**9), st.integers(0, 6))
def test_decimals_and_separators_are_exact(number: int, places: int):
    right = Fraction(number, 10**places)
    digits = f"{abs(number):0{places + 1}d}"
    whole, rest = digits[: len(digits) - places], digits[len(digits) - places :]
    said = f"{'-' if number < 0 else ''}{int(whole):,}{'.' + rest if rest else ''}"
    assert value({"type": "number"}, f"It is {said}", answer=str(right)) == 1.0


@given(FRACTIONS, FRACTIONS, st.sampled_from([0.0, 0.1, 0.25, 3.0]))
def test_tolerances_are_compared_exactly(right: Fraction, said: Fraction, allowed: float):
    gap = abs(said - right)
    exact = Fraction(repr(allowed))
    text = f"= {said}"
    assert value({"type": "number", "absolute": allowed}, text, answer=str(right)) == (gap <= exact)
    assert value({"type": "number", "relative": allowed}, text, answer=str(right)) == (gap <= exact * abs(right))


@pytest.mark.parametrize(
    ("part", "completion", "answer", "expected"),
    [
        ({"take": "last"}, "2 + 2 = 4", 4, 1),
        ({"take": "last"}, "4, or 5", 4, 0),
        ({"take": "only"}, "It is 4.", 4, 1),
        ({"take": "only"}, "4, or 5", 4, 0),
        ({"take": "boxed"}, r"3, so \boxed{\frac{3}{4}} and 9", 0.75, 1),
        ({"take": "boxed"}, r"\boxed{1} then \boxed{2}", 1, 0),
        ({"take": "boxed"}, "4", 4, 0),
        ({"take": "boxed"}, r"\boxed{4", 4, 0),
        ({"tag": "answer"}, "<answer>4</answer> 5", 4, 1),
        ({"tag": "answer"}, "4", 4, 0),
        ({}, "50%", 0.5, 1),
        ({}, "50%", "1/2", 1),
        ({}, "\u0664", 4, 0),
        ({}, "9" * 5000, 4, 0),
        ({}, "4 " * 10000, 4, 1),
        ({}, "1e400", 4, 0),
        ({}, "", 4, 0),
    ],
)
def test_which_number_counts(part: dict[str, Any], completion: str, answer: object, expected: float):
    assert value({"type": "number", **part}, completion, answer=answer) == expected


def test_gsm8k_reads_the_number_after_the_mark():
    row = {"answer": "She sold 48/2 = <<48/2=24>>24 clips.\n#### 1,072"}
    assert value({"type": "gsm8k"}, "so\n#### 1072", **row) == 1.0
    assert value({"type": "gsm8k"}, "1072", **row) == 0.0
    assert value({"type": "gsm8k"}, "#### 24", **row) == 0.0


def test_exact_text_and_lists_of_texts():
    assert value({"type": "exact"}, " Paris\n", answer="Paris") == 1.0
    assert value({"type": "exact"}, "paris", answer="Paris") == 0.0
    assert value({"type": "exact", "ignore_case": True}, "paris", answer=["Rome", "Paris"]) == 1.0
    assert value({"type": "exact", "ignore_space": True}, "a  b\nc", answer="a b c") == 1.0
    assert value({"type": "exact"}, "4", answer=4) == 1.0


THINK = {"type": "format", "tags": ["think", "answer"]}


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>a</think><answer>b</answer>", 1),
        (" <think></think>\n<answer></answer> ", 1),
        ("<answer>b</answer><think>a</think>", 0),
        ("<think>a</think><answer>b", 0),
        ("<think>a</think>so<answer>b</answer>", 0),
        ("<think>a</think><answer>b</answer>.", 0),
        ("x<think>a</think><answer>b</answer>", 0),
        ("<think>a<think>b</think><answer>b</answer>", 0),
        ("<think>a<answer></think>b</answer>", 0),
        ("", 0),
    ],
)
def test_the_format_is_every_tag_once(completion: str, expected: float):
    assert value(THINK, completion) == expected


@given(st.lists(st.sampled_from(["<a>", "</a>", "<b>", "</b>", "x", " "]), max_size=8))
def test_the_format_agrees_with_a_plain_pattern(pieces: list[str]):
    import re

    text = "".join(pieces)
    inside = r"(?:(?!</?[ab]>).)*"
    slow = re.fullmatch(rf"\s*<a>{inside}</a>\s*<b>{inside}</b>\s*", text, re.DOTALL) is not None
    assert value({"type": "format", "tags": ["a", "b"]}, text) == slow


@given(st.integers(0, 60), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_length_falls_outside_the_range(length: int, least: int, more: int, fall: int):
    part = {"type": "length", "least": least, "most": least + more, "fall": fall}
    found = value(part, "x" * length)
    beyond = max(least - length, length - least - more, 0)
    assert found == (1.0 if not beyond else max(0.0, 1 - beyond / fall) if fall else 0.0)
    assert value({**part, "unit": "words"}, "x " * length) == found


def test_an_episode_is_played_line_by_line():
    environment = make_environment("lights_out")
    environment.reset(seed=3, task="easy")
    moves = "\n".join(environment.solution())
    part = {"type": "environment", "environment": "lights_out"}
    assert value(part, moves, seed=3, task="easy") == 1.0
    assert value(part, f"\n{moves}\n\n", seed=3) == 1.0
    assert value(part, moves, seed=4) == 0.0
    assert value(part, f"hint\n{moves}", seed=3) < 1.0
    assert value(part, f"solve\n{moves}", seed=3) == 0.0
    assert value(part | {"tag": "moves"}, f"Let me see.<moves>{moves}</moves>", seed=3) == 1.0
    assert value(part | {"tag": "moves"}, moves, seed=3) == 0.0
    assert value({"type": "environment"}, "What? 109", seed=0, environment="maths", task="addition") == 1.0


@pytest.mark.parametrize("row", [{}, {"seed": "1"}, {"seed": True}, {"seed": 1, "task": 2}])
def test_an_episode_needs_a_seed(row: dict[str, Any]):
    part = {"type": "environment", "environment": "lights_out"}
    reward = ComposedReward(RewardFile.model_validate({"rewards": {"p": part}}))
    with pytest.raises(RewardError) as found:
        reward.score([Answer("", "press 1 1", row)])
    assert found.value.code == "LG-E124"


FILE = """
[rewards.right]
type = "number"
weight = 2.0

[rewards.long]
type = "length"
most = 3
weight = -0.5

[rewards.digits]
type = "regex"
pattern = "[0-9]"

[rewards.half]
type = "function"
function = "my_rewards:half"
weight = 4

[jail]
wall_s = 0.5
"""
FUNCTIONS = """
def half(prompt, completion, row):
    assert prompt == [{"role": "user", "content": "?"}] and row["answer"] == 7
    if completion == "stop":
        raise ValueError("no")
    if completion == "loop":
        while True: pass
    if completion == "much":
        return 2
    if completion == "none":
        return None
    return eval(completion) / 14 if completion.startswith("(") else 0.5
"""


@dataclass
class Foreign:
    """An answer of another package."""

    prompt: list[dict[str, str]]
    completion: str
    row: dict[str, Any]


def test_parts_are_summed_with_their_weights(load: Load, tmp_path: Path):
    (tmp_path / "my_rewards.py").write_text(FUNCTIONS)
    prompt = [{"role": "user", "content": "?"}]
    texts = ["7", "no", "(7)", "stop", "loop", "much", "none", "(print(7))", "7"]
    with load(FILE) as reward:
        found = reward.score([Foreign(prompt, text, {"answer": 7}) for text in texts])
    assert [each.reward for each in found] == [4.5, 1.5, 4.5, None, None, None, None, None, 4.5]
    assert found[0].parts == {"right": 1.0, "long": 1.0, "digits": 1.0, "half": 0.5}
    assert found[1].parts == {"right": 0.0, "long": 1.0, "digits": 0.0, "half": 0.5}
    assert [each.status for each in found] == ["ok"] * 3 + ["aborted"] * 5 + ["ok"]
    assert "half" not in found[3].parts
    assert found[3].reason == "half: ValueError: no"
    assert found[4].reason == "half: no reply within 0.5 s"
    assert found[5].reason == "half: gave 2, not a number from 0 to 1"
    assert found[7].reason.startswith("half: it tried exec")


def test_a_slow_pattern_ends_with_its_time(load: Load):
    with load('[rewards.p]\ntype = "regex"\npattern = "(a|a)+$"\n[jail]\nwall_s = 0.3') as reward:
        slow, fast = reward.score([Answer("", "a" * 80 + "b", {}), Answer("", "aaa", {})])
    assert (slow.reward, slow.status, slow.reason) == (None, "aborted", "p: no reply within 0.3 s")
    assert fast.reward == 1.0


def test_a_reward_without_jail_starts_no_worker(load: Load):
    reward = load('[rewards.p]\ntype = "gsm8k"')
    assert reward.jail is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "the row has no field `answer`; it has none"),
        ({"solution": 1}, "the row has no field `answer`; it has solution"),
        ({"answer": "none"}, "the row has no number in `answer`, but 'none'"),
        ({"answer": True}, "the row has no number in `answer`, but True"),
        ({"answer": float("inf")}, "the row has no number in `answer`, but inf"),
    ],
)
def test_a_row_without_answer_is_one_line(row: dict[str, Any], words: str):
    reward = ComposedReward(RewardFile.model_validate({"rewards": {"p": {"type": "number"}}}))
    with pytest.raises(RewardError, match=words) as found:
        reward.score([Answer("", "4", row)])
    assert found.value.code == "LG-E124"


@pytest.mark.parametrize(
    ("part", "row", "words"),
    [
        ({"type": "number"}, {"id": "a-7"}, r"^row 'a-7': the row has no field `answer`"),
        ({"type": "gsm8k"}, {"id": 7, "answer": "none"}, r"^row 7: the row has no number in `answer`"),
        ({"type": "exact"}, {"answer": 1.5}, r"^row of the question 'What\?': the row has no text"),
        (
            {"type": "environment"},
            {"id": "x", "environment": "maths"},
            r"^row 'x': the row has no whole number in `seed`",
        ),
        (
            {"type": "environment", "environment": "maths"},
            {"id": "x", "seed": 1, "task": "more"},
            r"^row 'x': unknown task 'more'",
        ),
    ],
)
def test_an_error_names_the_row(part: dict[str, Any], row: dict[str, Any], words: str):
    reward = ComposedReward(RewardFile.model_validate({"rewards": {"p": part}}))
    right = Answer("What?", "4", {"answer": "4", "environment": "maths", "seed": 1})
    for prompt in ("What?", [{"role": "user", "content": "What?"}]):
        with pytest.raises(GymError, match=words):
            reward.score([right, Answer(prompt, "4", row)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[rewards.x]\ntype = "numbr"', ":1: `rewards.x`: there is no such `type`; choose number, exact"),
        ("[rewards.x]\nweight = 1", ":1: `rewards.x`: has no `type`; choose number"),
        ('[rewards.x]\ntype = "number"\nwieght = 2', ":3: `rewards.x.wieght`: there is no such setting"),
        ('[rewards.x]\ntype = "regex"\npattern = "("', ":3: `rewards.x.pattern`: is no regular expression"),
        ('[rewards.x]\ntype = "regex"', ":1: `rewards.x.pattern`: is missing"),
        ('[rewards.x]\ntype = "length"\nleast = 2\nmost = 1', ":1: `rewards.x`: `most` is below `least`"),
        ('[rewards.x]\ntype = "format"\ntags = ["a", "a"]', ":3: `rewards.x.tags`: names a tag twice"),
        ('[rewards.x]\ntype = "function"\nfunction = "os.system"', ":3: `rewards.x.function`"),
        ('[rewards.x]\ntype = "gsm8k"\nweight = inf', ":3: `rewards.x.weight`"),
        ('[rewards."a b"]\ntype = "gsm8k"', ":1: the name 'a b'"),
        ("x = 1", "`rewards`: is missing"),
        ("x = 1\ny = ", "not TOML: invalid value"),
    ],
)
def test_a_bad_file_is_one_line_with_the_place(load: Load, text: str, words: str):
    with pytest.raises(RewardError) as found:
        load(text)
    assert words in found.value.message
    assert found.value.code == "LG-E123"
    assert "\n" not in found.value.message


def test_a_missing_file_is_one_line(tmp_path: Path):
    with pytest.raises(RewardError, match="does not exist: correct the path") as found:
        load_rewards(tmp_path / "none.toml")
    assert found.value.code == "LG-E123"


@pytest.fixture
def scored(tmp_path: Path) -> list[str]:
    """The options of `verify` for three rows, one of which loops in the jail."""
    rows = [{"id": f"r{n}", "prompt": "How many?", "solution": n, "more": [1]} for n in range(3)]
    replies = [{"id": "r0", "reply": "0"}, {"id": "r1", "reply": "2"}, {"id": "r2", "reply": "a" * 60 + "b 2"}]
    for name, lines in (("rows", rows), ("replies", replies)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "rewards.toml").write_text(
        '[rewards.right]\ntype = "number"\nanswer = "solution"\nweight = 2\n'
        '[rewards.form]\ntype = "regex"\npattern = "^(a|a)+$|^[0-9]"\n[jail]\nwall_s = 0.3\n'
    )
    return [
        *("-d", str(tmp_path / "rows.jsonl"), "--replies", str(tmp_path / "replies.jsonl")),
        *("--rewards", str(tmp_path / "rewards.toml")),
    ]


def verify(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """Runs `verify` in this process and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["lazarus-gym", "verify", *args])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_the_command_prints_the_mean_of_each_part(
    scored: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert verify(monkeypatch, *scored) == 0
    printed = capsys.readouterr()
    assert [line.split() for line in printed.out.splitlines()] == [
        ["part", "weight", "n", "mean"],
        ["right", "2", "3", "0.667"],
        ["form", "1", "2", "1.000"],
        ["reward", "2", "2.000"],
    ]
    assert "1 of 3 verdicts were aborted and have no reward, such as 'r2': form: no reply within 0.3 s" in printed.err
    assert verify(monkeypatch, *scored, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 3
    assert list(found["aborted"]) == ["r2"]
    assert found["means"]["reward"] == {"mean": 2.0, "n": 2, "weight": 1.0}


def test_the_command_refuses_two_rewards(
    scored: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert verify(monkeypatch, *scored, "--reward", "math") == 2
    assert "--reward and --rewards contradict each other" in capsys.readouterr().err


def test_the_modules_beside_a_file_of_rewards_are_its_files(tmp_path: Path):
    (tmp_path / "own.py").touch()
    (tmp_path / "room").mkdir()
    (tmp_path / "room/__init__.py").touch()
    path = tmp_path / "rewards.toml"
    parts = {"a": "own:f", "b": "own:g", "c": "room:f", "d": "math:fsum"}
    path.write_text("".join(f'[rewards.{name}]\ntype = "function"\nfunction = "{of}"\n' for name, of in parts.items()))
    with load_rewards(path) as reward:
        assert [each.relative_to(tmp_path.resolve()).as_posix() for each in reward.files] == [
            "own.py",
            "room/__init__.py",
        ]
