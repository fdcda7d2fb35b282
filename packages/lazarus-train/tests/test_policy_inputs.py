"""What reinforcement learning is given: rewards of users, rows of environments, settings. What does not fit is one line, before the first step."""

from types import SimpleNamespace

import pytest

from lazarus_core.errors import InputError
from lazarus_train.errors import SetupError
from lazarus_train.rollouts.rewards import Answer, Verdict, load_reward, verdicts_of

ANSWER = Answer("p", "abc", {})
REWARDS = {
    "text": "def f(prompt, completion, row):\n    return 'right'\n",
    "list": "def f(prompt, completion, row):\n    return [1]\n",
    "huge": "def f(prompt, completion, row):\n    return 10**400\n",
    "part": "def f(prompt, completion, row):\n    return {'a': 1, 'b': None}\n",
}


def write(folder, monkeypatch, name, source):
    (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    return f"{name}:f"


@pytest.mark.parametrize("name", REWARDS)
def test_a_result_that_is_no_number_is_an_aborted_verdict(tmp_path, monkeypatch, name):
    reward = write(tmp_path, monkeypatch, f"gives_{name}", REWARDS[name])
    assert verdicts_of(load_reward(reward), [ANSWER]) == [Verdict(None, {}, f"{reward} gave no number")]


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("no_syntax", "def f(:\n", "SyntaxError"),
        ("no_name", "f = undefined\n", "NameError: name 'undefined'"),
        (
            "other_arguments",
            "def f(completions):\n    return 1\n",
            "cannot be called .*`prompt`, `completion` and `row`",
        ),
        ("positional", "def f(prompt, completion, row, /):\n    return 1\n", "cannot be called"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_by_name(tmp_path, monkeypatch, name, source, said):
    reward = write(tmp_path, monkeypatch, name, source)
    with pytest.raises(SetupError, match=f"`reward` {reward} .*{said}"):
        load_reward(reward)


@pytest.mark.parametrize("name", [":f", ".relative:f", "..:f"])
def test_a_name_without_a_module_is_refused(name):
    with pytest.raises(SetupError, match="cannot be imported"):
        load_reward(name)


def test_functions_of_any_form_that_takes_the_three_are_loaded(tmp_path, monkeypatch):
    for number, head in enumerate(("**fields", "completion, **rest", "*, row, completion, prompt, more=1")):
        reward = write(tmp_path, monkeypatch, f"form_{number}", f"def f({head}):\n    return 0.5\n")
        assert verdicts_of(load_reward(reward), [ANSWER])[0].reward == 0.5


OTHER_VERDICTS = {
    "numbers": lambda answers: [1.0],
    "one number": lambda answers: 1.0,
    "no number": lambda answers: [SimpleNamespace(reward="x", parts={}, status="ok")],
}


@pytest.mark.parametrize("score", OTHER_VERDICTS.values(), ids=OTHER_VERDICTS)
def test_an_object_with_other_verdicts_is_one_line(score):
    with pytest.raises(SetupError, match=r"`reward` failed .*`reward`, `parts` and `status`"):
        verdicts_of(SimpleNamespace(score=score), [ANSWER])


def test_an_expected_failure_of_a_reward_keeps_its_words():
    def score(answers):
        raise InputError("the row has no answer", "LP-E003")

    with pytest.raises(InputError, match=r"^the row has no answer$"):
        verdicts_of(SimpleNamespace(score=score), [ANSWER])
