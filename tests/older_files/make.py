"""Make the fixtures of tests/test_older_files.py with the checkout whose files they stand for (commit 199dd77).

Run in that checkout: `uv run python make_older_files.py FOLDER`. What an uninterrupted run gives is in `expected.json`.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import lazarus_models
import lazarus_models.composition
from lazarus_tokenkit import load_tokenizer

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)


def run(*command):
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lazarus")), *command], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


rows = [
    {"prompt": f"What is {a} and {b}?", "completion": f"{a} and {b} make {a + b}."} for a in range(4) for b in range(3)
]
(folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

tok = load_tokenizer("byte")
shape = lazarus_models.composition.preset("nano", vocab_size=tok.vocab_size).model_copy(
    update={
        "num_hidden_layers": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
    }
)
lazarus_models.save(lazarus_models.init_model(shape, tok, seed=0, vocab_size=tok.vocab_size), folder / "model")
run("data", "lengths", "build", "-d", "data.jsonl", "-t", "model", "-o", "lengths.jsonl")
run("data", "batchplan", "build", "-l", "lengths.jsonl", "-e", "2", "-b", "128", "-o", "plan")
run("data", "batchplan", "lock", "-p", "plan", "-o", "lock")
run("data", "batchplan", "prove", "-p", "plan", "--step", "1", "-o", "proof.json")
common = [
    "train",
    "sft",
    "--model",
    "model",
    "--data",
    "data.jsonl",
    "--batch-plan",
    "plan",
    "--learning-rate",
    "0.005",
    "--save-every",
    "3",
]
expected = {}
for name, more in (("full", []), ("lora", ["--use-lora", "--lora-rank", "2"])):
    run(*common, *more, "-o", f"{name}-whole")
    run(*common, *more, "--max-steps", "3", "-o", name)
    lines = [json.loads(x) for x in (folder / f"{name}-whole/metrics.jsonl").read_text().splitlines()]
    audit = [json.loads(x) for x in (folder / f"{name}-whole/audit.jsonl").read_text().splitlines()]
    expected[name] = {
        "losses": [x["loss"] for x in lines if "loss" in x],
        "rows": [x["rows"] for x in audit if "rows" in x and "bind" not in x],
    }
    shutil.rmtree(folder / f"{name}-whole")
expected["plan_id"] = json.loads((folder / "plan/fingerprints.json").read_text())["plan_id"]
(folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
