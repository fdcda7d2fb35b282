"""The command lines of the public project that this one continues, with `lazarus` for its name, on local input.

Each name of a model or tokenizer is a directory of the current folder, so that every line runs as it is written.
"""

import contextlib
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import commands
import suite

LINES = Path(__file__).with_name("seed_commands.txt").read_text("utf-8").splitlines()
NEEDS_REAL_DATA = ("gpt-4",)
"""Names that only the rank files of the real data can open offline."""
ASKED = (
    *("smollm2-360m", "granite-3.1-2b", "gemma-3-1b", "tinyllama", "gemma-3-4b", "llama-4-scout", "starcoder2-3b"),
    "functiongemma",
)
"""Short names that the example scripts ask."""
GEMMAS = ("google/gemma-3-270m-it", "google/functiongemma-270m-it")
"""Models that are compared."""
EXAMPLES = Path(__file__).parents[1] / "packages/lazarus-models/examples"
TINYLLAMA, LLAMA = "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "meta-llama/Llama-2-7b"
SHOWN = {
    "tokenizer encode": r"^\d+(,\d+)*\n",
    "tokenizer decode": r"\S",
    "tokenizer vocab": "",  # its last line is on stderr; without real data it finds nothing
    "tokenizer compare": r"tokens",
    "tokenizer doctor": r"information|warning",
    "tokenizer fingerprint": r"[0-9a-f]{16}",
    "tokenizer analyze": r"\d",
    "data lengths build": r"\d+ samples",
    "data batchplan build": r"plan_id",
    "data batchplan info": r"(?sm)plan_id.*^step 0 of epoch 0: .*^  row 0, ",
    "data batchplan validate": "",
    "data batching analyze": r"(?m)^bucketed .* 128,256,512",
    "bench": r"\| packed \|",
    "train sft": r"^checkpoints/sft-\d{4}-\d\d-\d\d-\d{6}(-\d+)?/final\n$",
    "train dpo": r"^checkpoints/dpo-\d{4}-\d\d-\d\d-\d{6}(-\d+)?/final\n$",
    "generate --type math": r"^$",
    "gym run": r"(?m)^sudoku +50 +50 ",
    "infer --model": r"\n",
    "inference/llama_inference.py --list": r"(?m)^llama\n  llama-2-7b .*lazarus infer -m llama-2-7b ",
    "inference/jamba_inference.py --list": r"(?m)^jamba\n  jamba-3b ",
    "inference/jamba_inference.py --test-tiny": r"^jamba: [\d,]+ parameters, 16 tokens\n$",
    "inference/gemma_inference.py --chat": r"^$",  # standard input is empty
    "inference/starcoder2_inference.py --interactive": r"^$",
    "inference/": r"\n",
    "models/gemma/": r"\n",
    "introspect moe-expert analyze": r"(?m)^layer +load balance ",
    "introspect moe-expert heatmap": r"(?m)^layer 1: 4 experts",
    "introspect moe-expert pipeline": r"(?m)^0 -> 1 ",
    "introspect moe-expert vocab-contrib": r"(?m)^expert +tokens +consistency ",
    "introspect moe-expert compression": r"(?m)^layer +experts ",
    "introspect circuit export": r"^$",  # it writes a file
    "introspect analyze": r"(?m)^prediction ",
    "introspect compare": r"(?m)^agreement ",
    "introspect ablate": r"(?m)^original ",
    "introspect patch": r"(?m)^blocks\.0\.resid_pre ",
    "introspect hooks": r"(?m)^blocks\.8\.attn\.pattern ",
    "introspect embedding": r"(?m)^task +balanced accuracy +bag of tokens ",
    "introspect operand-directions": r"(?m)^conclusion +no evidence",
    "introspect commutativity": r"(?m)^conclusion +no evidence",
}
"""What stdout has of each command."""


def test_there_are_61_lines():
    assert len(LINES) == len(set(LINES)) == 61


def write_rows(path: str, rows: list[dict[str, str]]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    """The current folder, with everything that the lines name; returns the real data, if there is some."""
    from lazarus_models import init_model, save
    from lazarus_models.families import canonical
    from lazarus_tokenkit import load_tokenizer

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    real = Path(os.environ.get("LAZARUS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    byte = load_tokenizer("byte")
    save(init_model("nano", byte, seed=0), Path(TINYLLAMA))
    shutil.copytree(TINYLLAMA, "checkpoints/sft/final")
    for name in ASKED:
        Path(name).symlink_to(TINYLLAMA)
    Path("examples").symlink_to(EXAMPLES)
    for name in GEMMAS:
        shutil.copytree(TINYLLAMA, name)
    deep = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    deep |= {"num_hidden_layers": 24, "vocab_size": byte.vocab_size, "tie_word_embeddings": True}
    save(init_model(canonical(deep, "deep"), byte, seed=0), Path("model"))  # layer 23 is ablated
    routed = {
        "model_type": "gpt_oss",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "head_dim": 8,
    }
    routed |= {"num_key_value_heads": 2, "num_hidden_layers": 2, "num_local_experts": 4, "num_experts_per_tok": 2}
    routed |= {"vocab_size": byte.vocab_size, "tie_word_embeddings": True}
    save(init_model(canonical(routed, "routed"), byte, seed=0), Path("openai/gpt-oss-20b"))
    byte.save(Path("model-name"))
    if real.is_dir():
        shutil.copytree(real / "tokenizers/gpt2", "gpt2")
        shutil.copytree(real / "tokenizers/llama2", LLAMA)
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(real / "tokenizers/tiktoken"))
    else:  # as many ids as `--ids` needs
        characters = "".join(map(chr, [*range(32, 127), *range(0x4E00, 0x4E00 + 22_000)]))
        load_tokenizer(f"char:{characters}").save(Path("gpt2"))
        byte.save(Path(LLAMA))
    words = ["Hello, world", "the hello of a fox", "a quick brown fox", "machine learning is amazing"]
    Path("corpus.txt").write_text("".join(f"{word} {number}\n" for number in range(30) for word in words), "utf-8")
    write_rows("train.jsonl", [{"prompt": f"What is {n} + {n}?", "completion": f" {2 * n}."} for n in range(60)])
    pairs = [{"prompt": f"What is {n}?", "chosen": f" It is {n}.", "rejected": " No."} for n in range(40)]
    write_rows("preferences.jsonl", pairs)
    return real if real.is_dir() else None


def plan_preferences() -> None:
    """The plan that `train dpo` names is that of its pairs."""
    run = ["lazarus", "data", "lengths", "build", "-d", "preferences.jsonl", "-t", TINYLLAMA, "-o", "pairs.jsonl"]
    assert lazarus(run)[0] == 0
    plan = ["lazarus", "data", "batchplan", "build", "-l", "pairs.jsonl", "-b", "512", "-o", "batch_plan", "--force"]
    assert lazarus(plan)[0] == 0


def plan_training() -> None:
    """The plan that `train sft` names is that of its model's tokenizer."""
    run = ["lazarus", "data", "lengths", "build", "-d", "train.jsonl", "-t", TINYLLAMA, "-o", "lengths.jsonl"]
    assert lazarus(run)[0] == 0
    plan = [
        "lazarus",
        "data",
        "batchplan",
        "build",
        "-l",
        "lengths.jsonl",
        "-b",
        "512",
        "--row-len",
        "256",
        "-o",
        "batch_plan",
        "--force",
    ]
    assert lazarus(plan)[0] == 0


def remove_plan() -> None:
    """A new plan takes the place of another one only with `--force`."""
    shutil.rmtree("batch_plan", ignore_errors=True)


def ablate_layers() -> None:
    """The result that `circuit export` draws is that of an ablation."""
    words = [
        "lazarus",
        "introspect",
        "ablate",
        "-m",
        "model",
        "-p",
        "45 * 45 = ",
        "--layers",
        "22,23",
        "--max-tokens",
        "1",
    ]
    code, shown, _ = lazarus([*words, "--json"])
    assert code == 0
    Path("ablation_results.json").write_text(shown, "utf-8")


BEFORE: dict[str, Callable[[], None]] = {
    "lazarus data batchplan build": remove_plan,
    "lazarus data batchplan validate": plan_training,
    "lazarus train sft": plan_training,
    "lazarus train dpo": plan_preferences,
    "lazarus introspect circuit export": ablate_layers,
}
"""Beginnings of lines that need another plan than that of the lines before, with what makes it."""


@pytest.fixture
def puzzle_server() -> Iterator[None]:
    """Our puzzle server at the address that a line names."""
    words = [sys.executable, "-m", "lazarus_cli", "gym", "serve", "--host", "localhost", "--port", "8023"]
    with suite.alone("port-8023"), commands.Command(words) as server:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("localhost", 8023), 1):
                break
            assert server.poll() is None, "another program uses port 8023"
            time.sleep(0.02)
        yield
        server.send_signal(signal.SIGINT)
        assert server.finish().returncode == 0


def lazarus(words: list[str]) -> tuple[int, str, str]:
    """Runs a line; `uvx --from DISTRIBUTION[EXTRA] lazarus` is checked against the installed distribution."""
    if words[:2] == ["uvx", "--from"]:
        distribution, _, extra = words[2].rstrip("]").partition("[")
        metadata = importlib.metadata.metadata(distribution)
        assert not extra or extra in metadata.get_all("Provides-Extra", [])
        scripts = importlib.metadata.entry_points(group="console_scripts", name=words[3])
        assert [each.dist.name for each in scripts if each.dist] == [distribution]
        words = words[3:]
    if words[:3] == ["uv", "run", "python"]:
        done = commands.run([sys.executable, "-c", commands.RUN_SCRIPT, *words[3:]])
        return done.returncode, done.stdout, done.stderr
    assert words[0] == "lazarus"
    done = commands.run([sys.executable, "-m", "lazarus_cli", *words[1:]])
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.usefixtures("puzzle_server")
def test_every_line_runs_as_it_is_written(folder: Path | None):
    table: list[tuple[str, str]] = []
    failed: list[str] = []
    for line in LINES:
        words = shlex.split(line)
        if folder is None and any(name in line for name in NEEDS_REAL_DATA):
            table.append(("needs the real data", line))
            continue
        for begin, prepare in BEFORE.items():
            if line.startswith(begin):
                prepare()
        code, shown, said = lazarus(words)
        bare = " ".join(words[words.index("lazarus") + 1 :]) if "lazarus" in words else line.partition("examples/")[2]
        pattern = next(pattern for command, pattern in SHOWN.items() if bare.startswith(command))
        ok = code == 0 and re.search(pattern, shown) is not None and "Traceback" not in said
        table.append(("runs" if ok else f"exit {code}", line))
        failed += [] if ok else [f"{line}\n{shown[-300:]}{said[-600:]}"]
    runs = sum(state == "runs" for state, _ in table)
    print(*(f"{state:<38}{line}" for state, line in table), sep="\n")
    print(f"{runs} of {len(LINES)} lines run")
    assert failed == []
    assert runs == (59 if folder is None else 61)
    if folder is not None:
        assert "hello" in lazarus(shlex.split('lazarus tokenizer vocab -t "gpt2" --search "hello"'))[1]
    assert len(Path("data/lazarus/train.jsonl").read_bytes().splitlines()) == 400
    assert Path("model-name-fixed/tokenizer.json").is_file()
    assert Path("fingerprint.json").is_file()
    assert "layer 23" in Path("circuit.html").read_text("utf-8") and "-> output" in Path("circuit.dot").read_text(
        "utf-8"
    )
    if folder is not None:
        assert lazarus(shlex.split('lazarus tokenizer decode -t "gpt2" --ids "464,2068,7586,21831"'))[1] == (
            "The quick brown fox\n"
        )


def test_the_extras_bring_the_engines():
    wanted = {"openai": "tiktoken", "fast": "gigatoken"}
    of_kit = importlib.metadata.requires("lazarus-tokenkit") or []
    of_cli = importlib.metadata.requires("lazarus-cli") or []
    for extra, package in wanted.items():
        assert any(each.startswith(f"lazarus-tokenkit[{extra}]") and f"extra == '{extra}'" in each for each in of_cli)
        assert any(each.startswith(package) and f"extra == '{extra}'" in each for each in of_kit)
    of_all = [each for each in of_cli if "extra == 'all'" in each]
    bundles = [re.match(r"lazarus-tokenkit\[([\w,]+)\]", each) for each in of_all]
    assert wanted.keys() <= {extra for found in bundles if found for extra in found[1].split(",")}


PYTHON_API = """
from lazarus_tokenkit import compute_fingerprint, load_tokenizer
from lazarus_tokenkit.analysis import analyze_coverage, calculate_fit_score

tokenizer = load_tokenizer("TinyLlama/TinyLlama-1.1B-Chat-v1.0")
texts = ["Your training data...", "More examples..."]
coverage = analyze_coverage(texts, tokenizer)
print(f"UNK rate: {coverage.unk_rate:.2%}")
print(f"Tokens per word: {coverage.tokens_per_word:.2f}")
fit = calculate_fit_score(texts, tokenizer)
print(f"Fit score: {fit.score}/100 ({fit.grade})")
print(f"Fingerprint: {compute_fingerprint(tokenizer).fingerprint}")
"""
"""The snippet of the tokenizer. Five others use `lazarus_models.inference` (1), lazarus-introspect (3), lazarus-gym (1)."""
INTROSPECTION = """
import asyncio
from lazarus_introspect import AblationConfig, AblationStudy, AnalysisConfig, LayerStrategy, ModelAnalyzer

async def main():
    async with ModelAnalyzer.from_pretrained("TinyLlama/TinyLlama-1.1B-Chat-v1.0") as analyzer:
        result = await analyzer.analyze("The capital of France is")
        print(repr(result.predicted_token))
        for layer in result.layer_predictions:
            print(f"Layer {layer.layer_idx}: {layer.top_token!r}")
    config = AnalysisConfig(track_tokens=["P", " "], layer_strategy=LayerStrategy.ALL)
    result = await analyzer.analyze("The capital of France is", config)
    for evo in result.token_evolutions:
        print(f"{evo.token!r} emerges at layer {evo.emergence_layer}")

asyncio.run(main())
study = AblationStudy.from_pretrained("TinyLlama/TinyLlama-1.1B-Chat-v1.0")
config = AblationConfig(max_new_tokens=15)
original = study.ablate_and_generate("45 * 45 = ", layers=[], config=config)
ablated = study.ablate_and_generate("45 * 45 = ", layers=[0, 1], config=config)
print(f"{len(original) > 0} {len(ablated) > 0}")
"""
"""The snippets of the analyzer and of ablation; here a token is a byte, so one byte is tracked."""


def test_the_snippet_of_the_tokenizer_runs(folder: Path | None):
    done = commands.run([sys.executable, "-c", PYTHON_API], check=True)
    assert re.fullmatch(
        r"UNK rate: 0\.00%\nTokens per word: 7\.40\nFit score: \d+\.\d/100 \(insufficient sample\)\nFingerprint: [0-9a-f]{64}\n",
        done.stdout,
    )


def test_the_snippets_of_introspection_run(folder: Path | None):
    done = commands.run([sys.executable, "-c", INTROSPECTION], check=True)
    shape = (
        r"'.+'\nLayer 0: .+\nLayer 1: .+\nLayer 2: .+\n'P' emerges at layer \S+\n' ' emerges at layer \S+\nTrue True\n"
    )
    assert re.fullmatch(shape, done.stdout)
