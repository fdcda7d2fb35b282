"""A run is a file: defaults, file, `--set` and options make one configuration, and `config.json` starts the run again."""

import json
import re
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from lazarus_core.cli_app import command_of
from lazarus_core.errors import LazarusError
from lazarus_core.settings.schema import schema_of
from lazarus_core.settings.sources import SettingsError
from lazarus_train import TrainConfig
from lazarus_train.cli import training
from lazarus_train.cli.app import app
from lazarus_train.cli.training_commands import COMMANDS
from lazarus_train.config import FULL_RATE, LORA_RATE
from lazarus_train.run_settings import InitModelSettings, RunSettings, objective_kinds

same_typer = pytest.mark.skipif(
    tuple(map(int, version("typer").split(".")[:2])) < (0, 29), reason="older versions of Typer use other words"
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "command_line.json").read_text("utf-8"))
"""Options, settings and refusals of the training commands before their options were made from the settings."""
NEW = {"--config", "--set", "--print-config", "--json"}
LATER = {"--sample-images", "--label-dropout", "--profile", "--fast-nondeterministic", "--tf32", "--for", "--stop-at"}
"""Options of settings that are younger than the golden lists."""
BASE = 'model = "m"\ndata = "d.jsonl"\noutput = "o"\nbatch_plan = "p"\n'


@pytest.fixture
def read(monkeypatch):
    """Calls a command up to where it would train, and gives the settings it would train with."""

    def call(*words: str) -> RunSettings:
        seen: list[RunSettings] = []
        monkeypatch.setattr(training, "start", lambda settings, **_: seen.append(settings))
        result = CliRunner().invoke(app, [*words], prog_name="lazarus train")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return seen[0]

    return call


@pytest.fixture
def printed(capsys):
    """Calls a command with `--print-config`, and gives what it prints."""

    def call(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "--print-config"], prog_name="lazarus train")
        assert result.exit_code == 0, result.output
        return result.stdout

    return call


def problems(*words: str) -> list[str]:
    """The lines that a command refuses its settings with."""
    result = CliRunner().invoke(app, [*words], prog_name="lazarus train")
    assert isinstance(result.exception, SettingsError), result.output
    assert result.exception.exit_code == 2
    assert result.stderr.splitlines() == [f"error: {words} [{code}]" for words, code in result.exception.problems[:-1]]
    return [f"{words} [{code}]" for words, code in result.exception.problems]


def merged(base, changes):
    """The configuration of a golden run: what it changes in the first one."""
    found = dict(base)
    for name, value in changes.items():
        inner = isinstance(value, dict) and isinstance(base[name], dict) and name not in ("objective", "eval_data")
        found[name] = merged(base[name], value) if inner else value
    return found


def planning_of(run: RunSettings):
    from lazarus_plan import PlanConfig

    members = run.build_plan.planning()
    return PlanConfig.model_validate(members).model_dump(mode="json") | {"seed": members.get("seed")}


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if each.name in GOLDEN["options"]], ids=lambda each: each.name
)
def test_every_option_is_made_from_a_setting_and_none_is_lost(command):
    schema = schema_of(RunSettings)
    made = {option.names[-1].partition("/")[0]: option for option in command.options()}
    params = [
        each for each in command_of(app.deferred[command.name].function, command.name).params if each.name != "help"
    ]
    shown = [
        {"names": list(each.opts), "off": list(each.secondary_opts), "is_flag": each.is_flag, "multiple": each.multiple}
        for each in params
    ]
    before = GOLDEN["options"][command.name]
    assert [each for each in before if each not in shown] == []
    assert {each["names"][-1] for each in shown if each not in before} <= NEW | LATER
    for each in params:
        if each.opts[-1] not in NEW:
            option = made[each.opts[-1]]
            assert option.key in schema.settings
            assert option.help or schema.settings[option.key].help, option.key


def test_the_command_of_any_objective_has_the_options_that_all_commands_share():
    command = next(each for each in COMMANDS if not each.kinds)
    shown = {
        name for each in command_of(app.deferred[command.name].function, command.name).params for name in each.opts
    }
    shared = set.intersection(*({each.names[-1] for each in other.options()} for other in COMMANDS))
    assert shared <= shown
    assert shown - {name for each in command.options() for name in each.names} == {"kind", *NEW}


def test_every_setting_is_an_option_of_some_command_or_known_to_be_of_files_alone():
    offered = {option.key for command in COMMANDS for option in command.options()}
    tables = {("objective",), ("optimizer",), ("early_stop",), ("init_model",)}
    only_in_files = {("init_model", "config"), ("objective", "is_control")}  # `--config` of `pretrain`, `--control`
    assert schema_of(RunSettings).settings.keys() - offered == tables | only_in_files


def test_every_objective_belongs_to_a_command():
    assert {kind for command in COMMANDS for kind in command.kinds} == objective_kinds().keys()


@pytest.mark.parametrize("words", GOLDEN["runs"])
def test_options_mean_what_they_meant(read, words):
    before, run = GOLDEN["runs"][words], read(*shlex.split(words))
    assert run.train_config().to_record() == merged(GOLDEN["base"], before["config"])
    assert (run.resume, list(run.log_to)) == (before["resume"], before["log_to"])
    assert before.get("planning") == (None if run.build_plan is None else planning_of(run))
    if run.init_model is None:
        assert "fresh" not in before
    else:
        shape = run.init_model.preset or run.init_model.config
        made = [str(shape), type(shape).__name__, run.init_model.tokenizer, run.init_model.vocab_size, run.seed]
        assert made == before["fresh"]


@same_typer
@pytest.mark.parametrize("words", GOLDEN["refusals"])
def test_options_are_refused_in_the_same_words(words, monkeypatch, capsys):
    from lazarus_core.console import run

    monkeypatch.setattr(training, "start", lambda settings, **_: pytest.fail("it was taken"))
    with pytest.raises(SystemExit) as end:
        run(lambda **given: app(shlex.split(words), prog_name="lazarus train", **given), "lazarus")
    assert [end.value.code, capsys.readouterr().err.rstrip("\n")] == GOLDEN["refusals"][words]


@pytest.mark.parametrize("words", GOLDEN["runs"])
def test_what_is_printed_is_a_file_of_the_same_run(read, printed, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, *options = shlex.split(words)
    text = printed(command, *options)
    (tmp_path / "run.toml").write_text(text, "utf-8")
    assert read(command, "--config", "run.toml") == read(command, *options)


# --- precedence -------------------------------------------------------------------------------------------------------

VALUES = {
    "max_steps": (3, 4, 5),
    "save_every": (1, 2, 9),
    "seed": (0, 7, 8),
    "template": ("a", "b,c", "null and 1"),
    "mixed_precision": (True,),
    "neftune_alpha": (5.0, 1.5, 2e-3),
    "freeze": (["*embed*"], ["a", "b"], ["c.*"]),
    "sample_prompts": (["one"], ["two, three", "=4"], ["five"]),
    "eval_data": ({"own": "a.jsonl"}, {"b": "c/d.jsonl", "e": "f"}, {"own": "z"}),
    "optimizer.name": ("adafactor", "adamw"),
    "optimizer.learning_rate": (1e-3, 0.5, 2.0),
    "optimizer.weight_decay": (0.0, 0.1, 1.0),
    "optimizer.warmup_steps": (1, 2, 3),
    "optimizer.rate_factors": ({"*a*": 0.5}, {"m.0.*": 2.0, "x": 1.0}, {"b": 3.0}),
    "lora.rank": (1, 2, 3),
    "lora.kind": ("dora", "lora"),
    "lora.targets": (["q_proj"], ["q", "v"], ["x"]),
}
FLAGS = {
    "sample_prompts": "sample-prompt",
    "optimizer.name": "optimizer",
    "lora.rank": "lora-rank",
    "lora.kind": "lora-kind",
    "lora.targets": "lora-targets",
}


def toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(each)}" for name, each in value.items()) + "}"
    return json.dumps(value)


def words_of(name: str, value) -> list[str]:
    """The options that give a setting."""
    option = "--" + FLAGS.get(name, name.rpartition(".")[2]).replace("_", "-")
    if name.startswith("lora.") and "--use-lora" not in option:
        return ["--use-lora", option, ",".join(value) if isinstance(value, list) else str(value)]
    if value is True:
        return [option]
    if name == "sample_prompts":
        return [word for each in value for word in (option, each)]
    if name == "eval_data":
        return [word for key, path in value.items() for word in (option, f"{key}={path}")]
    if name == "optimizer.rate_factors":
        return [option, ",".join(f"{pattern}={factor}" for pattern, factor in value.items())]
    return [option, ",".join(value) if isinstance(value, list) else str(value)]


def layers() -> st.SearchStrategy[dict[str, list]]:
    """For each setting its values in the file, in `--set` and as an option; None where a layer does not give it."""
    each = {name: st.tuples(*[st.none() | st.sampled_from(values)] * 3) for name, values in VALUES.items()}
    return st.fixed_dictionaries({}, optional=each)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(asked=layers(), is_toml=st.booleans(), order=st.randoms(use_true_random=False))
def test_settings_from_any_source_make_the_run_that_is_made_directly(
    read, tmp_path, monkeypatch, asked, is_toml, order
):
    monkeypatch.chdir(tmp_path)
    given = {name: values for name, values in asked.items() if any(each is not None for each in values)}
    tree = {"model": "m", "data": "d.jsonl", "output": "o", "batch_plan": "p"}
    wanted, words, sources = json.loads(json.dumps(tree)), [], {}
    lines = [f"{name} = {toml(value)}" for name, value in tree.items()]
    for name, values in given.items():
        table, _, leaf = name.rpartition(".")
        in_file, in_set, as_flag = values
        if in_file is not None:
            lines.append(f"{name} = {toml(in_file)}")
            (tree.setdefault(table, {}) if table else tree)[leaf] = in_file
        if in_set is not None:
            words.append(["--set", f"{name}={in_set if isinstance(in_set, str) else toml(in_set)}"])
        if as_flag is not None:
            words.append(words_of(name, as_flag))
        last = max(index for index, value in enumerate(values) if value is not None)
        (wanted.setdefault(table, {}) if table else wanted)[leaf] = values[last]
        sources[name] = ("file", "set", "flag")[last]
    order.shuffle(words)
    file = tmp_path / ("run.toml" if is_toml else "run.json")
    file.write_text("\n".join(lines) if is_toml else json.dumps(tree), "utf-8")
    all_words = ["--config", file.name, *(word for group in words for word in group)]
    if "lora" in wanted:
        wanted.setdefault("optimizer", {}).setdefault("learning_rate", LORA_RATE)
    assert read("sft", *all_words).train_config() == TrainConfig.model_validate(wanted)
    shown = CliRunner().invoke(app, ["sft", *all_words, "--print-config"]).stdout.splitlines()
    for name, kind in sources.items():
        [line] = [each for each in shown if each.startswith(f"{name} = ")]
        assert line.rpartition("# ")[2].split()[0] == kind


def test_the_default_rate_follows_the_adapters_wherever_they_are_asked_for(read, tmp_path):
    (tmp_path / "run.toml").write_text(BASE + "[lora]\n")
    assert read("sft", "--config", str(tmp_path / "run.toml")).optimizer.learning_rate == LORA_RATE
    (tmp_path / "run.toml").write_text(BASE)
    assert read("sft", "--config", str(tmp_path / "run.toml")).optimizer.learning_rate == FULL_RATE
    with_set = read("sft", "--config", str(tmp_path / "run.toml"), "--set", "lora.rank=2")
    assert with_set.optimizer.learning_rate == LORA_RATE


def test_an_option_takes_the_place_of_what_the_file_has_for_the_same_purpose(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(BASE)
    built = read("sft", "--config", "run.toml", "--build-plan", "-b", "64")
    assert built.batch_plan == Path("o/batch_plan")
    (tmp_path / "run.toml").write_text(BASE.replace('batch_plan = "p"', "build_plan.token_budget = 64"))
    assert read("sft", "--config", "run.toml").build_plan.token_budget == 64
    followed = read("sft", "--config", "run.toml", "--batch-plan", "q")
    assert (followed.build_plan, followed.batch_plan) == (None, Path("q"))
    fresh = read("pretrain", "--config", "run.toml", "--preset", "nano", "-t", "byte")
    assert (fresh.model, fresh.init_model.preset) == (Path("o/initial"), "nano")
    (tmp_path / "run.toml").write_text(
        'data = "d"\noutput = "o"\nbatch_plan = "p"\n[init_model]\npreset = "nano"\ntokenizer = "byte"\n'
    )
    assert read("pretrain", "--config", "run.toml").model == Path("o/initial")
    again = read("pretrain", "--config", "run.toml", "--model", "m")
    assert (again.init_model, again.model) == (None, Path("m"))


def test_set_takes_the_place_of_what_the_file_has_for_the_same_purpose(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(BASE)
    planned = read("sft", "--config", "run.toml", "--set", "build_plan.token_budget=64")
    assert (planned.build_plan.token_budget, planned.batch_plan) == (64, Path("o/batch_plan"))
    (tmp_path / "run.toml").write_text(BASE.replace('batch_plan = "p"', "build_plan.token_budget = 64"))
    followed = read("sft", "--config", "run.toml", "--set", "batch_plan=q")
    assert (followed.build_plan, followed.batch_plan) == (None, Path("q"))


def test_no_value_can_be_set(read, tmp_path):
    (tmp_path / "run.toml").write_text(BASE + "max_steps = 3\n[lora]\nrank = 2\n")
    run = read("sft", "--config", str(tmp_path / "run.toml"), "--set", "lora=null", "--set", "max_steps=null")
    assert (run.lora, run.max_steps) == (None, None)
    (tmp_path / "run.toml").write_text(BASE + "seed = 3\n")
    planned = ["--set", "batch_plan=null", "--set", "build_plan.token_budget=64", "--set", "seed=null"]
    run = read("sft", "--config", str(tmp_path / "run.toml"), *planned)
    assert (run.batch_plan, run.seed) == (tmp_path / "o/batch_plan", 0)


def test_one_name_of_a_map_can_be_set(read, tmp_path):
    (tmp_path / "run.toml").write_text(BASE + '[eval_data]\na = "x"\nb = "y"\n')
    words = ["--set", "eval_data.b=z", "--set", "optimizer.rate_factors.model.layers.0.*=0.5"]
    run = read("sft", "--config", str(tmp_path / "run.toml"), *words)
    assert run.eval_data == {"a": tmp_path / "x", "b": Path("z")}
    assert run.optimizer.rate_factors == {"model.layers.0.*": 0.5}


# --- paths ------------------------------------------------------------------------------------------------------------


def test_paths_of_a_file_begin_in_its_folder_and_paths_of_options_here(read, tmp_path, monkeypatch):
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/chat.jinja").touch()
    (tmp_path / "conf/run.toml").write_text(
        'model = "model"\ndata = ["a.jsonl", "/b.jsonl"]\noutput = "../out"\nbatch_plan = "plan"\ntemplate = "chat.jinja"\n'
        'expect_plan = "0123456789abcdef"\neval_data = {own = "v.jsonl"}\n'
    )
    monkeypatch.chdir(tmp_path)
    run = read("sft", "--config", "conf/run.toml", "--batch-plan", "mine", "--set", "eval_data.two=w.jsonl")
    assert (run.model, run.output, run.batch_plan) == (Path("conf/model"), Path("conf/../out"), Path("mine"))
    assert run.data == (Path("conf/a.jsonl"), Path("/b.jsonl"))
    assert run.eval_data == {"own": Path("conf/v.jsonl"), "two": Path("w.jsonl")}
    assert (run.template, run.expect_plan) == ("conf/chat.jinja", "0123456789abcdef")


def test_a_name_of_a_model_or_template_stays_a_name(read, tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    text = BASE.replace('"m"', '"owner/name"') + 'template = "chatml"\n'
    (tmp_path / "conf/run.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    run = read("sft", "--config", "conf/run.toml")
    assert (run.model, run.template) == (Path("owner/name"), "chatml")
    (tmp_path / "conf/run.toml").write_text(text.replace("owner/name", "./owner/name"))
    assert read("sft", "--config", "conf/run.toml").model == Path("conf/owner/name")


def test_pretrain_tells_a_run_from_the_shape_of_a_model(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shape.json").write_text(json.dumps({"model_type": "llama", "output": 1}))
    (tmp_path / "run.json").write_text(json.dumps({"model": "m", "data": "d", "output": "o", "batch_plan": "p"}))
    needed = ["--data", "d", "-o", "o", "--batch-plan", "p"]
    assert read("pretrain", "--config", "shape.json", "-t", "byte", *needed).init_model.config == Path("shape.json")
    assert read("pretrain", "--config", "run.json").model == Path("m")


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_each_problem_of_a_file_is_one_line_with_its_place_and_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(
        'modle = "m"\n'
        "data = 5\n"
        'output = "o"\n'
        'max_steps = "3"\n'
        "seed = true\n"
        "[optimizer]\n"
        "learning_rat = 1\n"
        'name = "adam"\n'
        "warmup_steps = 1.5\n"
        "[lora]\n"
        'targets = ["a",\n  3]\n'
        "[optimzer]\n"
        "x = 1\n"
        "[early_stop.more]\n"
    )
    assert problems("sft", "--config", "run.toml") == [
        "run.toml:1: no setting `modle`; did you mean `model`? [LR-E181]",
        "run.toml:7: no setting `optimizer.learning_rat`; did you mean `optimizer.learning_rate`? [LR-E181]",
        "run.toml:13: no setting `optimzer`; did you mean `optimizer`? [LR-E181]",
        "run.toml:15: no setting `early_stop.more`; the settings there are patience, min_gap [LR-E181]",
        "run.toml:2: `data` is 5: give a path or a list of paths, 1 or more of them [LR-E182]",
        'run.toml:4: `max_steps` is "3": give a whole number above 0 [LR-E182]',
        "run.toml:5: `seed` is true: give a whole number of at least 0 and of at most 9007199254740991 [LR-E182]",
        'run.toml:8: `optimizer.name` is "adam": give one of adamw, muon, adafactor, lion, sgd [LR-E182]',
        "run.toml:9: `optimizer.warmup_steps` is 1.5: give a whole number of at least 0 [LR-E182]",
        'run.toml:11: `lora.targets` is ["a", 3]: give a list of texts [LR-E182]',
    ]


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        (
            "[lora]\nrank = 0",
            [],
            "run.toml:6: `lora.rank` is 0: give a whole number above 0 and below 2147483648 [LR-E182]",
        ),
        (
            "optimizer.beta1 = 1.5",
            [],
            "run.toml:5: `optimizer.beta1` is 1.5: give a number of at least 0 and below 1 [LR-E182]",
        ),
        (
            "optimizer.learning_rate = inf",
            [],
            "run.toml:5: `optimizer.learning_rate` is Infinity: give a number above 0 [LR-E182]",
        ),
        ("optimizer = 3", [], "run.toml:5: `optimizer` is 3: give a table [LR-E182]"),
        (
            "optimizer.decay_steps = 3",
            [],
            "run.toml:5: [optimizer] `decay_steps` has no effect with `schedule` cosine [LR-E183]",
        ),
        (
            "eval_every = 3",
            [],
            "run.toml:5: `eval_every` needs `eval_data`, `sample_prompts` or `sample_images` [LR-E183]",
        ),
        ("[objective]\nkind = 'diffusion'", [], "run.toml: `objective.mask_id` is missing [LR-E183]"),
        (
            "[objective]\nkind = 'diffusion'\nmask_id = 3",
            ["--objective", "causal"],
            "run.toml:7: `objective.mask_id` has no effect with `objective.kind` causal; remove it [LR-E183]",
        ),
        (
            "[objective]\nkind = 'preference'",
            [],
            "run.toml:6: `objective.kind` is preference: `sft` trains causal or diffusion; use `dpo` [LR-E185]",
        ),
        (
            "init_model = {preset = 'nano', tokenizer = 'byte'}",
            [],
            "run.toml:5: `init_model` has no effect with `sft`; use `pretrain` [LR-E185]",
        ),
        (
            "build_plan.token_budget = 4",
            [],
            "run.toml:4: give `batch_plan` or the table `build_plan`, not both [LR-E183]",
        ),
        (
            "learning_rate = 1",
            [],
            "run.toml:5: no setting `learning_rate`; did you mean `optimizer.learning_rate`? [LR-E181]",
        ),
        (
            "",
            ["--set", "optimizer.momentum=0.9"],
            "--set optimizer.momentum: [optimizer] `momentum` has no effect with `name` adamw [LR-E183]",
        ),
        (
            "",
            ["--set", "data=[]"],
            "--set data: `data` is []: give a path or a list of paths, 1 or more of them [LR-E182]",
        ),
        (
            "eval_data = {'a b' = 'x'}",
            [],
            "run.toml:5: `eval_data`: string should match pattern '^\\w[\\w.-]*$', not \"a b\" [LR-E182]",
        ),
        (
            'log_to = ["wand"]',
            [],
            'run.toml:5: `log_to` is ["wand"]: give a list of values out of tensorboard, wandb [LR-E182]',
        ),
        (
            "[nothing_like_it]",
            [],
            "run.toml:5: no setting `nothing_like_it`; `--print-config` lists all settings [LR-E181]",
        ),
        (
            "build_plan = {token_budget = 64, weights = [1, 2]}",
            ["--set", "batch_plan=null"],
            "run.toml:5: `build_plan.weights` has 2 numbers for 1 files of `data`: give one for each [LR-E183]",
        ),
        ("", ["--set", "seed"], "--set seed: give NAME=VALUE, as --set optimizer.learning_rate=1e-4 [LR-E184]"),
        (
            "",
            ["--set", "seed=x"],
            '--set seed: `seed` is "x": give a whole number of at least 0 and of at most 9007199254740991 [LR-E182]',
        ),
        ("", ["--set", "sed=1"], "--set sed: no setting `sed`; did you mean `seed`? [LR-E181]"),
        ("", ["--set", "x.y=1"], "--set x.y: no setting `x.y`; there is no table `x` [LR-E181]"),
        ("lora.rank = 3\ndate = 2020-01-01", [], "run.toml:6: no setting `date`; did you mean `data`? [LR-E181]"),
        ("template = 2020-01-01", [], 'run.toml:5: `template` is "2020-01-01": give a text [LR-E182]'),
    ],
)
def test_a_problem_of_a_file_or_of_set_is_one_line(tmp_path, monkeypatch, text, words, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(f"{BASE}{text}\n")
    assert problems("sft", "--config", "run.toml", *words) == [line]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a = 1 b\n", r"run\.toml:1:\d+: not TOML: expected newline .* \[LR-E180\]"),
        (b"seed = 1\nseed = 2\n", r"run\.toml:2:\d+: not TOML: cannot overwrite a value \[LR-E180\]"),
        (b"\n\xff = 1\n", r"run\.toml:2: not UTF-8; convert the file \[LR-E180\]"),
        (b"a = " + b"[" * 5000, r"run\.toml.* \[LR-E180\]"),
        (b" " * (5 << 20), r"run\.toml has more than 4,194,304 bytes.* \[LP-E012\]"),
    ],
)
def test_a_file_that_is_no_toml_is_one_line(tmp_path, monkeypatch, content, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_bytes(content)
    error = CliRunner().invoke(app, ["sft", "--config", "run.toml"]).exception
    assert isinstance(error, LazarusError)
    assert re.fullmatch(line, f"{error.message} [{error.code}]")


def test_a_file_of_json_is_read_strictly(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.json").write_text('{"seed": 1,\n"seed": 2}')
    error = CliRunner().invoke(app, ["sft", "--config", "run.json"]).exception
    assert isinstance(error, LazarusError)
    assert (error.message, error.code) == ("run.json: member 'seed' occurs twice", "LP-E003")


def test_what_only_options_got_wrong_is_said_in_their_names(tmp_path):
    (tmp_path / "run.toml").write_text(BASE)
    result = CliRunner().invoke(app, ["sft", "--config", str(tmp_path / "run.toml"), "--decay-steps", "3"])
    assert result.exit_code == 2
    assert "--decay-steps has no effect with --schedule cosine" in " ".join(result.output.replace("│", " ").split())


# --- the same run again -----------------------------------------------------------------------------------------------


def call(*words) -> None:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


@pytest.mark.slow
@pytest.mark.parametrize("is_moved", [False, True])
def test_the_record_of_a_run_starts_the_same_run_again(setup, monkeypatch, tmp_path_factory, is_moved):
    monkeypatch.chdir(setup.folder)
    (setup.folder / "run.toml").write_text(
        'model = "model"\ndata = "data.jsonl"\noutput = "run"\nsave_every = 2\nmax_steps = 4\n'
        'eval_data = {own = "data.jsonl"}\neval_every = 2\n[build_plan]\ntoken_budget = 128\nepochs = 4\n'
        '[optimizer]\nlearning_rate = 5e-3\nrate_factors = {"*embed*" = 0.5, "*" = 1}\n'
    )
    call("sft", "--config", "run.toml")
    if is_moved:
        monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    call("sft", "--config", setup.folder / "run/config.json", "-o", setup.folder / "again")
    assert setup.fingerprints("again") == setup.fingerprints("run")


@pytest.mark.slow
def test_the_record_of_a_run_from_nothing_starts_it_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"text": f"{a} and {a}."}) + "\n" for a in range(9)))
    (tmp_path / "run.toml").write_text(
        'data = "data.jsonl"\noutput = "run"\nmax_steps = 2\nbuild_plan = {token_budget = 128}\n'
        'init_model = {preset = "nano", tokenizer = "byte"}\n'
    )
    call("pretrain", "--config", "run.toml")
    call("pretrain", "--config", "run/config.json", "-o", "again")
    for name in ("metrics.jsonl", "final/model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_print_config_trains_nothing_and_names_every_source(printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(BASE + "save_every = 4\n")
    text = printed("sft", "--config", "run.toml", "--set", "seed=3", "--max-steps", "2")
    assert not (tmp_path / "o").exists()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "save_every = 4 # file run.toml:5" in lines
    assert "seed = 3 # set" in lines
    assert "max_steps = 2 # flag --max-steps" in lines
    assert "optimizer.weight_decay = 0.01 # default" in lines
    assert "# ema = null # default" in lines


@pytest.mark.parametrize("shape", [{}, {"preset": "nano", "config": "c"}])
def test_a_fresh_model_has_one_shape(shape):
    with pytest.raises(ValidationError, match="give one of `preset` and `config`"):
        InitModelSettings(tokenizer="byte", **shape)
