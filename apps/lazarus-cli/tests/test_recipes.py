"""Recipes of real stages: files that cannot be used, the commands, and a run from documents to an answer."""

import json
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

import commands
import suite
from killer import killer
from lazarus_cli.recipes import RecipeFolder, load_recipe, run_recipe
from lazarus_cli.recipes.recipe import SHIPPED, shipped_recipes
from lazarus_cli.recipes.runner import Progress
from lazarus_cli.recipes.session import parts_of
from lazarus_cli.recipes.stage import Context
from lazarus_core.errors import LazarusError
from lazarus_models.composition import preset
from lazarus_models.families import family_of
from lazarus_models.trees import parameter_count
from lazarus_plan import load_plan, read_lengths

LAZARUS = [sys.executable, "-m", "lazarus_cli"]
RECIPE = """
seed = 3
data.docs = "docs"
data.chats = "chats.jsonl"

[corpus]
sources = [{ name = "docs", data = "docs" }]
split.validation = 0.3

[tokenizer]
data = ["corpus"]
vocab_size = 280

[lengths]
data = "corpus"
tokenizer = "tokenizer"

[plan]
lengths = ["lengths"]
token_budget = 128
row_len = 64
oversize = "split"

[model]
preset = "nano"
tokenizer = "tokenizer"

[pretrain]
model = "model"
plan = "plan"
eval_data = { docs = "corpus.validation" }
max_steps = 3
save_every = 1

[chat_lengths]
type = "lengths"
data = "chats"
tokenizer = "tokenizer"

[chat_plan]
type = "plan"
lengths = ["chat_lengths"]
token_budget = 128

[sft]
model = "pretrain"
plan = "chat_plan"
max_steps = 2

[answer]
model = "sft"
prompts = ["1+1?"]
max_new_tokens = 4

[scores]
type = "evaluate"
model = "sft"
reference = "pretrain"
tasks = [
    { kind = "perplexity", data = "corpus.validation", limit = 2 },
    { kind = "forgetting", name = "forgotten", data = "corpus.validation", old_data = "corpus.validation", limit = 2 },
]

[profiles.short.pretrain]
max_steps = 1
"""
STAGES = [
    *(
        "corpus",
        "tokenizer",
        "chat_lengths",
        "lengths",
        "model",
        "chat_plan",
        "plan",
        "pretrain",
        "sft",
        "answer",
        "scores",
    ),
]


def write_inputs(folder: Path) -> Path:
    """Documents, chats and the recipe; the path of the recipe."""
    (folder / "docs").mkdir(parents=True)
    for number in range(12):
        text = " ".join(f"word{number * each % 17} is number {each}" for each in range(20))
        (folder / "docs" / f"{number}.txt").write_text(f"Document {number}. {text}\n", "utf-8")
    rows = [{"prompt": f"{each}+1?", "completion": str(each + 1)} for each in range(12)]
    (folder / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    path = folder / "recipe.toml"
    path.write_text(RECIPE, "utf-8")
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A recipe that has run, and its folder; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("recipe")
    path = write_inputs(folder)
    outcomes = run_recipe(load_recipe(path), RecipeFolder(folder / "out"))
    assert [(each.name, each.done) for each in outcomes] == [(name, "run") for name in STAGES]
    return folder


@pytest.fixture
def copied(done, tmp_path):
    shutil.copytree(done, tmp_path / "copy")
    return tmp_path / "copy"


def ran(folder: Path, sets=(), **limits) -> list[str]:
    recipe = load_recipe(folder / "recipe.toml", sets)
    return [each.name for each in run_recipe(recipe, RecipeFolder(folder / "out"), **limits) if each.done == "run"]


@pytest.mark.slow
def test_one_document_changes_exactly_the_stages_downstream(copied):
    assert ran(copied) == []
    lock = (copied / "out" / "lazarus.lock").read_bytes()
    with (copied / "chats.jsonl").open("a") as stream:
        stream.write('{"prompt": "0+0?", "completion": "0"}\n')
    assert ran(copied) == ["chat_lengths", "chat_plan", "sft", "answer", "scores"]
    assert (copied / "out" / "lazarus.lock").read_bytes() != lock
    assert ran(copied, ["answer.max_new_tokens=5"]) == ["answer"]


@pytest.mark.slow
def test_a_lock_is_the_same_for_other_names_and_another_order_of_files(done, tmp_path):
    path = write_inputs(tmp_path)
    files = sorted((tmp_path / "docs").iterdir())
    (tmp_path / "other").mkdir()
    for number, file in enumerate(reversed(files)):
        file.rename(tmp_path / "other" / f"renamed-{number}.txt")
    (tmp_path / "chats.jsonl").rename(tmp_path / "questions.jsonl")
    sets = [f"data.docs={tmp_path / 'other'}", f"data.chats={tmp_path / 'questions.jsonl'}"]
    run_recipe(load_recipe(path, sets), RecipeFolder(tmp_path / "elsewhere"))
    lock = (tmp_path / "elsewhere" / "lazarus.lock").read_bytes()
    assert lock == (done / "out" / "lazarus.lock").read_bytes()
    assert str(tmp_path).encode() not in lock


MOMENTS = (3, 40, 90, 140, 190, 240, 290, 340)


@pytest.mark.slow
@pytest.mark.parametrize("moment", suite.thinned(MOMENTS, keep=()))
def test_a_killed_recipe_goes_on_and_makes_the_same(done, tmp_path, moment):
    """Killed at the nth access to its folder, again and again, until it ends."""
    path = write_inputs(tmp_path)
    out = tmp_path / "out"
    codes: list[int] = []
    while not codes or (codes[-1] != 0 and len(codes) < 30):
        words = [sys.executable, "-c", killer("lazarus"), str(out), str(moment), "run", str(path), "-o", str(out)]
        codes.append(commands.run(words).returncode)
        moment *= 3  # so that it ends
    assert codes[-1] == 0 and set(codes[:-1]) == {-9}
    assert (out / "lazarus.lock").read_bytes() == (done / "out" / "lazarus.lock").read_bytes()
    left = [each for each in out.rglob(".*") if each.name.endswith((".tmp", ".old", ".work", ".partial"))]
    assert left == []


def test_settings_that_are_printed_are_the_same_recipe(done, tmp_path):
    printed = commands.run([*LAZARUS, "run", "recipe.toml", "--set", "seed=5", "--print-config"], cwd=done).stdout
    tree = tomllib.loads(printed)
    assert tree["pretrain"]["seed"] == 5 and tree["pretrain"]["max_steps"] == 3
    assert "# file recipe.toml:" in printed and "# set" in printed and "# default" in printed
    (tmp_path / "printed.toml").write_text(printed, "utf-8")
    shutil.copytree(done / "docs", tmp_path / "docs")
    shutil.copy(done / "chats.jsonl", tmp_path)
    ours, theirs = load_recipe(done / "recipe.toml", ["seed=5"]), load_recipe(tmp_path / "printed.toml")
    assert [(each.name, parts_of(each, {})) for each in ours.stages] == [
        (each.name, parts_of(each, {})) for each in theirs.stages
    ]


def test_a_profile_replaces_the_file_and_set_replaces_the_profile(done):
    path = done / "recipe.toml"

    def steps(*given) -> tuple[int, str]:
        recipe = load_recipe(path, *given)
        return recipe.settings.pretrain.max_steps, recipe.sources["pretrain", "max_steps"].kind

    assert steps() == (3, "file")
    assert steps((), "short") == (1, "profile")
    assert steps(["pretrain.max_steps=7"], "short") == (7, "set")
    with pytest.raises(LazarusError, match=r"no profile 'shrt' \(did you mean 'short'\?\)"):
        load_recipe(path, (), "shrt")


BAD = {
    "unknown setting": (
        "split.validation = 0.3",
        "split.validaton = 0.3",
        "`corpus.split.validaton`; did you mean `corpus.split.validation`",
    ),
    "unknown top setting": ("seed = 3", "sed = 3", "no setting `sed`; did you mean `seed`"),
    "unfit value": (
        "max_steps = 3",
        'max_steps = "three"',
        'recipe.toml:32: `pretrain.max_steps` is "three": give a whole number',
    ),
    "unknown in a list": (
        'name = "docs",',
        'name = "docs", txt_field = "a",',
        r"recipe.toml:7: `corpus.sources.0.txt_field` is unknown; did you mean `text_field`",
    ),
    "unknown type": ('type = "plan"', 'type = "plam"', r"no stage type 'plam' \(did you mean 'plan'\?\)"),
    "no type": ("[answer]", "[answers]", r"\[answers\] has no `type`.*did you mean 'answer'"),
    "bad name": ("[answer]", '["my answer"]\ntype = "answer"', "no name of a stage"),
    "reserved name": ("[answer]", '[model_config]\ntype = "answer"', "'model_config' is reserved"),
    "name of another file": ("[answer]", '[digests]\ntype = "answer"', "'digests' is reserved"),
    "unknown stage": ('model = "sft"', 'model = "sff"', r"`answer.model` is 'sff': no stage .*did you mean 'sft'"),
    "unknown part": ('"corpus.validation"', '"corpus.valid"', "no part 'valid'; its parts are validation"),
    "other kind": ('model = "sft"', 'model = "plan"', "this stage makes plan, and `model` needs model"),
    "circle": ('model = "model"', 'model = "sft"', "circle: (sft -> pretrain|pretrain -> sft)"),
    "itself": ('model = "pretrain"', 'model = "sft"', "circle: sft -> sft"),
    "unused data": ("data.chats", 'data.extra = "x"\ndata.chats', "`data.extra` is not used by any stage"),
    "stage and data": ("data.docs", 'data.plan = "x"\ndata.docs', "'plan' is a stage and a name in `data`"),
    "contradiction": ("row_len = 64", "row_len = 640", r"\[plan\] `row_len` 640 is above `token_budget` 128"),
    "contradiction of training": (
        "save_every = 1",
        'eval_every = 1\nearly_stop.patience = 1\nsample_prompts = ["a"]\nrecomputes = true\nlora.dropout = 0.1',
        r"\[pretrain\] `recomputes` would drop",
    ),
    "two shapes": (
        'preset = "nano"',
        'preset = "nano"\nconfig = "docs"',
        r"\[model\] give one of `preset` and `config`",
    ),
    "no preset": ('"nano"', '"nanno"', "`preset` is 'nanno': give one of"),
    "setting of another kind": (
        "vocab_size = 280",
        'vocab_size = 280\nmodel_type = "bpe"',
        "`model_type` has no effect with `kind` bpe",
    ),
    "unknown source": ('oversize = "split"', 'phases = [{ sources = ["lengts"] }]', "`phases` has the source 'lengts'"),
    "weights": (
        'oversize = "split"',
        'phases = [{ sources = ["lengths"], weights = [1, 2] }]',
        "2 `weights` for 1 `sources`",
    ),
    "unknown in a phase": (
        'oversize = "split"',
        'phases = [{ sources = ["lengths"], weight = [1] }]',
        r"recipe.toml:22: `plan.phases.0.weight` is unknown; did you mean `weights`",
    ),
    "unknown task": (
        'kind = "forgetting"',
        'kind = "forgeting"',
        r"recipe.toml:\d+: `scores.tasks.1.kind` is 'forgeting': give one of perplexity, choice",
    ),
    "no reference": ('reference = "pretrain"', "", r"\[scores\] the task forgetting needs `reference`"),
    "two tasks of one name": (
        'name = "forgotten"',
        'name = "perplexity:corpus.validation"',
        "two `tasks` have the name",
    ),
    "bad profile": ("[profiles.short.pretrain]", "[profiles.short.pretrian]", "no setting `pretrian"),
    "profile of another form": (
        "[profiles.short.pretrain]\nmax_steps = 1",
        "[profiles]\nshort = 1",
        "must have a table for each profile",
    ),
    "template": ("[chat_lengths]", '[chat_lengths]\ntemplate = "chatmal"', r"\[chat_lengths\] `template` is 'chatmal'"),
    "not TOML": ("seed = 3", "seed = ", "recipe.toml:2"),
}


@pytest.mark.parametrize("name", suite.every_nth(BAD, 3))
def test_a_recipe_that_cannot_be_used_is_one_line(name, tmp_path):
    old, new, words = BAD[name]
    assert old in RECIPE
    path = write_inputs(tmp_path)
    path.write_text(RECIPE.replace(old, new, 1), "utf-8")
    with pytest.raises(LazarusError, match=words) as refused:
        load_recipe(path)
    assert refused.value.exit_code == 2 and "recipe.toml" in refused.value.message
    assert not (tmp_path / "out").exists()


def test_data_that_cannot_be_read_are_named_and_nothing_is_made(tmp_path):
    path = write_inputs(tmp_path)
    for change, words in {
        "data.docs=nowhere": "`data.docs`: nowhere does not exist",
        "data.chats=": "`data.chats` is empty",
        "data.docs=[]": "`data`",
        'data.docs=["", "docs"]': "`data.docs` is empty",
    }.items():
        with pytest.raises(LazarusError, match=words):
            run_recipe(load_recipe(path, [change]), RecipeFolder(tmp_path / "out"), until="chat_lengths")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LazarusError, match="has no files"):
        run_recipe(load_recipe(path, [f"data.docs={tmp_path / 'empty'}"]), RecipeFolder(tmp_path / "out"))
    with pytest.raises(LazarusError, match=r"no recipe of this name .did you mean 'quick'") as refused:
        load_recipe("quik")
    assert refused.value.code == "LC-E200"


def test_a_stage_that_is_left_out_passes_its_model_on(tmp_path):
    path = write_inputs(tmp_path)
    path.write_text(RECIPE.replace("[sft]", '[sft]\nonly_with = "extra"'), "utf-8")
    recipe = load_recipe(path)
    assert dict(recipe.left_out) == {"sft": "extra"}
    assert {read.name for each in recipe.stages if each.name == "answer" for read in each.reads} == {"pretrain"}
    given = load_recipe(path, ["data.extra=chats.jsonl"])
    assert dict(given.left_out) == {}
    with pytest.raises(LazarusError, match=r"left out, for `data.extra` is not given"):
        recipe.stage("sft", "until")
    path.write_text(RECIPE.replace("[chat_lengths]", '[chat_lengths]\nonly_with = "extra"'), "utf-8")
    with pytest.raises(LazarusError, match=r"`chat_plan.lengths` is 'chat_lengths', which is left out"):
        load_recipe(path)
    other = (
        '[corpus]\nonly_with = "extra"'  # a part of a stage that is left out: the stage's own input is something else
    )
    path.write_text(RECIPE.replace('data = ["corpus"]', 'data = ["docs"]').replace("[corpus]", other), "utf-8")
    with pytest.raises(LazarusError, match=r"`pretrain.eval_data.docs` is 'corpus.validation', which is left out"):
        load_recipe(path)


@pytest.mark.slow
def test_the_commands(copied):
    dry = commands.run([*LAZARUS, "run", "recipe.toml", "-o", "new", "--dry-run"], cwd=copied)
    assert dry.returncode == 0 and dry.stdout.count("would run") == len(STAGES)
    assert not (copied / "new").exists()
    again = commands.run([*LAZARUS, "run", "recipe.toml", "-o", "out", "--json"], cwd=copied)
    assert [each["done"] for each in json.loads(again.stdout)["stages"]] == ["unchanged"] * len(STAGES)
    for words, problem in {
        "--until nope": "--until nope: no such stage",
        "--from nope --dry-run": "--from nope: no such stage",
        "--force nope": "--force nope: no such stage",
        "--from sft --until plan": "--until plan does not need --from sft",
        "--force sft --until plan": "--force sft: the stage is not among those that run",
    }.items():
        wrong = commands.run([*LAZARUS, "run", "recipe.toml", "-o", "out", *words.split()], cwd=copied)
        assert wrong.returncode == 2 and problem in wrong.stderr
    lock = [*LAZARUS, "lock", "recipe.toml", "-o", "out"]
    assert commands.run([*lock, "--check"], cwd=copied).stdout == "out/lazarus.lock: 11 stages agree\n"
    drifted = commands.run([*lock, "--check", "--set", "sft.max_steps=3"], cwd=copied)
    assert (drifted.returncode, drifted.stdout) == (1, "")
    assert "stage `sft`: `settings.max_steps` was 2, is now 3 [LC-E221]" in drifted.stderr
    locked = commands.run(
        [*LAZARUS, "run", "recipe.toml", "-o", "out", "--locked", "--set", "sft.max_steps=3"], cwd=copied
    )
    assert (locked.returncode, locked.stderr.count("\n")) == (1, 1)
    assert commands.run([*lock, "--set", "sft.max_steps=3"], cwd=copied).returncode == 2
    before = (copied / "out" / "lazarus.lock").read_bytes()
    (copied / "out" / "lazarus.lock").unlink()
    assert commands.run([*lock, "--check"], cwd=copied).returncode == 2
    assert commands.run(lock, cwd=copied).stdout == "out/lazarus.lock\n"
    assert (copied / "out" / "lazarus.lock").read_bytes() == before
    both = commands.run([*LAZARUS, "run", "recipe.toml", "--set", "sed=1", "--set", "plan.sed=1"], cwd=copied)
    assert (both.returncode, both.stderr.count("\n")) == (2, 2)


SIZES = {"micro": 9.4e6, "tiny": 23e6, "small": 42e6, "medium": 84e6, "base": 124e6}


@pytest.mark.parametrize("name", suite.thinned(shipped_recipes(), keep=["micro", "quick"]))
def test_shipped_recipes_are_valid_with_and_without_their_optional_data(name):
    tree = tomllib.loads((SHIPPED / f"{name}.toml").read_text("utf-8"))
    needed = ["text", "chats"] if name == "quick" else ["quality", "diverse"]
    few = load_recipe(name, [f"data.{each}=nowhere" for each in needed])
    extra = ["preferences", "test"] if name == "quick" else ["chats", "preferences"]
    for profile in (None, *tree.get("profiles", {})):
        whole = load_recipe(name, [f"data.{each}=nowhere" for each in (*needed, *extra)], profile)
        assert len(whole.stages) == len(tree.keys() - {"description", "seed", "profiles"}) and not whole.left_out
    assert len(few.left_out) > 0 and few.stages[-1].name == "answer"
    for missing in needed:
        with pytest.raises(LazarusError, match=f"give the file as `data.{missing}`"):
            load_recipe(name, [f"data.{each}=nowhere" for each in needed if each != missing])


@pytest.mark.parametrize("name", suite.thinned(SIZES, keep=["base", "micro"]))
def test_shipped_recipes_have_the_stated_size_and_twenty_tokens_a_parameter(name):
    recipe = load_recipe(name, ["data.quality=a", "data.diverse=b"])
    model, plan = recipe.settings.model, recipe.settings.plan
    config = preset(model.preset, vocab_size=model.vocab_size)
    count = parameter_count(family_of("llama").build(config))  # shapes alone: nothing is computed
    assert model.vocab_size == recipe.settings.tokenizer.vocab_size == 32_768
    assert count == pytest.approx(SIZES[name], rel=0.01)
    assert plan.target_tokens == 20 * count
    assert f"{count:,}" in (SHIPPED / f"{name}.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("target", "passes", "warning"),
    [(0.1, 1, "one pass over the data has"), (0.9, 1, ""), (2.2, 2, ""), (6, 6, "needs 6 passes over the data")],
)
def test_tokens_to_train_on_become_whole_passes_and_a_bad_fit_is_warned_of(copied, target, passes, warning):
    folder = RecipeFolder(copied / "out")
    [cache] = folder.stage("lengths").iterdir()
    once = int(read_lengths(cache).length.sum())
    warnings: list[str] = []
    recipe = load_recipe(copied / "recipe.toml", [f"plan.target_tokens={max(1, round(target * once))}"])
    progress = Progress(context=lambda _: Context(warn=warnings.append))
    run_recipe(recipe, folder, until="plan", progress=progress)
    assert len(load_plan(folder.stage("plan")).metadata.epochs) == passes
    assert len(warnings) == bool(warning) and warning in "".join(warnings)


@pytest.mark.parametrize(
    "sets",
    [
        ["plan.repeats=[3]"],
        ['plan.phases=[{sources=["lengths"]}, {sources=["lengths"]}]'],
        ["plan.oversize=truncate", "plan.row_len=16"],
    ],
    ids=["repeats", "phases", "truncate"],
)
def test_the_plan_has_the_number_of_passes_whose_tokens_are_nearest_to_the_target(copied, sets):
    folder = RecipeFolder(copied / "out")
    [cache] = folder.stage("lengths").iterdir()
    target = 5 * int(read_lengths(cache).length.sum())
    run_recipe(load_recipe(copied / "recipe.toml", [*sets, f"plan.target_tokens={target}"]), folder, until="plan")
    epochs = load_plan(folder.stage("plan")).metadata.epochs
    placed, once = sum(each.tokens for each in epochs), epochs[0].tokens
    assert abs(placed - target) <= once / 2
