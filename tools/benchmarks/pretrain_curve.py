"""Pre-training from scratch: the held-out curve of ours beside an independent PyTorch implementation's.

    uv run python tools/benchmarks/pretrain_curve.py --torch-python PATH [--seeds 3] [--epochs 1]

The `micro` shape learns tinyshakespeare with a byte-level BPE of 1,024 tokens, 16 rows of 256 tokens a step; the last tenth of
the text is held out, in pieces of whole lines, and measured in bits a byte. Ours is the command line from raw text to
`lazarus train pretrain`, another plan and other fresh weights for every seed; theirs is `pretrain_curve_torch.py`: the same
ids, shape, distribution of fresh weights, optimizer and schedule, with rows, orders and draws of its own.

Needs the real inputs (`LAZARUS_TEST_DATA`, default `../shared/data` beside the repository) and a Python with torch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lazarus_models import read_config
from lazarus_plan import load_plan
from lazarus_tokenkit import Encoder, encode_rows, load_tokenizer

ROOT = Path(__file__).parents[2]
ROWS, TOKENS, VOCABULARY = 16, 256, 1024
SETTINGS = {"learning_rate": 3e-3, "warmup_steps": 30, "weight_decay": 0.1}
DOCUMENT_BYTES, HELD_OUT_BYTES = 8000, 500
"""Documents are much longer than a row, held-out pieces a little shorter."""


def run(words: list[object]) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stderr}")
    return done.stdout


def lazarus(*words: object) -> str:
    return run([sys.executable, "-m", "lazarus_cli", *words])


def pieces(lines: list[str], size: int) -> Iterator[str]:
    """Whole lines of at least so many bytes together."""
    piece = ""
    for line in lines:
        piece += line
        if len(piece.encode()) >= size:
            yield piece
            piece = ""


def write_texts(file: Path, texts: Iterator[str]) -> None:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


def prepare(folder: Path, text: str) -> None:
    """Rows, tokenizer and lengths; and the same ids for the other side."""
    lines = text.splitlines(keepends=True)
    cut = len(lines) * 9 // 10
    write_texts(folder / "train.jsonl", pieces(lines[:cut], DOCUMENT_BYTES))
    write_texts(folder / "held_out.jsonl", pieces(lines[cut:], HELD_OUT_BYTES))
    lazarus("tokenizer", "train", "bpe", "-d", folder / "train.jsonl", "-v", VOCABULARY, "-o", folder / "bpe")
    lazarus(*("data", "lengths", "build", "-d", folder / "train.jsonl", "-t", folder / "bpe", "-o", folder / "l.jsonl"))
    encoder = Encoder(load_tokenizer(str(folder / "bpe")))
    ids = {name: [row.ids for row in encode_rows(folder / f"{name}.jsonl", encoder)] for name in ("train", "held_out")}
    (folder / "train.json").write_text(json.dumps([token for row in ids["train"] for token in row]))
    (folder / "held_out.json").write_text(json.dumps(ids["held_out"]))


def ours(folder: Path, seed: int, epochs: int, evals: int) -> tuple[dict[int, float], float]:
    """Held-out bits a byte by step, and bits a byte of a nat a token."""
    model, plan, output = (folder / f"{name}-{seed}" for name in ("model", "plan", "run"))
    lazarus("model", "new", "--preset", "micro", "-t", folder / "bpe", "--seed", seed, "-o", model)
    budget = ["-b", ROWS * TOKENS, "--row-len", TOKENS, "--oversize", "split", "-e", epochs, "--seed", seed]
    lazarus("data", "batchplan", "build", "-l", folder / "l.jsonl", *budget, "-o", plan)
    steps = len(load_plan(plan))
    config = read_config(model).model_dump()
    said = {"shape": config, "rows": ROWS, "tokens": TOKENS, "steps": steps, "eval_every": steps // evals, **SETTINGS}
    (folder / "setup.json").write_text(json.dumps(said))
    settings = [word for name, value in SETTINGS.items() for word in (f"--{name.replace('_', '-')}", value)]
    lazarus(
        *("train", "pretrain", "--model", model, "--data", folder / "train.jsonl", "--batch-plan", plan, "-o", output),
        *("--eval-data", folder / "held_out.jsonl", "--eval-every", steps // evals, *settings),
    )
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if "eval_loss" in line]
    curve = {line["step"]: line["eval_bits_per_byte"] for line in found}
    return curve, found[-1]["eval_bits_per_byte"] / found[-1]["eval_loss"]


def theirs(python: str, folder: Path, seed: int) -> dict[int, float]:
    """Held-out nats a token by step."""
    printed = run([python, Path(__file__).with_name("pretrain_curve_torch.py"), folder, seed])
    return {int(step): float(loss) for step, loss in map(str.split, printed.splitlines())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", required=True, help="a Python with torch")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--evals", type=int, default=3)
    asked = parser.parse_args()
    real = Path(os.environ.get("LAZARUS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not real.is_dir():
        raise SystemExit(f"no real inputs at {real}: set LAZARUS_TEST_DATA")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, (real / "datasets/text/tinyshakespeare.txt").read_text(encoding="utf-8"))
        curves: dict[str, list[dict[int, float]]] = {"lazarus": [], "torch": []}
        for seed in range(asked.seeds):
            curve, bits = ours(folder, seed, asked.epochs, asked.evals)
            curves["lazarus"].append(curve)
            losses = theirs(asked.torch_python, folder, seed)
            curves["torch"].append({step: loss * bits for step, loss in losses.items()})
            print(
                f"seed {seed}: lazarus {list(curve.values())[-1]:.4f}, torch {losses[max(losses)] * bits:.4f}",
                file=sys.stderr,
            )
        print(f"held-out bits a byte, means of {asked.seeds} seeds (from least to most)\n")
        print("| step | tokens | lazarus | torch | ratio |\n|---|---|---|---|---|")
        for step in curves["torch"][0]:
            sides = [[curve[step] for curve in curves[side]] for side in ("lazarus", "torch")]
            told = [f"{statistics.mean(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in sides]
            ratio = statistics.mean(sides[0]) / statistics.mean(sides[1])
            print(f"| {step} | {step * ROWS * TOKENS:,} | {told[0]} | {told[1]} | {ratio:.4f} |")


if __name__ == "__main__":
    main()
