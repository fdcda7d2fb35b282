"""Functions of the packages take a path as `Path` or as text, as a notebook gives it."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from lazarus_corpus import analyze_corpus, from_files, read_items, split_rows
from lazarus_corpus.errors import SettingError
from lazarus_gym import generate_tasks, read_replies, read_tasks, write_samples
from lazarus_gym.replay import ReplayBuffer, ReplayBufferConfig, load_buffer, save_buffer
from lazarus_models import init_model, read_config, save
from lazarus_tokenkit import compute_fingerprint, load_tokenizer, verify_fingerprint
from lazarus_tokenkit.fingerprint import save_fingerprint

PACKAGES = ("plan", "tokenkit", "models", "train", "introspect", "gym", "corpus")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_parameter_that_takes_a_path_takes_text(package: str):
    module = import_module(f"lazarus_{package}")
    functions = {name: function for name in dir(module) if inspect.isfunction(function := getattr(module, name))}
    found = [
        f"{name}({parameter})"
        for name, function in functions.items()
        for parameter in inspect.signature(function).parameters.values()
        if re.search(r"\bPath\b", said := str(parameter.annotation)) and not re.search(r"\bstr\b", said)
    ]
    assert found == []


def test_the_functions_do_as_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    tasks = generate_tasks(3, seed=0)
    write_samples(tasks, "tasks.jsonl")
    assert read_tasks("tasks.jsonl") == tasks
    Path("replies.jsonl").write_text('{"id":"a","reply":"4"}\n')
    assert read_replies("replies.jsonl") == {"a": "4"}
    save_buffer(ReplayBuffer(ReplayBufferConfig(max_size=2)), "buffer")
    assert len(load_buffer("buffer")) == 0
    save(init_model("nano", load_tokenizer("byte"), seed=0), "model")
    assert read_config("model") == read_config(Path("model"))
    save_fingerprint(compute_fingerprint("byte"), "byte.lock")
    verify_fingerprint(compute_fingerprint("byte"), "byte.lock")


def test_a_corpus_of_one_file_is_named_by_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("".join(f'{{"id":"{n}","text":"the bees of garden {n}"}}\n' for n in range(50)))
    assert from_files("rows.jsonl") == from_files([Path("rows.jsonl")])
    assert analyze_corpus(from_files("rows.jsonl"), "work").read == 50
    assert len(read_items(["rows.jsonl"])) == 50
    assert sum(split_rows(["rows.jsonl"], "train.jsonl", "validation.jsonl", share=0.2)) == 50
    for share in (20, -0.1, float("nan")):
        with pytest.raises(SettingError, match=f"`share` is {share}: give a number from 0 to 1") as found:
            split_rows(["rows.jsonl"], "other.jsonl", "held-out.jsonl", share=share)
        assert found.value.code == "LD-E127" and not Path("other.jsonl").exists()
