"""Short names of published models, the command `examples`, and the example scripts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
from typer.testing import CliRunner

from lazarus_core import command_names
from lazarus_core.errors import LazarusError
from lazarus_models.cli.app import app
from lazarus_models.errors import ConfigError
from lazarus_models.families import ModelFamilyType
from lazarus_models.loading import MODELS, PUBLISHED, locate
from lazarus_models.loading.published import GROUPS
from suite import every_nth

SCRIPTS = Path(__file__).parents[1] / "examples"
OF_THE_ISSUE = (
    *("tinyllama", "smollm2-135m", "smollm2-360m", "smollm2-1.7b", "functiongemma", "mistral-7b", "llama-4-scout"),
    *("gemma-3-270m", "gemma-3-1b", "gemma-3-4b", "gemma-3-12b", "gemma-3-27b"),
    *("granite-3.0-2b", "granite-3.1-8b", "granite-4.0-micro", "granite-4.0-tiny", "jamba-v0.1", "jamba-1.5-large"),
    *("starcoder2-3b", "starcoder2-7b", "starcoder2-15b", "llama-3.1-8b", "llama-3.2-1b", "llama-3.3-70b"),
    *("mamba-130m", "mamba-370m", "mamba-790m", "mamba-1.4b", "mamba-2.8b"),
)
BEFORE = (
    *("functiongemma-270m", "gemma3-1b", "gpt-oss-20b", "granite3-2b", "granite4-1b", "llama3.2-1b", "mamba-130m"),
    *("mistral-7b", "olmoe-1b-7b", "qwen3-0.6b", "smollm2-135m", "smollm2-360m", "starcoder2-3b", "tinyllama-1.1b"),
)


def invoke(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_every_name_has_a_supported_family_and_an_example():
    assert {*OF_THE_ISSUE, *BEFORE} <= PUBLISHED.keys()
    every = [family for families in GROUPS.values() for family in families]
    assert len(every) == len(set(every))
    assert set(every) == set(ModelFamilyType) - {ModelFamilyType.COMPOSED}
    assert {model.family for model in PUBLISHED.values()} == set(every)
    assert list(MODELS) == sorted(PUBLISHED)


def test_one_repository_has_one_family():
    pairs = {(model.repository, model.family) for model in PUBLISHED.values()}
    assert len(pairs) == len({repository for repository, _ in pairs})


def test_offline_a_name_says_what_would_be_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"gemma-3-4b is google/gemma-3-4b-it \(family gemma3_text\): no such") as hit:
        locate("gemma-3-4b")
    assert (hit.value.code, "\n" in hit.value.message) == ("LM-E107", False)


def test_examples_lists_models_with_commands_by_family(monkeypatch):
    shown = invoke("examples", "granite", "--list")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(GROUPS["granite"])
    assert any(line.endswith('lazarus infer -m granite-3.1-2b -p "What is the capital of France?"') for line in lines)
    assert "starcoder2-3b" not in shown.stdout
    monkeypatch.setattr(command_names, "_script", "lazarus-models")
    everything = invoke("examples").stdout
    assert all(f"lazarus-models infer -m {name} -p " in everything for name in PUBLISHED)
    code = json.loads(invoke("examples", "starcoder2", "--json").stdout)
    assert code["starcoder2-7b"] == {"repository": "bigcode/starcoder2-7b", "family": "starcoder2"}


def test_the_printed_commands_are_commands(monkeypatch, stories, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("mamba-130m").symlink_to(stories.path)  # a directory comes before the hub
    line = next(line for line in invoke("examples", "mamba").stdout.splitlines() if "-m mamba-130m " in line)
    words = line.partition("lazarus ")[2].replace('"', "").split()
    prompt = " ".join(words[4:-1])
    done = invoke(*words[:4], prompt, words[-1], "--max-tokens", 3)
    assert done.exit_code == 0, done.output


@pytest.mark.slow
@pytest.mark.thorough
def test_every_family_generates_without_a_download():
    rows = [json.loads(line) for line in invoke("examples", "--test-tiny", "--json").stdout.splitlines()]
    assert [row["family"] for row in rows] == sorted(set(ModelFamilyType) - {ModelFamilyType.COMPOSED})
    assert all(row["tokens"] == 16 and row["parameters"] > 50_000 for row in rows)


def test_an_unknown_example_is_refused_with_the_list():
    done = invoke("examples", "lama")
    assert isinstance(done.exception, LazarusError)
    assert done.exception.code == "LM-E233"
    assert "llama" in done.exception.message
    both = invoke("examples", "--list", "--test-tiny").exception
    assert isinstance(both, LazarusError)
    assert "exclude each other" in both.message


def script(path, *arguments, cwd=None):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cwd or "/nonexistent")}
    command = [sys.executable, str(SCRIPTS / path), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, cwd=cwd, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "arguments"),
    every_nth(
        [
            ("ask.py", ()),
            ("ask.py", ("absent",)),
            ("call_functions.py", ()),
            ("models/gemma/01_functiongemma_inference.py", ()),
            ("inference/jamba_inference.py", ()),
            ("inference/llama_inference.py", ("--model", "absent")),
            ("inference/starcoder2_inference.py", ("--interactive", "--prompt", "x")),
        ],
        3,
    ),
)
@pytest.mark.thorough
def test_an_example_offline_or_without_arguments_is_a_line_and_exit_2(path, arguments, tmp_path):
    done = script(path, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("path", every_nth((path.name for path in sorted((SCRIPTS / "inference").glob("*.py"))), 3))
def test_an_example_of_a_family_lists_its_models(path):
    done = script(f"inference/{path}", "--list")
    assert done.returncode == 0, done.stderr
    default = (SCRIPTS / "inference" / path).read_text("utf-8").partition('default="')[2].partition('"')[0]
    assert default in PUBLISHED
    assert f"infer -m {default} " in done.stdout
