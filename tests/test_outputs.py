"""The law of outputs: no command replaces what it did not write. Every command with an output option is found and tried.

A new option that takes a path has to be named here, as read or as written; a new output needs a command line that writes it.
"""

import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
import pytest
import typer

import suite
from gguf_models import GPT2, with_byte_level
from lazarus_core.cli_app import deferred_of
from lazarus_core.console import run
from lazarus_models import export_gguf, init_model, save
from lazarus_models.families import canonical
from lazarus_tokenkit import load_tokenizer

APPS = {
    "plan": "lazarus_plan.cli.app:app",
    "batching": "lazarus_plan.cli.batching:app",
    "tokenkit": "lazarus_tokenkit.cli.app:app",
    "models": "lazarus_models.cli.app:app",
    "gym": "lazarus_gym.cli.app:app",
    "train": "lazarus_train.cli.app:app",
    "introspect": "lazarus_introspect.cli.app:app",
    "corpus": "lazarus_corpus.cli.app:app",
    "quickstart": "lazarus_cli.quickstart:quickstart",
    "bench": "lazarus_cli.bench:bench",
    "run": "lazarus_cli.recipes.cli:run",
    "lock": "lazarus_cli.recipes.cli:lock",
    "status": "lazarus_cli.operations.status:status",
    "report": "lazarus_cli.recipes.report_cli:report",
    **{
        name: f"lazarus_cli.operations.{name}:{name}"
        for name in ("cleanup", "backup", "restore", "push", "pull", "remote")
    },
}
WRITTEN = {"output", "html", "png", "save", "fix", "report", "train", "validation_output", "sarif", "items"}
READ = {
    *(
        "plan",
        "old",
        "new",
        "proof",
        "parent",
        "parent_lengths",
        "log",
        "encoded",
        "lock",
        "lengths",
        "data",
        "lengths_file",
        "file",
        "conversation",
        "suite",
        "verify",
    ),
    *(
        "model",
        "adapter",
        "prompt_file",
        "prompts",
        "system_file",
        "text",
        "config",
        "batch_plan",
        "path",
        "run",
        "runs",
        "tasks",
        "replies",
        *("against", "corpus", "facts", "sources"),
    ),
    "python",
    "rewards",
    *("baseline", "eval_data", "tokenizer", "draft", "reference_model"),
    *("direction", "files", "source", "reports", "thresholds", "fail_below"),
    *("folder", "used_in", "recipe"),
}
DATA = ["-d", "data.jsonl"]
ANALYZE = ["-t", "byte", *DATA, "--html", "@"]
TRAIN = ["--model", "model", "--data", "data.jsonl", "--batch-plan", "plan", "-o", "@", "--max-steps", "1"]
COMMANDS: dict[str, list[str]] = {
    "plan build": ["-l", "lengths.jsonl", "-b", "512", "--predictable", "-o", "@"],
    "plan lock": ["-p", "plan", "-o", "@"],
    "plan materialise": ["-k", "plan", "-l", "lengths.jsonl", "-o", "@"],
    "plan rebase": ["-p", "plan", "--step", "1", "-l", "lengths.jsonl", "-o", "@"],
    "plan ci": ["-k", "plan", "-l", "lengths.jsonl", *DATA, "--report", "@"],
    "plan prove": ["-p", "plan", "--step", "0", "-o", "@"],
    "plan attest": ["-p", "plan", "-o", "@"],
    "plan export": ["--to", "torch", "-o", "@"],
    "plan stats": ["-p", "plan", "--html", "@"],
    "tokenkit fingerprint": ["-t", "byte", "--save", "@"],
    "tokenkit encode": ["-t", "byte", *DATA, "-o", "@"],
    "tokenkit doctor": ["-t", "model", "--fix", "@"],
    "tokenkit lengths build": ["-t", "byte", *DATA, "-o", "@"],
    "tokenkit images prepare": ["images.npz", "-o", "@"],
    "tokenkit images grid": ["images.jsonl", "-o", "@"],
    "tokenkit samples prepare": ["data.jsonl", "-o", "@"],
    "tokenkit train bpe": [*DATA, "-v", "260", "-o", "@"],
    "tokenkit train sentencepiece": [*DATA, "-v", "300", "-o", "@"],
    "tokenkit train char": [*DATA, "-o", "@"],
    "tokenkit analyze diff": ["-t1", "byte", "-t2", "byte", *DATA, "--html", "@"],
    **{
        f"tokenkit analyze {name}": ANALYZE
        for name in ("coverage", "entropy", "fit-score", "efficiency", "vocab-suggest", "words")
    },
    "models new": ["--preset", "nano", "-t", "byte", "-o", "@"],
    "models images": ["-m", "drawing", "--grid", "1x1", "-o", "@"],
    "models convert": ["--model", "model", "-o", "@"],
    "models import": ["model.gguf", "-o", "@"],
    "models eval run": ["-m", "model", "-t", "perplexity=texts.jsonl", "-o", "@"],
    "models eval compare": ["-m", "model", "--against", "model", "-t", "perplexity=texts.jsonl", "--items", "@"],
    "models eval report": ["evaluated.json", "-o", "@"],
    "models bench": ["model", "--prompt-tokens", "2", "--new-tokens", "2", "--repeats", "1", "--html", "@"],
    **{
        f"introspect {name}": ["-m", "model", *words, "--raw", "--html", "@"]
        for name, words in {
            "analyze": ["-p", "a"],
            "hooks": ["-p", "a", "--sites", "resid_final"],
            "attention": ["-p", "a"],
            "ablate": ["-p", "a", "--layers", "0", "--max-tokens", "1"],
            "patch": ["--source", "a", "--target", "b", "--layers", "0"],
            "attribute": ["-p", "a"],
            "steer": ["-p", "a", "--positive", "b", "--negative", "c", "--layer", "0", "--max-tokens", "1"],
        }.items()
    },
    "introspect evolve": ["run", "-p", "ab", "--raw", "--html", "@"],
    **{
        f"introspect {name}": ["-m", "routed", "--layers", "0", *words, "--html", "@"]
        for name, words in {
            **{key: ["-p", "a", "--raw"] for key in ("moe route", "moe ablate", "moe-expert heatmap")},
            **{key: [] for key in ("moe utilisation", "moe co-activation", "moe vocab-contrib", "moe compression")},
            **{key: [] for key in ("moe-expert analyze", "moe-expert vocab-contrib", "moe-expert compression")},
            **{key: ["--layers", "0-1", "--num-prompts", "1"] for key in ("moe pipeline", "moe-expert pipeline")},
            "moe specialists": ["--permutations", "99", "--routers", "19"],
        }.items()
    },
    **{
        f"introspect {name}": ["-m", "model", *words, "--html", "@"]
        for name, words in {
            **{key: ["-d", "labelled.jsonl", "--layers", "1", "--raw"] for key in ("neurons", "probe", "clusters")},
            "embedding": ["-n", "10", "--permutations", "19"],
            "operand-directions": ["--values", "2-5", "--permutations", "19", "--layers", "1"],
            "commutativity": ["--values", "2-5", "--controls", "19", "--permutations", "19", "--layers", "1"],
            "arithmetic": ["-n", "2", "--digits", "1"],
            "uncertainty": ["-p", "a", "--raw"],
        }.items()
    },
    "introspect directions": ["lda.json", "ridge.json", "--html", "@"],
    "introspect circuit export": ["-i", "ablation.json", "-o", "@"],
    "introspect weight-diff": ["model", "model", "--html", "@"],
    "introspect activation-diff": ["model", "model", "-p", "abcd", "--raw", "--html", "@"],
    "introspect compare": ["-m1", "model", "-m2", "model", "-p", "a", "--raw", "--html", "@"],
    "gym generate": ["-n", "3", "-o", "@"],
    "corpus build": [*DATA, "--text-field", "completion", "-o", "@"],
    "corpus dedup": [*DATA, "--text-field", "completion", "-o", "@"],
    "corpus split": [*DATA, "--train", "@", "--validation-output", "/dev/null", "--validation", "0.3"],
    "corpus conversations": [*DATA, "-o", "@"],
    "corpus preferences": ["-d", "pairs.jsonl", "-o", "@"],
    "corpus pack": ["-p", "plan", *DATA, "-t", "byte", "-o", "@"],
    "corpus dialogues": ["--facts", "facts.json", "-o", "@"],
    "gym audit": ["lazarus:addition", "--items", "1", "--draws", "2", "--sarif", "@"],
    "gym prompts": ["lights_out", "-n", "2", "-o", "@"],
    "gym export": ["lights_out", "--to", "trl", "-n", "2", "-o", "@"],
    "gym run": ["--puzzles", "knapsack", "-n", "2", "-o", "@"],
    "train pretrain": TRAIN,
    "train sft": TRAIN,
    "train grpo": [*TRAIN, "--reward", "exact", "--max-new-tokens", "4", "--group-size", "2"],
    "train ppo": [*TRAIN, "--reward", "exact", "--max-new-tokens", "4"],
    "train dpo": TRAIN,
    "train reward": TRAIN,
    "train classify": TRAIN,
    "train objective": ["causal", *TRAIN],
    "train sweep": ["--model", "model", "--row-len", "16", "--max-rows", "1", "--steps", "1", "-o", "@"],
    "train report": ["run", "-o", "@"],
    "quickstart quickstart": ["-o", "@"],
    "run run": ["recipe.toml", "-o", "@"],
    "report report": ["recipe", "-o", "@"],
    "backup backup": ["plan", "-o", "@"],
    "restore restore": ["copy", "-o", "@"],
    "pull pull": ["copy", "-o", "@"],
    "bench bench": [*DATA, "-t", "byte", "--steps", "1", "--num-samples", "8", "-b", "512", "-o", "@"],
}
FOLDERS = {
    *("plan build", "plan lock", "plan materialise", "plan rebase", "models new", "models convert", "models import"),
    "tokenkit doctor",
    *("tokenkit train bpe", "tokenkit train sentencepiece", "tokenkit train char"),
    *(
        "train pretrain",
        "train sft",
        "train dpo",
        "train grpo",
        "train ppo",
        "train reward",
        "train classify",
        "train objective",
        "train sweep",
    ),
    *("backup backup", "restore restore", "pull pull"),
    *("quickstart quickstart", "run run", "bench bench", "corpus build", "corpus dedup", "corpus pack", "gym run"),
}
FILES = sorted(COMMANDS.keys() - FOLDERS)
ABLATION = {"analysis": "moe ablate", "provenance": {"model": "model"}, "prompt": "a", "experts": []}
"""A result that `circuit export` draws."""
RECIPE = 'data.rows = "data.jsonl"\n[tokenizer]\nkind = "char"\ndata = ["rows"]\n'
ALIKE = {each for each in COMMANDS if each.startswith("introspect ")} - {
    "introspect analyze",
    "introspect moe route",
    "introspect circuit export",
}
"""Commands with the same outputs as `introspect analyze`: tried in a thorough run."""
SUFFIXES = {"tokenkit encode": ".jsonl", "gym generate": ".jsonl", "gym export": ".py"}
"""Of outputs whose name decides on their form; the others take any."""
UNKNOWN_AGAIN = {"gym generate", "tokenkit samples prepare", "corpus split"}
"""Their files look like anybody's: each has to be forced."""

STARTS = {"train sweep"}
"""Commands that start interpreters of their own: a third of a law's time."""
REFUSED = {"train dpo", "train reward"}
"""Commands that refuse the data of these tests: nothing is created, no parent folder either."""


def commands(app: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Callable[..., Any]]]:
    if not isinstance(app, typer.Typer):
        yield " ".join([*names, app.__name__.strip("_")]), app
        return
    for each in app.registered_commands:
        assert each.callback is not None
        deferred = deferred_of(each.callback)
        callback = each.callback if deferred is None else deferred.function
        yield " ".join([*names, each.name or callback.__name__.replace("_", "-")]), callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        inner = group.typer_instance
        name = group.name if isinstance(group.name, str) else inner.info.name
        yield from commands(inner, (*names, str(name)))


def is_path(annotation: Any) -> bool:
    return annotation is Path or any(map(is_path, get_args(annotation))) or get_origin(annotation) is Path


def path_options() -> Iterator[tuple[str, str]]:
    """Every option or argument of every command that takes a path."""
    for package, where in APPS.items():
        module, _, attribute = where.partition(":")
        for command, callback in commands(getattr(import_module(module), attribute), (package,)):
            for name, parameter in inspect.signature(callback).parameters.items():
                if is_path(parameter.annotation):
                    yield command, name


def test_every_option_that_takes_a_path_is_known_as_read_or_written():
    assert [(command, name) for command, name in path_options() if name not in WRITTEN | READ] == []


def test_every_output_is_tried():
    assert sorted({command for command, name in path_options() if name in WRITTEN}) == sorted(COMMANDS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, lengths, plan, model and the folder of a run."""
    folder = tmp_path_factory.mktemp("made")
    rows = [{"prompt": f"What is {n} and {n}?", "completion": f"It is {2 * n}."} for n in range(40)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (folder / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n', "utf-8")
    labelled = [{"prompt": f"{who} was {word}", "label": word[0]} for who in "abcdefgh" for word in ("sad", "glad")]
    (folder / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labelled), "utf-8")
    (folder / "recipe.toml").write_text(RECIPE, "utf-8")
    (folder / "texts.jsonl").write_text('{"text": "What is it?"}\n', "utf-8")
    (folder / "recipe/.lazarus").mkdir(parents=True)
    (folder / "recipe/.lazarus/rows.begun").write_text("sha256:0\n", "utf-8")
    (folder / "facts.json").write_text('{"capitals": {"Peru": "Lima"}}', "utf-8")
    np.savez(folder / "images.npz", x=np.zeros((2, 3, 3), np.uint8), y=np.arange(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("tokenkit images prepare", ["images.npz", "-o", "images.jsonl"]) == 0
        assert call("models new", ["--preset", "nano", "-t", "pixels:3x3:8:2", "-o", "drawing"]) == 0
        assert call("models new", ["--preset", "nano", "-t", "byte", "-o", "model"]) == 0
        words = ["-m", "model", "-t", "perplexity=texts.jsonl", "-o", "evaluated.json"]
        assert call("models eval run", words) == 0
        said = {"model_type": "mixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
        said |= {"num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 4, "vocab_size": 260}
        save(init_model(canonical(said, "routed"), load_tokenizer("byte"), seed=0), Path("routed"))
        Path("ablation.json").write_text(json.dumps(ABLATION), "utf-8")
        export_gguf(with_byte_level(init_model("nano", load_tokenizer("byte"), seed=0), GPT2), Path("model.gguf"))
        assert call("tokenkit lengths build", ["-t", "model", *DATA, "-o", "lengths.jsonl"]) == 0
        probe = ["-m", "model", "-d", "labelled.jsonl", "--layers", "1", "--raw", "--permutations", "19"]
        for name in ("lda", "ridge"):
            assert call("introspect probe", [*probe, "--direction", name, "-o", f"{name}.json"]) == 0
        assert call("plan build", ["-l", "lengths.jsonl", "-b", "512", "--predictable", "-o", "plan"]) == 0
        assert call("train sft", [each.replace("@", "run") for each in TRAIN]) == 0
        assert call("push push", ["plan", "copy"]) == 0
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for each in made.iterdir():
        shutil.copytree(each, tmp_path / each.name) if each.is_dir() else shutil.copy(each, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(command: str, words: list[str]) -> int:
    package, *names = command.split()
    module, _, attribute = APPS[package].partition(":")
    app = getattr(import_module(module), attribute)
    if not isinstance(app, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command()(app)
        app, names = single, []
    with pytest.raises(SystemExit) as ended:
        run(lambda **options: app([*names, *words], **options), "lazarus")
    assert isinstance(ended.value.code, int)
    return ended.value.code


def content(folder: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def with_output(command: str, output: str) -> list[str]:
    return [output if word == "@" else word for word in COMMANDS[command]]


FOREIGN = {
    "rows": b'{"prompt":"mine","completion":"years of work"}\n',
    "page": b"<!doctype html>\n<html><body>my page</body></html>\n",
    "json": b'{\n  "version": "1.0",\n  "model": {}\n}\n',
    "text": b"# My notes\n",
    "binary": bytes(range(256)),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", suite.thinned(sorted(COMMANDS), keep=sorted(COMMANDS.keys() - ALIKE)))
def test_what_a_command_did_not_write_survives(here: Path, command: str):
    (here / "notes").mkdir()
    for name in ("thesis.txt", "config.json", "report.json", "bench.json", "bench.md", "summary.md", "trials.jsonl"):
        (here / "notes" / name).write_text("{}\n" if name == "config.json" else "years of work\n", "utf-8")
    suffix = SUFFIXES.get(command, ".txt")
    for name, foreign in FOREIGN.items():
        (here / f"{name}{suffix}").write_bytes(foreign)
        (here / f"{name}-link{suffix}").symlink_to(f"{name}{suffix}")
    (here / "folder.link").symlink_to("notes")
    before = content(here)
    force = [["--force"]] if command in FILES else []
    targets = [
        *(f"{name}{end}" for name in FOREIGN for end in (suffix, f"-link{suffix}")),
        "notes",
        "folder.link",
        "data.jsonl",
    ]
    for target in suite.share(targets, 3, sorted(COMMANDS).index(command)):
        code = call(command, with_output(command, target))
        after = content(here)
        assert {name: after.get(name) for name in before} == before, f"{command} {target}: exit {code}"
        assert code == 2 or target in ("notes", "folder.link"), f"{command} {target}: exit {code}"
    for more in force:
        for target in (f"rows-link{suffix}", "data.jsonl", "notes"):
            is_input = target != "data.jsonl" or "data.jsonl" in COMMANDS[command]
            if is_input:
                assert call(command, [*with_output(command, target), *more]) == 2, f"{command} --force {target}"
        after = content(here)
        assert {name: after.get(name) for name in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("command", suite.thinned(FILES, keep=sorted(set(FILES) - ALIKE)))
def test_a_file_is_written_replaced_by_its_like_and_forced(here: Path, command: str):
    new, mine = (name + SUFFIXES.get(command, ".txt") for name in ("new", "mine"))
    assert call(command, with_output(command, new)) == (1 if command == "tokenkit doctor" else 0)
    assert call(command, with_output(command, new)) == (2 if command in UNKNOWN_AGAIN else 0)
    (here / mine).write_bytes(b"mine")
    assert call(command, [*with_output(command, mine), "--force"]) == 0
    assert (here / mine).read_bytes() not in (b"", b"mine")
    assert not [name for name in content(here) if name.endswith((".tmp", ".old", ".partial"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    suite.thinned(sorted(COMMANDS), keep=[each for each in sorted(COMMANDS.keys() - ALIKE)[::3] if each not in STARTS]),
)
def test_missing_parent_folders_are_made(here: Path, command: str):
    before = content(here)
    output = f"not/yet/there{SUFFIXES.get(command, '.txt')}"
    code = call(command, with_output(command, output))
    assert (code == 0) is (command not in REFUSED) and (here / output).exists() is (code == 0)
    if code == 0:
        shutil.rmtree(here / "not")
    assert not (here / "not").exists() and content(here) == before


@pytest.mark.slow
@pytest.mark.parametrize("command", ["plan build", "plan lock", "plan materialise", "plan rebase"])
def test_a_plan_or_lock_of_another_id_has_to_be_forced(here: Path, command: str):
    other = ["-l", "lengths.jsonl", "-b", "1024", "--predictable", "-o", "other"]
    assert call("plan build", other) == 0
    if command == "plan lock":
        assert call("plan lock", ["-p", "other", "-o", "other.lock"]) == 0
    target = "other.lock" if command == "plan lock" else "other"
    before = content(here / target)
    assert call(command, with_output(command, target)) == 2
    assert content(here / target) == before
    assert call(command, [*with_output(command, target), "--force"]) == 0
    assert content(here / target) != before
    assert call(command, with_output(command, target)) == 0, "the same id is replaced"
