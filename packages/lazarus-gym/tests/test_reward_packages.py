"""A reward of another package: an entry point named by the reward."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lazarus_gym import MeanReward, RewardError, SamplesError, generate_tasks, reward, reward_replies, score_replies
from lazarus_gym.__main__ import main
from lazarus_gym.samples import write_samples
from toy_packages import lay_out

TOY = '''
from lazarus_gym import verify


def short(task, reply):
    """Half of the reward for the right number, half for few words."""
    return 0.5 * verify(task, reply).correct + 0.5 / max(1, len(reply.split()))
'''
TASKS = generate_tasks(10)
REPLIES = {task.id: str(task.answer) if n % 2 else "I do not know" for n, task in enumerate(TASKS)}
Put = Callable[..., None]


def install(
    folder: Path, source: str = TOY, *, package: str = "toy-reward", name: str = "short", module: str = "toy_reward"
) -> Path:
    """A package in a folder, as an installer leaves it: a module, and metadata with the entry point."""
    points = {name: f"{module}:short"}
    return lay_out(folder, source, package=package, module=module, group="lazarus.rewards", points=points)


@pytest.fixture
def put(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Puts a package on the import path; it is forgotten after the test."""

    def put(source: str = TOY, **names: str) -> None:
        monkeypatch.syspath_prepend(install(tmp_path_factory.mktemp("site"), source, **names))

    yield put
    for module in ("toy_reward", "second_reward"):
        sys.modules.pop(module, None)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The options of `verify` for ten tasks and their replies."""
    write_samples(TASKS, tmp_path / "tasks.jsonl")
    lines = [json.dumps({"id": of, "reply": reply}) + "\n" for of, reply in REPLIES.items()]
    (tmp_path / "replies.jsonl").write_text("".join(lines))
    return ["-d", str(tmp_path / "tasks.jsonl"), "--replies", str(tmp_path / "replies.jsonl")]


def gym(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """Runs the command in this process and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["lazarus-gym", *args])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_an_outside_reward_scores_replies(put: Put):
    put()
    of = reward("short")
    assert of(TASKS[0], str(TASKS[0].answer)) == 1.0
    assert of(TASKS[0], "I do not know") == 0.125
    means = reward_replies(TASKS, REPLIES, name="short")
    assert means["all"] == MeanReward(mean=(5 * 1.0 + 5 * 0.125) / 10, n=10)
    assert list(means) == [*(task.kind for task in TASKS[:5]), "all"]
    assert means["subtraction"] == MeanReward(mean=(1.0 + 0.125) / 2, n=2)


def test_the_command_prints_its_mean(
    put: Put, files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    put()
    assert gym(monkeypatch, "verify", *files, "--reward", "short", "--json") == 0
    low, high = MeanReward(0.5625, 10).interval
    assert json.loads(capsys.readouterr().out)["all"] == {"reward": 0.5625, "n": 10, "interval_95": [low, high]}
    assert gym(monkeypatch, "verify", *files, "--reward", "short") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"all                   10     0.562   {low:.3f} to {high:.3f}"


def test_the_mean_of_math_is_the_accuracy(files: list[str]):
    scores, means = score_replies(TASKS, REPLIES), reward_replies(TASKS, REPLIES, name="math")
    assert scores.keys() == means.keys()
    for kind, score in scores.items():
        assert (means[kind].mean, means[kind].interval) == (score.accuracy, score.interval)


def test_replies_are_checked_as_for_a_score():
    with pytest.raises(SamplesError) as found:
        reward_replies(TASKS, {}, name="math")
    assert found.value.code == "LG-E116"


def test_an_unknown_reward_is_answered_with_the_known_ones(put: Put):
    put("raise RuntimeError('imported')\n")
    with pytest.raises(
        RewardError, match=r"no reward 'shorts' \(did you mean 'short'\?\); there are math, gsm8k, short\."
    ) as found:
        reward("shorts")
    assert (found.value.code, found.value.exit_code) == ("LG-E120", 2)
    assert "toy_reward" not in sys.modules


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import a_module_that_is_not_there\n", "cannot be loaded (ModuleNotFoundError: No module"),
        ("short = 1\n", "cannot be used: `toy_reward:short` must be a function of a task and a reply"),
    ],
)
def test_a_broken_package_is_one_line_that_names_it(put: Put, source: str, message: str):
    put(source)
    with pytest.raises(RewardError) as found:
        reward("short")
    assert f"the reward 'short' of the package toy-reward 1.0 {message}" in found.value.message
    assert found.value.code == "LG-E121"
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1.0000001", "gave 1.0000001 for the task 'addition-d2-s0-0', not a number from 0 to 1"),
        ("-0.5", "gave -0.5 for the task"),
        ("float('nan')", "gave nan for the task"),
        ("10**400", "not a number from 0 to 1"),
        ("'1'", "gave '1' for the task"),
        ("None", "gave None for the task"),
        ("1 / 0", "failed for the task 'addition-d2-s0-0' (ZeroDivisionError: division by zero)"),
    ],
)
def test_a_bad_value_is_one_line_that_names_package_and_task(
    put: Put,
    files: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str,
    message: str,
):
    put(f"def short(task, reply):\n    return {value}\n")
    assert gym(monkeypatch, "verify", *files, "--reward", "short") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "the reward 'short' of the package toy-reward 1.0" in printed.err
    assert message in printed.err
    assert "LG-E122" in printed.err


@pytest.mark.parametrize("value", ["0", "1", "True", "0.25"])
def test_whole_numbers_and_bounds_are_rewards(put: Put, value: str):
    put(f"def short(task, reply):\n    return {value}\n")
    found = reward("short")(TASKS[0], "")
    assert type(found) is float
    assert found == eval(value)


def test_two_packages_of_one_name_are_refused(put: Put):
    put()
    put(package="second", module="second_reward")
    with pytest.raises(RewardError, match=r"provided by second 1\.0, toy-reward 1\.0: uninstall") as found:
        reward("short")
    assert found.value.code == "LG-E121"


def test_a_package_cannot_replace_a_reward_of_this_package(put: Put):
    put(name="math")
    assert reward("math")(TASKS[0], TASKS[0].reply) == 1.0
    assert "toy_reward" not in sys.modules
