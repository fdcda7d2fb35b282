"""Bad input on every command line: one line of error with place and way out, exit code 2, and nothing changed.

The lines are made from what the commands declare (`bad_lines`), so a new command or option is tried without a word here.
`ACCEPTED` names the values that look bad and are not.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import bad_lines
import commands
import suite
from bad_lines import Line
from lazarus_core.codes import all_codes
from lazarus_core.printable import utf8_name

OFFLINE = {"HF_HUB_OFFLINE": "1"}
FORKS = commands.SURVIVES_FORK
"""Forks in thorough runs, too: thousands of new interpreters would take an hour."""
LIMIT_S = 60.0
"""A line that takes longer is refused too late."""
NAMES = sorted({bad for values in bad_lines.BAD.values() for bad in values} | {"no words"})
PARTS = 24
"""The default run tries every 24th line of a name; a thorough run tries all."""
ENDS = re.compile(r" \[(?:(?P<code>L[A-Z]-E\d{3})|(?P<usage>lazarus(?:-\w+)?))\]$")
"""How an error line ends: a code that `lazarus explain` knows, or the command of a usage error."""
ABOUT_ALL = re.compile(r"\[(LM-E109|LT-E602|LT-E802|LT-E901|LG-E1\d\d)\]$")
"""Codes about all the data or the machine, whose messages name a setting."""
FORBIDDEN = {
    "a value of Python": re.compile(r"PosixPath\(|<class|<[\w.]+ object|\b(None|True|False)\b|[\[{(]'|\['"),
    "an exception": re.compile(r"Traceback|\w+Error\b|\[Errno|os error|codec can't|C ssize_t|C long"),
    "words of a library": re.compile(r"Value error,|[Ii]nput should|pydantic|bytes-like"),
    "a temporary path": re.compile(rf"/tmp/|/var/folders/|{re.escape(tempfile.gettempdir())}/|\.\d+\.tmp"),
}
"""What no error shows."""
WAY_OUT = re.compile(
    r"^error: \S+:\d+(:\d+)?: |[;?] [Ss]ee [\w. -]+ --help$|(?<=: )empty$|is empty$|\bis outside \d|\bhas 1 to\b|\bsuch as\b|[:;,(] ?(measure|compare|plan fewer|give|choose|correct|change|start|remove|build|write|rename|use|raise|add|name|call|make|set|check|"
    r"restore|omit|fetch|install|run|repeat|save|put|select|`|the options?|there (are|is)|such as|must|the suffix must|codes|known|only|in it)|\bgive\b|\bneeds?\b",
)
"""How a message names the way out: the line to correct, what to do, or what would be right."""


ROUTED = """
from pathlib import Path
from lazarus_models import init_model, save
from lazarus_models.families import canonical
from lazarus_tokenkit import load_tokenizer

said = {"model_type": "mixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
said |= {"num_key_value_heads": 2, "num_local_experts": 4, "vocab_size": 260, "tie_word_embeddings": True}
save(init_model(canonical(said, "routed"), load_tokenizer("byte"), seed=0), Path("routed"))
"""
"""Makes a model with experts."""


def make_inputs(folder: Path) -> None:
    """Good inputs of all kinds, and the bad ones that `bad_lines.BAD` names."""
    rows = [{"prompt": f"What is {n} and {n}?", "completion": f"It is {2 * n}."} for n in range(40)]
    pairs = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "No."} for n in range(20)]
    labelled = [{"prompt": f"What is {n}?", "label": "odd" if n % 2 else "even"} for n in range(20)]
    for name, each in (("data.jsonl", rows), ("pairs.jsonl", pairs), ("labelled.jsonl", labelled)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in each), "utf-8")
    train = ["train", "sft", "--model", "model", "--data", "data.jsonl", "--batch-plan", "plan", "-o", "run"]
    for words in (
        ["model", "new", "--preset", "nano", "-t", "byte", "-o", "model"],
        ["data", "lengths", "build", "-t", "model", "-d", "data.jsonl", "-o", "lengths.jsonl"],
        ["data", "batchplan", "build", "-l", "lengths.jsonl", "-b", "512", "--predictable", "-o", "plan"],
        ["data", "lengths", "build", "-t", "model", "-d", "pairs.jsonl", "-o", "pairs.lengths.jsonl"],
        ["data", "batchplan", "build", "-l", "pairs.lengths.jsonl", "-b", "512", "--predictable", "-o", "pairs.plan"],
        ["data", "batchplan", "lock", "-p", "plan", "-o", "lock"],
        ["data", "batchplan", "prove", "-p", "plan", "--step", "0", "-o", "proof.json"],
        [*train, "--max-steps", "1"],
        ["push", "plan", "copy"],
        ["generate", "-n", "3", "-o", "tasks.jsonl"],
        ["introspect", "probe", "-m", "model", "-d", "labelled.jsonl", "--direction", "lda", "-o", "direction.json"],
    ):
        commands.run([sys.executable, "-m", "lazarus_cli", *words], cwd=folder, check=True)
    commands.run([sys.executable, "-c", ROUTED], cwd=folder, check=True)
    (folder / "texts.jsonl").write_text('{"text": "What is it?"}\n', "utf-8")
    (folder / "eval.toml").write_text('[[task]]\nkind = "perplexity"\ndata = "texts.jsonl"\n', "utf-8")
    evaluate = ["eval", "run", "-m", "model", "--tasks", "eval.toml", "-o", "evaluated.json"]
    commands.run([sys.executable, "-m", "lazarus_cli", *evaluate], cwd=folder, check=True)
    (folder / "chat.json").write_text(json.dumps([{"role": "user", "content": "q"}]), "utf-8")
    ablation = {"analysis": "moe ablate", "provenance": {"model": "model"}, "prompt": "a", "experts": []}
    (folder / "ablation.json").write_text(json.dumps(ablation), "utf-8")
    np.savez(folder / "images.npz", x=np.zeros((2, 3, 3), np.uint8), y=np.arange(2))
    images = ["data", "images", "prepare", "images.npz", "-o", "images.jsonl"]
    recipe = 'data.rows = "data.jsonl"\n[tokenizer]\nkind = "char"\ndata = ["rows"]\n'
    (folder / "recipe.toml").write_text(recipe, "utf-8")
    drawing = ["model", "new", "--preset", "nano", "-t", "pixels:3x3:8:2", "-o", "drawing"]
    for words in (images, drawing):
        commands.run([sys.executable, "-m", "lazarus_cli", *words], cwd=folder, check=True)
    (folder / "tests.json").write_text(json.dumps([]), "utf-8")
    tasks = [json.loads(line) for line in (folder / "tasks.jsonl").read_text("utf-8").splitlines()]
    replies = [json.dumps({"id": task["id"], "reply": "1"}) + "\n" for task in tasks]
    (folder / "replies.jsonl").write_text("".join(replies), "utf-8")
    (folder / "remote.toml").write_text('title = "a recipe"\n', "utf-8")
    (folder / "recipe/.lazarus").mkdir(parents=True)
    (folder / "recipe/.lazarus/rows.begun").write_text("sha256:0\n", "utf-8")
    (folder / "folder").mkdir()
    (folder / "folder/notes.txt").write_text("years of work\n", "utf-8")
    (folder / "notes.txt").write_text("years of work\n", "utf-8")
    (folder / "empty.jsonl").touch()
    (folder / "noise.jsonl").write_bytes(bytes(range(256)) * 8)


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file and folder below one."""
    return {
        path.relative_to(folder).as_posix(): (0, 0)
        if path.is_dir()
        else (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


FREE = frozenset(
    {"text", "prompt", "system", "search", "stop", "special", "sample_prompts", "api_key", "kinds", "names"}
    | {
        "place",
        "host",
        "folder",
        "tmux",
        "program",
        "results",
        "id_field",
        "languages",
        "track",
        "criterion",
        "source",
        "target",
    }
)
"""Texts that any word can be."""
ACCEPTED: dict[tuple[str, str], frozenset[str] | None] = {
    ("text", "word"): FREE,
    ("text", "empty string"): frozenset(
        {"text", "prompt", "system", "classes", "log_to", "optimizer__rate_factors", "freeze"}
    ),
    ("text", "not UTF-8"): frozenset(),
    ("read", "text"): None,  # a file of text is data, too
    ("read", "folder"): None,  # as is a folder of texts
    ("written", "folder"): frozenset({"output"}),  # reports and runs are written into folders
    ("written", "not UTF-8"): None,
    ("int", "large"): None,  # a limit that is never reached
    ("int", "negative"): frozenset({"seed", "position"}),  # positions count from the end, too
    ("float", "negative"): frozenset({"frequency_penalty"}),
}
"""Values that look bad and are accepted, by kind and name, with the parameters; None for every one."""

CORPUS = ("data", "corpus")
"""Its builds go on where they stopped: their work lies beside the output, so a parent folder stays; and a file without
conversations makes a set without any."""


def is_accepted(line: Line) -> bool:
    """Whether a line may succeed, or end with a check that says no."""
    if line.option is None:
        return False
    if line.leaf.words == (*CORPUS, "conversations") and line.bad == "empty file":
        return True
    names = ACCEPTED.get((line.option.kind, line.bad), frozenset())
    name = line.option.name.rsplit("__", 1)[-1]
    return names is None or line.option.name in names or name in names


def problems(line: Line, done: subprocess.CompletedProcess[str], changed: list[str]) -> Iterator[str]:
    """What is wrong with the end of a line.

    Args:
        line: The line.
        done: What it gave.
        changed: Files and folders that it made, changed or removed.
    """
    said = done.stderr.splitlines()
    for what, pattern in FORBIDDEN.items():
        if found := pattern.search(done.stderr):
            yield f"it shows {what}: {found[0]}"
    if done.returncode == 0:
        if not is_accepted(line):
            yield "it was accepted"
        return
    if changed and not (line.leaf.words[:2] == CORPUS and changed == ["made"]):
        yield f"it changed {', '.join(changed[:3])}"
    if done.returncode == 1:
        if line.option is None or line.option.kind != "read":
            yield "exit code 1"
        return
    if done.returncode != 2:
        yield f"exit code {done.returncode}"
    if done.stdout:
        yield "there are results on stdout"
    errors = [each for each in said if each.startswith("error: ")]
    if len(errors) != 1 or said[-1:] != errors:
        yield f"{len(errors)} lines of error, not one at the end"
        return
    end = ENDS.search(errors[0])
    if end is None:
        yield "no code"
    elif end["code"] is not None and end["code"] not in all_codes():
        yield f"an unknown code {end['code']}"
    elif end["usage"] is not None and "--help [" not in errors[0]:
        yield "a usage error without the command that helps"
    if not names_place(line, errors[0]):
        yield "it does not name the place"
    if not WAY_OUT.search(errors[0].removesuffix(end[0] if end else "")):
        yield "it does not name the way out"


def names_place(line: Line, error: str) -> bool:
    """Whether an error names the option, its value, or the command that helps."""
    values = [word.encode("utf-8", "backslashreplace").decode()[:60] for word in line.words if len(word) > 1]
    values.append(utf8_name(line.value))
    names = () if line.option is None else (*line.option.names, line.option.name)
    return (
        "--help" in error
        or ABOUT_ALL.search(error) is not None
        or any(word and word in error for word in (*values, *names))
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad inputs, which no line changes."""
    folder = tmp_path_factory.mktemp("lines")
    make_inputs(folder)
    return folder


def chosen(name: str) -> list[Line]:
    """The lines with one kind of bad value; in the default run a part of them, another one for each name."""
    leaves = bad_lines.leaves()
    training = [leaf for leaf in leaves if leaf.words[0] == "train" and leaf.words[1:] not in (("sweep",), ("verify",))]
    training = [leaf for leaf in training if len(leaf.options) > len(training[0].options) // 2]
    shared = sorted(set.intersection(*({option.name for option in leaf.options} for leaf in training)))
    every = [line for leaf in leaves for line in bad_lines.lines(leaf) if line.bad == name]
    every = [line for line in every if not is_tried_elsewhere(line, training, shared)]
    return list(suite.share(every, PARTS, NAMES.index(name)))


def is_tried_elsewhere(line: Line, training: Sequence[bad_lines.Leaf], shared: Sequence[str]) -> bool:
    """Whether a line is about an option that every training command has by one definition, and another command tries it."""
    if line.leaf not in training or line.option is None or line.option.name not in shared:
        return False
    return training[shared.index(line.option.name) % len(training)] is not line.leaf


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_bad_value_is_one_line_of_error_and_changes_nothing(name: str, made: Path, tmp_path: Path):
    folder = tmp_path / "here"
    shutil.copytree(made, folder)
    before, found = state(folder), list[str]()
    for line in chosen(name):
        try:
            words = [sys.executable, "-m", line.leaf.module, *line.words]
            done = commands.Command(words, cwd=folder, environment=OFFLINE, forks=FORKS).finish(LIMIT_S)
        except subprocess.TimeoutExpired:
            found.append(f"{line}\n  takes more than {LIMIT_S:.0f} s")
            continue
        after = state(folder)
        changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        wrong = [*problems(line, done, changed)]
        wrong += [f"it lost {path}" for path in changed if path in before]
        found += [f"{line}\n  {'; '.join(wrong)}\n  {done.stderr[-400:]}"] if wrong else []
        if changed:
            shutil.rmtree(folder)
            shutil.copytree(made, folder)
            before = state(folder)
    assert not found, "\n".join(found)


def test_every_command_is_tried_with_hundreds_of_lines():
    leaves = bad_lines.leaves()
    counts = {leaf.words: sum(1 for _ in bad_lines.lines(leaf)) for leaf in leaves}
    assert len(leaves) >= 80 and min(counts.values()) >= 2
    assert sum(counts.values()) >= 4000
    assert sum(len(chosen(name)) for name in NAMES) >= 200
