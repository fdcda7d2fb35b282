"""The settings of `build`: options, a file and `--set` give the same plan, and a plan's record gives it again."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lazarus_plan import LengthCache, LengthRow, PlanConfig, Stage, build_plan, load_plan, rebase_plan, save_plan
from lazarus_plan.cli.settings import BuildSettings, StageSettings
from suite import examples

Command = Callable[..., tuple[int, str, str]]
MIXED = ["-b", 128, "--row-len", 64, "-e", 2, "--seed", 5, "--stage", "0=3,1=1", "--stage", "0,1", "--until", "first"]
TOML = """\
lengths = ["a.jsonl", "b.jsonl"]
output = "plan"
token_budget = 128
row_len = 64
epochs = 2
seed = 5

[[stages]]
sources = [0, 1]
weights = [3, 1]
until = "first"

[[stages]]
sources = [0, 1]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two length caches in the current folder."""
    for name, count in (("a", 30), ("b", 11)):
        rows = "".join(json.dumps({"id": f"{name}{n}", "length": 5 + n * 7 % 40}) + "\n" for n in range(count))
        (tmp_path / f"{name}.jsonl").write_text(rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan_id(folder: Path | str) -> str:
    return load_plan(folder).plan_id


def test_options_a_file_and_sets_give_the_same_plan(command: Command, here: Path):
    (here / "plan.toml").write_text(
        TOML.replace('until = "first"\n', "").replace("seed = 5", 'seed = 5\nuntil = "all"')
    )
    mixed = [each for each in MIXED if each not in ("--until", "first")]
    both = ["-l", "a.jsonl", "-l", "b.jsonl"]
    assert command("build", *both, *mixed, "-o", "by-options")[0] == 0
    assert command("build", "--config", "plan.toml", "-o", "by-file")[0] == 0
    sets = {
        "lengths": '["a.jsonl", "b.jsonl"]',
        "token_budget": 128,
        "row_len": 64,
        "epochs": 2,
        "seed": 5,
        "stages": "[{sources = [0, 1], weights = [3, 1]}, {sources = [0, 1]}]",
        "output": "by-sets",
    }
    words = [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]
    code, _, err = command("build", *words)
    assert code == 0, err
    assert plan_id("by-options") == plan_id("by-file") == plan_id("by-sets")


@pytest.mark.parametrize(
    "options",
    [
        ["-l", "a.jsonl", "-b", 128],
        ["-l", "a.jsonl", "-l", "b.jsonl", "-b", 128, "--row-len", 64, "--weights", "2,1", "--until", "first"],
        ["-l", "a.jsonl", "-b", 128, "--bucket-edges", "16,64"],
        ["-l", "a.jsonl", "-b", 128, "--mode", "padded", "--window", 8, "--oversize", "truncate", "--row-len", 32],
        ["-l", "a.jsonl", "-l", "b.jsonl", "-b", 256, "--repeats", "1,3", "-e", 2, "--align", 4, "--row-len", 64],
    ],
    ids=["one", "weights", "bucketed", "padded", "repeats"],
)
def test_the_record_of_a_plan_builds_it_again(command: Command, here: Path, options: list[object]):
    assert command("build", *options, "-o", "first")[0] == 0
    lengths = options[: 4 if options.count("-l") == 2 else 2]
    assert command("build", "--config", "first/metadata.json", *lengths, "-o", "again")[0] == 0
    assert plan_id("again") == plan_id("first")
    assert (here / "again/plan.jsonl").read_bytes() == (here / "first/plan.jsonl").read_bytes()
    changed = command("build", "--config", "first/metadata.json", "--set", "seed=1", *lengths, "-o", "other")
    assert changed[0] == 0 and plan_id("other") != plan_id("first")


def test_printed_settings_are_a_file_that_gives_the_same_plan(command: Command, here: Path):
    (here / "base.toml").write_text(TOML)
    given = ["--config", "base.toml", "--set", "epochs=3", "-b", 192]
    code, out, _ = command("build", *given, "--print-config")
    assert code == 0 and not (here / "plan").exists()
    lines = {line.partition(" = ")[0]: line for line in out.splitlines() if " = " in line}
    assert lines["epochs"].endswith("# set") and lines["token_budget"].endswith("# flag --token-budget")
    assert lines["row_len"].endswith("# file base.toml:4") and lines["align"].endswith("# default")
    assert tomllib.loads(out)["stages"][1] == {"sources": [0, 1], "weights": [], "until": "all"}
    (here / "printed.toml").write_text(out)
    assert command("build", *given, "-o", "first")[0] == 0
    assert command("build", "--config", "printed.toml", "-o", "again")[0] == 0
    assert plan_id("first") == plan_id("again")


@pytest.mark.parametrize(
    ("text", "words", "problem"),
    [
        (TOML.replace("epochs", "epoch"), [], "plan.toml:5: no setting `epoch`; did you mean `epochs`?"),
        (TOML.replace("= 128", "= 0"), [], "plan.toml:3: `token_budget` is 0: give a whole number above 0"),
        (TOML.replace("row_len = 64", "row_len = 256"), [], "plan.toml:4: `row_len` 256 is above `token_budget` 128"),
        (TOML.replace("[3, 1]", "[3]"), [], "plan.toml"),
        (TOML + 'mode = "packed"\n', [], "plan.toml"),
        (TOML.replace("seed = 5", "weights = [1, 1]"), [], "`weights` is one stage of all sources"),
        (TOML, ["--set", "mode=other"], "--set mode: `mode` is"),
        (TOML, ["--set", "predictable=true"], "`predictable` means seed 0"),
        (TOML, ["--weights", "1,1"], "weights"),
        (TOML, ["--stage", "0=x"], "--stage takes integers"),
        ("token_budget = ", [], "plan.toml: not TOML"),
        ('lengths = []\noutput = "o"\ntoken_budget = 4\n', [], "plan.toml:1: `lengths` is []"),
        ('output = "o"\ntoken_budget = 4\n', [], "Missing option '-l' / '--lengths'"),
        ('lengths = ["a.jsonl"]\ntoken_budget = 4\n', [], "Missing option '-o' / '--output'"),
        ('lengths = ["a.jsonl"]\noutput = "o"\n', [], "Missing option '-b' / '--token-budget'"),
    ],
)
def test_what_a_file_gets_wrong_is_one_line(command: Command, here: Path, text: str, words: list[str], problem: str):
    (here / "plan.toml").write_text(text)
    code, out, err = command("build", "--config", "plan.toml", *words)
    assert (code, out) == (2, "") and problem in " ".join(err.split()) and "Traceback" not in err
    assert not (here / "plan").exists()


def test_the_record_of_a_rebased_plan_is_refused(command: Command, here: Path):
    cache = LengthCache.from_rows([LengthRow(f"a{n}", 5 + n * 7 % 40) for n in range(30)], name="a.jsonl")
    parent = build_plan(cache, PlanConfig(token_budget=128, epochs=2))
    save_plan(rebase_plan(parent, 2, cache), here / "child")
    code, _, err = command("build", "--config", "child/metadata.json", "-l", "a.jsonl", "-o", "again")
    assert code == 2 and "is a rebased plan" in err and "LP-E230" in err


@settings(max_examples=examples(60))
@given(
    st.integers(1, 3).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.one_of(st.just([]), st.lists(st.integers(1, 9), min_size=count, max_size=count)),
            st.sampled_from(["all", "first"]),
        )
    ),
    st.integers(0, 99),
)
def test_weights_are_one_stage_of_all_sources(asked: tuple[int, list[int], str], seed: int):
    count, weights, until = asked
    given = {
        "lengths": ["l"] * count,
        "output": "o",
        "token_budget": 64,
        "weights": weights,
        "until": until,
        "seed": seed,
    }
    config = BuildSettings.model_validate(given).plan_config()
    stages = (Stage(sources=tuple(range(count)), weights=tuple(weights), until=until),) if weights else ()  # pyright: ignore[reportArgumentType] # one of Until
    assert config == PlanConfig(token_budget=64, seed=seed, stages=stages)


def test_stages_without_an_end_have_that_of_the_epoch():
    given = {"lengths": ["a", "b"], "output": "o", "token_budget": 64, "until": "first"}
    one = {"sources": [0, 1], "weights": [2, 1]}
    found = BuildSettings.model_validate({**given, "stages": [one, {**one, "until": "all"}]})
    assert [stage.until for stage in found.stages] == ["first", "all"]
    assert found.stages[0] == StageSettings(sources=(0, 1), weights=(2, 1), until="first")
    with pytest.raises(ValidationError, match="`until` 'first' has no effect without `weights`"):
        BuildSettings.model_validate({**given, "stages": [{"sources": [0, 1]}]})


def test_a_seed_is_drawn_unless_it_is_given():
    given = {"lengths": ["a"], "output": "o", "token_budget": 64}
    drawn = {BuildSettings.model_validate(given).plan_config().seed for _ in range(3)}
    assert len(drawn) == 3
    assert BuildSettings.model_validate({**given, "predictable": True}).plan_config().seed == 0
    assert BuildSettings.model_validate({**given, "seed": 0}).plan_config().seed == 0
