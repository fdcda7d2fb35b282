import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_cli.operations.errors import OperationError
from lazarus_cli.operations.remote import STEPS, RemoteRecipe, check_remote, remote_commands
from lazarus_cli.recipes.recipe import SHIPPED

RECIPE = SHIPPED / "quick.toml"
TEXT = "[corpus]\n"
"""A recipe, as far as this machine reads it."""
STAND_IN = """#!/bin/sh
# As ssh: runs the last word by a shell in the home folder of the "remote" machine.
echo "ssh $*" >> "$HOME_THERE/../calls"
for last; do :; done
cd "$HOME_THERE" && exec sh -c "$last"
"""
RSYNC = """#!/usr/bin/env python3
import os, shutil, sys
there = os.environ["HOME_THERE"]
open(there + "/../calls", "a").write("rsync " + " ".join(sys.argv[1:]) + "\\n")
*sources, target = sys.argv[sys.argv.index("--") + 1 :]
at = lambda path: path if path.startswith(("./", "/")) else os.path.join(there, path.partition(":")[2])
for source in map(at, sources):
    if source.endswith("/"):
        shutil.copytree(source, at(target), dirs_exist_ok=True)
    elif os.path.isdir(source):
        shutil.copytree(source, os.path.join(at(target), os.path.basename(source)), dirs_exist_ok=True)
    else:
        shutil.copy(source, at(target))
"""
TMUX = """#!/bin/sh
echo "tmux $*" >> "$HOME_THERE/../calls"
if [ "$1" = new-session ]; then for last; do :; done; sh -c "$last" > /dev/null; fi
"""
LAZARUS = """#!/bin/sh
echo "lazarus $*" >> "$HOME_THERE/../calls"
if [ "$1" = run ]; then mkdir -p "$4" && cp "$2" "$4/done.toml" && echo trained; fi
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins of ssh, rsync, tmux and lazarus first on PATH; the "remote" home folder."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "home there").mkdir()
    (tmp_path / "here").mkdir()
    for name, content in {"ssh": STAND_IN, "rsync": RSYNC, "tmux": TMUX, "lazarus": LAZARUS}.items():
        (tmp_path / "bin" / name).write_text(content)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME_THERE", str(tmp_path / "home there"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here/my recipe.toml").write_text(TEXT)
    (tmp_path / "here/rows of mine.jsonl").write_text("{}\n")
    return tmp_path


def test_the_printed_commands_are_those_that_a_shell_can_run(machine: Path, lazarus):
    words = (
        "remote",
        "my recipe.toml",
        "--host",
        "ann@gpu1",
        "--files",
        "rows of mine.jsonl",
        "--folder",
        "a folder/it's",
    )
    code, out, _ = lazarus(*words, "--dry-run")
    assert code == 0 and "hf_secret" not in out
    assert [line[2:] for line in out.splitlines() if line.startswith("# ")] == list(STEPS)
    assert not (machine / "calls").exists(), "nothing ran"
    for step in ("setup", "start", "fetch"):
        lines = lazarus(*words, "--step", step)[1].splitlines()[1:]
        for line in lines:
            if line.startswith("rsync") and step == "fetch":
                (machine / "here/my recipe").mkdir()
            subprocess.run(["sh", "-c", line], check=True, capture_output=True)
    assert (machine / "home there/a folder/it's/rows of mine.jsonl").is_file()
    assert (machine / "home there/a folder/it's/lazarus.log").read_text() == "trained\n"
    assert (machine / "here/my recipe/done.toml").read_text() == TEXT


def test_yes_sets_up_and_starts_and_each_step_runs_alone(machine: Path, lazarus):
    words = ("remote", "my recipe.toml", "--host", "ann@gpu1", "--tmux", "night")
    assert lazarus(*words, "--yes")[0] == 0
    assert (machine / "home there/lazarus/my recipe/out/done.toml").is_file()
    assert not (machine / "here/my recipe").exists()
    assert lazarus(*words, "--step", "stop", "--yes")[0] == 0
    assert lazarus(*words, "--step", "fetch", "--yes", "-o", "results")[0] == 0
    assert (machine / "here/results/done.toml").is_file()
    code, _, err = lazarus(*words, "--step", "fetch", "--yes", "-o", "results")
    assert code == 2 and "LC-E290" in err, "it has files, and none of a recipe"
    (machine / "here/results/lazarus.lock").write_text("{}")
    assert lazarus(*words, "--step", "fetch", "--yes", "-o", "results")[0] == 0
    calls = (machine / "calls").read_text()
    assert "tmux new-session -d -s night lazarus run 'my recipe.toml' -o out 2>&1 | tee -a lazarus.log" in calls
    assert "tmux send-keys -t =night: C-c" in calls and "hf_secret" not in calls


def test_the_first_command_that_fails_ends_the_step(machine: Path, lazarus):
    (machine / "bin/tmux").write_text("#!/bin/sh\nexit 3\n")
    code, _, err = lazarus("remote", "my recipe.toml", "--host", "gpu1", "--yes")
    assert code == 2 and "LC-E291" in err and "start: the command ended with 3" in err
    (machine / "bin/lazarus").unlink()
    code, _, err = lazarus("remote", "my recipe.toml", "--host", "gpu1", "--yes", "--program", "no-such-lazarus")
    assert code == 2 and "setup" in err


@pytest.mark.parametrize(
    "option",
    [
        *(("--host", value) for value in ("-oProxyCommand=evil", "a b", "ann@", "host;evil", "@host", "a@b@c")),
        *(("--folder", value) for value in ("-evil", "../up", "a/../b", "~/x", "a\nb")),
        *(("--tmux", value) for value in ("-evil", "a.b", "a:b", "a b")),
        ("--files", "nix"),
        ("--program", "'"),
    ],
)
def test_what_could_become_an_option_or_another_command_is_refused(machine: Path, lazarus, option):
    host = () if option[0] == "--host" else ("--host", "gpu1")
    code, out, err = lazarus("remote", "my recipe.toml", *host, *option)
    assert code == 2 and out == "" and not (machine / "calls").exists(), err


def test_settings_of_a_training_are_no_recipe(machine: Path, lazarus):
    text = 'model = "m"\ndata = "d.jsonl"\n[optimizer]\nlearning_rate = 1e-3\n'
    (machine / "here/train.toml").write_text(text)
    code, out, err = lazarus("remote", "train.toml", "--host", "gpu1", "--yes")
    assert code == 2 and out == "" and "train.toml has no stages" in err and not (machine / "calls").exists()
    (machine / "here/train.toml").write_text(text + '[mine]\ntype = "of-a-package-there"\n')
    assert lazarus("remote", "train.toml", "--host", "gpu1")[0] == 0


@given(st.text("ab $`'\"\\;&|*<>é-", min_size=1, max_size=12), st.sampled_from(STEPS))
def test_the_remote_shell_sees_every_folder_as_one_word(folder: str, step):
    asked = RemoteRecipe(RECIPE, "gpu1", folder, "s", (), ("lazarus",), Path("out"))
    try:
        check_remote(asked)
    except OperationError:
        assert folder.startswith("-")
        return
    for words in remote_commands(asked, step):
        assert shlex.split(shlex.join(words)) == words
        if words[0] == "ssh" and "-t" not in words and step != "stop":
            assert folder in shlex.split(words[2])
        if words[0] == "rsync":
            assert any(word.startswith(f"gpu1:{folder}/") for word in words)


def test_json_has_the_words_of_every_command(machine: Path, lazarus):
    code, out, _ = lazarus("remote", "my recipe.toml", "--host", "gpu1", "--json")
    assert code == 0 and list(json.loads(out)) == list(STEPS)
    assert {words[0] for step in json.loads(out).values() for words in step} == {"ssh", "rsync"}
