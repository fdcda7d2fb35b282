"""Pre-training from scratch: the held-out curve of ours beside an independent PyTorch implementation's.

    uv run python tools/benchmarks/pretrain_curve.py --torch-python PATH [--seeds 3] [--epochs 1] [--vocab-size 32768] [--threads 2]

The `micro` shape learns tinyshakespeare with a byte-level BPE of 1,024 tokens, 16 rows of 256 tokens a step; the last tenth of
the text is held out, in pieces of whole lines, and measured in bits a byte. Ours is the command line from raw text to
`lazarus train pretrain`, another plan and other fresh weights for every seed; theirs is `pretrain_curve_torch.py`: the same
ids, shape, distribution of fresh weights, optimizer and schedule, with rows, orders and draws of its own. `--vocab-size` is
the number of rows of the embedding and of the head: with 32,768 `micro` has its 9.4 million parameters. Tokens a second are those
of the median step, without evaluations; memory is the peak of the whole process, with evaluations.

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
from typing import NamedTuple

from lazarus_models import read_config
from lazarus_plan import load_plan
from lazarus_tokenkit import Encoder, encode_rows, load_tokenizer

ROOT = Path(__file__).parents[2]
ROWS, TOKENS, VOCABULARY = 16, 256, 1024
SETTINGS = {"learning_rate": 3e-3, "warmup_steps": 30, "weight_decay": 0.1}
DOCUMENT_BYTES, HELD_OUT_BYTES = 8000, 500
"""Documents are much longer than a row, held-out pieces a little shorter."""


class Side(NamedTuple):
    """What one side measured.

    Args:
        curve: Held-out loss by step: ours in bits a byte, theirs in nats a token.
        seconds: Median of a step.
        peak: Largest memory of the process in MiB.
    """

    curve: dict[int, float]
    seconds: float
    peak: float


def run(words: list[object]) -> tuple[str, float]:
    """Standard output of a command, and the peak of its memory in MiB."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(list(map(str, words)), stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, err):
            stream.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(map(str, words))}\n{err.read()}")
        return out.read(), used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def lazarus(*words: object) -> float:
    """Runs a command of ours and returns the peak of its memory in MiB."""
    return run([sys.executable, "-m", "lazarus_cli", *words])[1]


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


def ours(folder: Path, seed: int, asked: argparse.Namespace) -> tuple[Side, float]:
    """What we measured, and bits a byte of a nat a token."""
    model, plan, output = (folder / f"{name}-{seed}" for name in ("model", "plan", "run"))
    size = ["--preset", "micro", "--vocab-size", asked.vocab_size]
    lazarus("model", "new", *size, "-t", folder / "bpe", "--seed", seed, "-o", model)
    budget = ["-b", ROWS * TOKENS, "--row-len", TOKENS, "--oversize", "split", "-e", asked.epochs, "--seed", seed]
    lazarus("data", "batchplan", "build", "-l", folder / "l.jsonl", *budget, "-o", plan)
    steps = len(load_plan(plan))
    every = steps // asked.evals
    said = {
        "shape": read_config(model).model_dump(),
        "rows": ROWS,
        "tokens": TOKENS,
        "steps": steps,
        "eval_every": every,
    }
    said |= {"threads": asked.threads, **SETTINGS}
    (folder / "setup.json").write_text(json.dumps(said))
    settings = [word for name, value in SETTINGS.items() for word in (f"--{name.replace('_', '-')}", value)]
    peak = lazarus(
        *("train", "pretrain", "--model", model, "--data", folder / "train.jsonl", "--batch-plan", plan, "-o", output),
        *("--eval-data", folder / "held_out.jsonl", "--eval-every", every, *settings),
    )
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if "eval_loss" in line]
    curve = {line["step"]: line["eval_bits_per_byte"] for line in found}
    times = [json.loads(line)["seconds"] for line in (output / "throughput.jsonl").read_text().splitlines()]
    return Side(curve, statistics.median(times), peak), found[-1]["eval_bits_per_byte"] / found[-1]["eval_loss"]


def theirs(python: str, folder: Path, seed: int) -> Side:
    printed, peak = run([python, Path(__file__).with_name("pretrain_curve_torch.py"), folder, seed])
    lines = [(int(step), float(loss), float(seconds)) for step, loss, seconds in map(str.split, printed.splitlines())]
    return Side({step: loss for step, loss, _ in lines}, lines[-1][2], peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch-python", required=True, help="a Python with torch")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--evals", type=int, default=3)
    parser.add_argument("--vocab-size", type=int, default=VOCABULARY, help="rows of the embedding")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; on a busy machine two wait for each other")
    asked = parser.parse_args()
    real = Path(os.environ.get("LAZARUS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not real.is_dir():
        raise SystemExit(f"no real inputs at {real}: set LAZARUS_TEST_DATA")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, (real / "datasets/text/tinyshakespeare.txt").read_text(encoding="utf-8"))
        sides: dict[str, list[Side]] = {"lazarus": [], "torch": []}
        for seed in range(asked.seeds):
            side, bits = ours(folder, seed, asked)
            other = theirs(asked.torch_python, folder, seed)
            sides["lazarus"].append(side)
            sides["torch"].append(other._replace(curve={step: loss * bits for step, loss in other.curve.items()}))
            ends = (f"{name} {list(each[-1].curve.values())[-1]:.4f}" for name, each in sides.items())
            print(f"seed {seed}: {', '.join(ends)}", file=sys.stderr)
        print_tables(sides)


def print_tables(sides: dict[str, list[Side]]) -> None:
    print(f"held-out bits a byte, means of {len(sides['torch'])} seeds (from least to most)\n")
    print("| step | tokens | lazarus | torch | ratio |\n|---|---|---|---|---|")
    for step in sides["torch"][0].curve:
        found = [[side.curve[step] for side in each] for each in sides.values()]
        told = [f"{statistics.mean(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in found]
        ratio = statistics.mean(found[0]) / statistics.mean(found[1])
        print(f"| {step} | {step * ROWS * TOKENS:,} | {told[0]} | {told[1]} | {ratio:.4f} |")
    print("\n| | tokens/s | peak MiB |\n|---|---|---|")
    for name, each in sides.items():
        seconds = statistics.median(side.seconds for side in each)
        print(f"| {name} | {ROWS * TOKENS / seconds:,.0f} | {max(side.peak for side in each):,.0f} |")


if __name__ == "__main__":
    main()
