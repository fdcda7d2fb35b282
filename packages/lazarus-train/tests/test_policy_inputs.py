"""What reinforcement learning is given: rewards of users, rows of environments, settings. What does not fit is one line, before the first step."""

import json
import sys
from types import SimpleNamespace

import pytest

import lazarus_core.plugins
import lazarus_models
from lazarus_core.errors import InputError
from lazarus_train import check_run, train, verify_run
from lazarus_train.cpu.thread_parallel import Replicas
from lazarus_train.errors import SetupError
from lazarus_train.objectives.policy.grpo import GrpoSettings
from lazarus_train.objectives.policy.ppo import PpoSettings
from lazarus_train.rollouts.collect import Asked, Collector, Drawing
from lazarus_train.rollouts.generate import Drawn
from lazarus_train.rollouts.groups import figures
from lazarus_train.rollouts.prompts import Prompts
from lazarus_train.rollouts.record import Rollout
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


class Played:
    """Pays 1 for each of two answers."""

    resets: list  # of the test

    def reset(self, *, seed, task):
        self.resets.append((seed, task))
        self.turn = 0

    def step(self, action):
        self.turn += 1
        observation = SimpleNamespace(text="go on")
        return SimpleNamespace(observation=observation, reward=1.0, done=self.turn == 2, truncated=False)


@pytest.fixture
def played(setup, monkeypatch):
    """A setup whose rows are episodes of `Played`."""
    monkeypatch.setattr(Played, "resets", [], raising=False)
    monkeypatch.setattr("lazarus_train.rollouts.environments.environment_maker", lambda name: Played)
    return setup


def episodes(**settings):
    return GrpoSettings(**{"environment": "played", "group_size": 2, "max_new_tokens": 8, **settings})


def ppo(**settings):
    return PpoSettings(**{"environment": "played", "max_new_tokens": 8, **settings})


def write_rows(setup, **fields):
    """Questions without answers; the fields belong to the third."""
    rows = [{"prompt": f"What is {number}?", "seed": number} for number in range(6)]
    setup.write_rows([*rows[:2], {**rows[2], **fields}, *rows[3:]])
    setup.build_plan()


@pytest.mark.parametrize("fields", [{"seed": "2"}, {"seed": 1.5}, {"seed": None}, {"seed": True}, {"task": 3}])
def test_a_row_that_begins_no_episode_is_named_before_the_first_step(played, fields):
    write_rows(played, **fields)
    (name,) = fields
    with pytest.raises(SetupError, match=rf"^sample 2 of .*data\.jsonl: its {name} is "):
        check_run(played.config(objective=episodes()))


def test_a_row_that_an_environment_refuses_is_named(played, monkeypatch):
    class Refusing(Played):
        def reset(self, *, seed, task):
            if seed == 2:
                raise InputError("unknown task", "LG-E131") if task is None else ValueError("no such task")

    monkeypatch.setattr("lazarus_train.rollouts.environments.environment_maker", lambda name: Refusing)
    for fields, kind, said in (
        ({}, InputError, "unknown task$"),
        ({"task": "x"}, SetupError, "ValueError: no such task"),
    ):
        write_rows(played, **fields)
        with pytest.raises(kind, match=rf"^sample 2 of .*data\.jsonl: .*{said}"):
            train(played.config(objective=episodes()))


def test_seed_and_task_of_a_row_reach_its_environment(played):
    write_rows(played, task="hard")
    train(played.config(objective=episodes()))
    assert {*Played.resets} == {(2, "hard"), *((number, None) for number in (0, 1, 3, 4, 5))}


@pytest.mark.parametrize("objective", [episodes, ppo])
def test_an_episode_without_room_for_a_token_trains_nothing(played, objective):
    played.write_rows([{"prompt": "What is 1?", "seed": 1}] * 4)
    played.build_plan()
    length = int(check_run(played.config(objective=episodes())).dataset.lengths.length.max())
    file = played.model / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "max_position_embeddings": length}))
    train(played.config(objective=objective(unfinished="score"), max_steps=1))
    found = [json.loads(line) for line in (played.folder / "run/rollouts.jsonl").read_text().splitlines()]
    assert {(each["status"], *each["ids"]) for each in found} == {("truncated",)}


@pytest.mark.parametrize("room", [3, 4, 8, 1000])
def test_an_episode_stays_within_the_context_and_ends_with_a_token_of_the_model(played, room):
    """The context ends behind the first answer, within the reply of the environment, or behind the episode."""
    write_rows(played)
    inputs = check_run(played.config(objective=episodes()))
    lm = lazarus_models.load(played.model)
    prompts = Prompts(inputs.dataset, inputs.encoder.tokenizer)
    context = len(prompts.ids(0)) + room
    stop = lm.stop_ids[0]
    drawing = Drawing(0, 3, context, 1.0, lm.stop_ids, 8, turns=2, scores_unfinished=True)

    def draw(model, requests, **_):
        return [Drawn([5, 6, stop], [-1.0] * 3, {}, has_ended=True) for _ in requests]

    collector = Collector(prompts, inputs.encoder, None, drawing, Played, draw)
    (found,) = collector.collect(Replicas(lm.model, 1), [Asked(0, 0)], 0).rollouts
    assert found.is_whole
    assert len(found.ids) <= room
    assert found.ids[-3:] == (5, 6, stop)
    assert all(found.is_drawn[-3:])
    assert found.reward == (2.0 if room == 1000 else 1.0)


@pytest.mark.parametrize("objective", [episodes, ppo])
def test_questions_without_answers_are_held_out(played, objective):
    write_rows(played)
    held_out = played.folder / "held_out.jsonl"
    held_out.write_text('{"prompt": "What is 7?", "seed": 7}\n')
    train(played.config(objective=objective(unfinished="score"), max_steps=1, eval_data={"new": held_out}))
    assert (7, None) in Played.resets
    lines = [json.loads(line) for line in (played.folder / "run/metrics.jsonl").read_text().splitlines()]
    assert {line["eval_prompts"] for line in lines if "eval_set" in line} == {1}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"reward": "exact", "turns": 2}, "`turns` has no effect"),
        ({"environment": "played", "overlong_buffer": 2}, "`overlong_buffer` has no effect"),
    ],
)
def test_settings_of_the_other_kind_of_reward_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        GrpoSettings(**settings)


def test_a_field_of_the_signal_that_a_row_does_not_have_is_refused(setup):
    settings = GrpoSettings(reward="exact", choose="signal", prompts_per_step=1, signal_field="tier")
    setup.write_rows([{"prompt": "a", "completion": "b", "tier": None}, {"prompt": "a", "completion": "b"}])
    setup.build_plan()
    with pytest.raises(SetupError, match=r"sample 1 of .* has no field 'tier', .* it has completion, prompt"):
        check_run(setup.config(objective=settings))


@pytest.mark.parametrize("choice", [{"choose": "signal"}, {"replace_flat": True}])
def test_a_choice_among_all_prompts_of_a_step_is_refused(setup, choice):
    setup.build_plan(token_budget=96)
    plan = check_run(setup.config()).plan
    steps = [
        len({segment.sample for row in plan.step(step).rows for segment in row.segments}) for step in range(len(plan))
    ]
    first, most = steps[0], max(steps)

    def config(output, wanted, **more):
        objective = GrpoSettings(reward="exact", group_size=2, max_new_tokens=1, prompts_per_step=wanted, **choice)
        return setup.config(output, objective=objective, **more)

    for wanted, more, limit in ((most, {}, most), (most + 9, {}, most), (first, {"max_steps": 1}, first)):
        with pytest.raises(
            SetupError,
            match=rf"has no effect: a step of the plan has at most {limit} prompts?, and `prompts_per_step` is {wanted},",
        ):
            train(config("refused", wanted, **more))
        assert not (setup.folder / "refused/config.json").exists()
    assert most > 1 and train(config("run", most - 1, max_steps=1 + steps.index(most))).steps


def test_an_aborted_verdict_counts_in_no_mean_of_parts():
    def rollout(copy, status, reward, parts):
        return Rollout(1, 0, copy, (0,), (5,), (True,), (-1.0,), ("x",), status, reward, parts, reward)

    found = figures(
        [
            rollout(0, "ok", 1.5, {"right": 1.0, "short": 0.5}),
            rollout(1, "aborted", None, {"right": 1.0}),  # `short` timed out
            rollout(2, "truncated", None, {}),
            rollout(3, "ok", 0.0, {"right": 0.0}),  # a function that names other parts
        ],
        is_control=False,
    )
    assert (found["reward"], found["reward_right"], found["reward_short"]) == (0.75, 0.5, 0.25)


SCORED = """
from types import SimpleNamespace

def f(prompt, completion, row):
    return sum(each in "aeiou" for each in completion) / (1 + len(completion))

class OfFile:
    def __init__(self, path):
        self.weight = float(path.read_text().split("=")[1])

    def score(self, answers):
        return [SimpleNamespace(reward=self.weight * f("", each.completion, {}), parts={}, status="ok") for each in answers]
"""


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["scored:f", "scored.toml"])
def test_a_run_is_replayed_from_another_folder_with_its_own_reward(setup, tmp_path_factory, monkeypatch, reward):
    """What lies in the other folder under the same name is another reward."""
    other = tmp_path_factory.mktemp("other")
    (setup.folder / "scored.py").write_text(SCORED)
    (setup.folder / "scored.toml").write_text("weight = 1")
    (other / "scored.py").write_text("def f(prompt, completion, row):\n    return 0.125\n")
    (other / "scored.toml").write_text("weight = 3")

    class Entry:
        name, group, value, dist = "toml", "lazarus.scorers", "scored:OfFile", None

        def load(self):
            import scored

            return scored.OfFile

    def begin(folder):
        monkeypatch.chdir(folder)
        monkeypatch.delitem(sys.modules, "scored", raising=False)

    begin(setup.folder)
    if reward.endswith(".toml"):
        monkeypatch.syspath_prepend(setup.folder)
        find = lazarus_core.plugins.entry_points
        monkeypatch.setattr(
            "lazarus_core.plugins.entry_points",
            lambda **asked: [Entry()] if asked["group"] == Entry.group else find(**asked),
        )
    train(setup.config(objective=GrpoSettings(reward=reward, group_size=4, max_new_tokens=200), max_steps=1))
    begin(other)
    links = {link.name: link for link in verify_run(setup.folder / "run", replay=20)}
    assert "the same bytes" in links["replay"].proof


def test_a_reward_file_is_relative_to_the_file_of_settings(tmp_path, monkeypatch, capsys):
    from lazarus_train.__main__ import main

    folder = tmp_path / "sub"
    folder.mkdir()
    (folder / "rewards.toml").touch()
    monkeypatch.chdir(tmp_path)
    for reward, is_path in (("rewards.toml", True), ("exact", False), ("module:function", False)):
        (folder / "run.toml").write_text(
            f'model = "m"\ndata = "d.jsonl"\nbatch_plan = "p"\n[objective]\nkind = "grpo"\nreward = "{reward}"\n'
        )
        monkeypatch.setattr(sys, "argv", ["lazarus-train", "grpo", "--config", "sub/run.toml", "--print-config"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert f'reward = "{"sub/" if is_path else ""}{reward}"' in capsys.readouterr().out


def test_exact_compares_with_the_answer_to_the_prompt_and_not_with_later_turns(setup):
    from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer
    from lazarus_train.data.dataset import read_dataset

    chat = [("user", "a?"), ("assistant", "b c"), ("user", "d?"), ("assistant", "e")]
    rows = [{"messages": [{"role": role, "content": content} for role, content in chat[:turns]]} for turns in (4, 2)]
    setup.write_rows(rows)
    encoder = Encoder(load_tokenizer("byte"))
    prompts = Prompts(read_dataset(setup.data, encoder, FieldNames()), encoder.tokenizer)
    assert [(prompts.answer(sample) or "none").strip() for sample in range(2)] == ["b c", "b c"]


@pytest.mark.parametrize("answered", [0, 1])
def test_questions_that_exact_could_never_pay_are_refused(setup, answered):
    setup.write_rows([{"prompt": "a", **({"completion": "b"} if answered else {})}] * 2)
    setup.build_plan()
    config = setup.config(objective=GrpoSettings(reward="exact"))
    if answered:
        check_run(config)
        return
    with pytest.raises(SetupError, match=r"^sample 0 of .* and all others have no answer"):
        check_run(config)
