"""The files of a reward are part of the record of a run: another reward is refused on resume and named by a replay."""

import importlib
import json
import sys

import pytest

import lazarus_core.plugins
from lazarus_train import train, verify_run
from lazarus_train.errors import CorruptCheckpoint, ForeignCheckpoint
from lazarus_train.objectives.policy.base import PolicyObjective
from lazarus_train.objectives.policy.grpo import GrpoSettings
from lazarus_train.rollouts.reward_files import reward_digests, reward_files
from lazarus_train.run_dir.sealed_write import as_json

KEPT = """
from types import SimpleNamespace

from kept_below import f

class OfFile:
    def __init__(self, path):
        self.weight = float(path.read_text().split("=")[1])
        self.files = (path.with_name("kept_below.py"), path.with_name("absent.py"))

    def score(self, answers):
        return [SimpleNamespace(reward=self.weight * f("", each.completion, {}), parts={}, status="ok") for each in answers]
"""
BELOW = """
def f(prompt, completion, row):
    return sum(each in "aeiou" for each in completion) / (1 + len(completion))
"""
FILES = {
    "kept.toml": ("kept.toml", "kept_below.py"),
    "kept:f": ("kept.py", "kept_below.py"),
    "kept_below:f": ("kept_below.py",),
}


@pytest.fixture
def kept(setup, monkeypatch):
    """A setup with rewards of files, in the working directory."""
    (setup.folder / "kept.py").write_text(KEPT)
    (setup.folder / "kept_below.py").write_text(BELOW)
    (setup.folder / "kept.toml").write_text("weight = 1")
    monkeypatch.chdir(setup.folder)
    monkeypatch.syspath_prepend(setup.folder)
    for name in ("kept", "kept_below"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    class Entry:
        name, group, value, dist = "toml", "lazarus.scorers", "kept:OfFile", None

        def load(self):
            return importlib.import_module("kept").OfFile

    find = lazarus_core.plugins.entry_points
    monkeypatch.setattr(
        "lazarus_core.plugins.entry_points",
        lambda **asked: [Entry()] if asked["group"] == Entry.group else find(**asked),
    )
    setup.build_plan(epochs=4)
    return setup


def config(setup, reward, steps, output="run"):
    objective = GrpoSettings(reward=reward, group_size=4, max_new_tokens=200)
    return setup.config(output, objective=objective, max_steps=steps, save_every=1)


def record(setup, output="run"):
    return json.loads((setup.folder / output / "config.json").read_text())


@pytest.mark.parametrize("reward", FILES)
def test_the_files_of_a_reward(kept, reward):
    assert [path.name for path in reward_files(reward).values()] == [*FILES[reward]]
    assert reward_files(reward, str(kept.folder)).keys() == reward_files(reward).keys()
    assert len(set(reward_digests(reward).values())) == len(FILES[reward])


@pytest.mark.parametrize("reward", ["exact", "math:fsum", "operator:itemgetter"])
def test_installed_rewards_have_no_files(reward, monkeypatch):
    monkeypatch.setattr("lazarus_train.rollouts.rewards._check_arguments", lambda *_: None)
    assert reward_files(reward) == {}


@pytest.mark.slow
@pytest.mark.every_parameter
@pytest.mark.parametrize(("reward", "changed"), [(each, file) for each, files in FILES.items() for file in files])
def test_another_reward_is_refused_and_named(kept, reward, changed):
    train(config(kept, reward, 1))
    path = kept.folder / changed
    before = path.read_text()
    path.write_text(f"{before}  # edited\n" if changed.endswith(".py") else "weight = 2")
    with pytest.raises(
        ForeignCheckpoint, match=rf"trained with another reward: .*{changed} was changed since; restore it"
    ):
        train(config(kept, reward, 2))
    with pytest.raises(ForeignCheckpoint, match=f"{changed} is not the reward of the run"):
        list(verify_run(kept.folder / "run", replay=2))
    assert any(link.name == "settings" for link in verify_run(kept.folder / "run"))  # the record holds without the file
    path.write_text(before)
    train(config(kept, reward, 2))
    train(config(kept, reward, 2, "straight"))
    assert kept.fingerprints("run") == kept.fingerprints("straight")
    assert "the same bytes" in {link.name: link for link in verify_run(kept.folder / "run", replay=2)}["replay"].proof


@pytest.mark.slow
def test_a_run_without_digests_resumes_and_a_replay_tells_its_reward_from_its_answer(kept, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(PolicyObjective, "reward_digests", lambda self: {})
        train(config(kept, "kept.toml", 1))
    assert "reward_files" not in record(kept)
    (kept.folder / "kept.toml").write_text("weight = 2")
    with pytest.raises(
        CorruptCheckpoint, match=r"the same when .* its reward is not: .*`reward` kept\.toml was changed"
    ):
        list(verify_run(kept.folder / "run", replay=20))
    (kept.folder / "kept.toml").write_text("weight = 1")
    assert "the same bytes" in {link.name: link for link in verify_run(kept.folder / "run", replay=4)}["replay"].proof
    train(config(kept, "kept.toml", 2))
    assert [*record(kept)["reward_files"]] == ["kept.toml", "kept_below.py"]
    assert "changed 1 times" in {link.name: link for link in verify_run(kept.folder / "run")}["settings"].proof


@pytest.mark.slow
@pytest.mark.parametrize("edited", [{}, {"kept.toml": "0" * 64}, {"kept.toml": 1}, None])
def test_edited_digests_do_not_verify(kept, edited):
    train(config(kept, "kept.toml", 1))
    members = record(kept)
    members["reward_files"] = edited
    (kept.folder / "run/config.json").write_bytes(as_json(members))
    with pytest.raises(Exception, match=r"config\.json (was changed|is not the record)"):
        list(verify_run(kept.folder / "run"))
