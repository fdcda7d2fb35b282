"""Training speed of `lazarus train sft` against `mlx_lm.lora`: the same model, rows, BLAS and machine, in one run.

    uv run python tools/benchmarks/train_speed.py [--mode full|lora] [--rounds 3] [--steps 8] [--batch-size 4]
        [--json PATH]

Real tokens a second: padding counts on neither side. Both sides train in turn, A B A B .., each in a process of its own
whose start and first step are left out, and the ratio is taken pair by pair, so that a machine whose speed drifts does
not decide. A step of ours is as many real tokens as a batch of theirs, as near as whole rows allow. On a GPU the first three
steps are left out, which compile kernels; the memory is the peak of MLX's allocator on both sides.

Needs the real inputs (`LAZARUS_TEST_DATA`, default `../shared/data` beside the repository).
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

ROWS = 1000
"""Rows of GSM8K that both sides draw from."""
ROOT = Path(__file__).parents[2]


WARM_UP = {"cpu": 1, "gpu": 3}
"""Steps that are left out."""


def run(words: list[object]) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stderr}")
    return done.stdout


def prepare(folder: Path, real: Path, batch_size: int) -> int:
    """Writes the rows in both forms, and our plan; returns the real tokens of a batch of theirs."""
    lines = (real / "datasets/gsm8k/train.jsonl").read_text(encoding="utf-8").splitlines()[:ROWS]
    rows = [json.loads(line) for line in lines]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "theirs").mkdir()
    texts = [json.dumps({"text": f"{row['question']}\n{row['answer']}"}, ensure_ascii=False) for row in rows]
    for name in ("train", "valid"):
        (folder / "theirs" / f"{name}.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    lazarus = [sys.executable, "-m", "lazarus_cli", "data"]
    fields = ["--prompt-field", "question", "--completion-field", "answer"]
    model = real / "models/stories260k"
    lengths = folder / "lengths.jsonl"
    run([*lazarus, "lengths", "build", "-d", folder / "train.jsonl", *fields, "-t", model, "-o", lengths])
    measured = [json.loads(line)["length"] for line in lengths.read_text().splitlines()[1:]]
    tokens = round(batch_size * statistics.mean(measured))
    budget = max(tokens, -(-max(measured) // 64) * 64)
    run([*lazarus, "batchplan", "build", "-l", lengths, "-b", budget, "--predictable", "-o", folder / "plan"])
    return tokens


OURS = """
import sys
from lazarus_cli.__main__ import main
sys.argv[0] = "lazarus"
try:
    main()
finally:
    from lazarus_models.backend import mx
    print("PEAK", mx.get_peak_memory())
"""


def ours(folder: Path, real: Path, mode: str, steps: int, warm_up: int) -> tuple[float, float]:
    """Tokens a second, and the peak of MLX's memory in MiB."""
    output = folder / "ours"
    printed = run(
        [
            *(sys.executable, "-c", OURS, "train", "sft", "--model", real / "models/stories260k"),
            *("--data", folder / "train.jsonl", "--prompt-field", "question", "--completion-field", "answer"),
            *("--batch-plan", folder / "plan", "-o", output, "--max-steps", steps + warm_up, "--resume", "none"),
            *(["--use-lora", "--lora-rank", 8] if mode == "lora" else []),
        ]
    )
    timed = [json.loads(line) for line in (output / "throughput.jsonl").read_text().splitlines()]
    trained = [json.loads(line)["tokens"] for line in (output / "metrics.jsonl").read_text().splitlines()]
    speed = sum(trained[warm_up:]) / sum(line["seconds"] for line in timed[warm_up:])
    return speed, int(printed.rpartition("PEAK ")[2]) / 2**20


THEIRS = """
import json, sys, types
import lazarus_models.blas  # our BLAS on their side too
from mlx_lm import lora
from mlx_lm.tuner.callbacks import TrainingCallback
class Report(TrainingCallback):
    def on_train_loss_report(self, info): print("REPORT", json.dumps(info))
    def on_val_loss_report(self, info): pass
lora.get_reporting_callbacks = lambda *_, **__: Report()  # `run` (0.32) drops the callback it is given
lora.run(types.SimpleNamespace(**{**lora.CONFIG_DEFAULTS, **json.loads(sys.argv[1])}))
"""


def theirs(folder: Path, real: Path, mode: str, steps: int, batch_size: int, warm_up: int) -> tuple[float, float]:
    """Tokens a second, and the peak of MLX's memory in MiB."""
    settings = {
        "model": str(real / "models/stories260k"),
        "train": True,
        "data": str(folder / "theirs"),
        "fine_tune_type": mode,
        "iters": steps + warm_up,
        "batch_size": batch_size,
        "steps_per_report": 1,
        "val_batches": 1,
        "steps_per_eval": 10 * steps,
        "adapter_path": str(folder / "adapters"),
        "num_layers": -1,
    }
    printed = run([sys.executable, "-c", THEIRS, json.dumps(settings)])
    reports = [json.loads(report) for report in re.findall(r"REPORT (\{.*\})", printed)]
    timed = reports[warm_up - 1 :]
    tokens = [after["trained_tokens"] - before["trained_tokens"] for before, after in pairwise(timed)]
    seconds = [count / report["tokens_per_second"] for count, report in zip(tokens, timed[1:], strict=True)]
    return sum(tokens) / sum(seconds), reports[-1]["peak_memory"] * 1e9 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=["full", "lora"], default="full")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=4, help="theirs; their default is 4")
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    asked = parser.parse_args()
    from lazarus_models.backend import on_cpu

    warm_up = WARM_UP["cpu" if on_cpu() else "gpu"]
    real = Path(os.environ.get("LAZARUS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not real.is_dir():
        raise SystemExit(f"no real inputs at {real}: set LAZARUS_TEST_DATA")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = prepare(folder, real, asked.batch_size)
        print(f"stories260k on GSM8K, {asked.mode}, about {tokens:,} real tokens a step, {asked.steps} steps a round\n")
        print("| round | lazarus: tokens/s, MiB | mlx_lm.lora: tokens/s, MiB | ratio |\n|---|---|---|---|")
        ratios: list[float] = []
        rounds: list[tuple[tuple[float, float], tuple[float, float]]] = []
        for number in range(1, asked.rounds + 1):
            mine = ours(folder, real, asked.mode, asked.steps, warm_up)
            other = theirs(folder, real, asked.mode, asked.steps, asked.batch_size, warm_up)
            rounds.append((mine, other))
            ratios.append(mine[0] / other[0])
            cells = [f"{speed:,.0f}, {memory:,.0f}" for speed, memory in (mine, other)]
            print(f"| {number} | {cells[0]} | {cells[1]} | {ratios[-1]:.2f} |", flush=True)
        print(f"\nmedian ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")
    if asked.json:
        sums = {
            side: {
                "tokens_per_s": statistics.median(each[place][0] for each in rounds),
                "memory_mib": max(each[place][1] for each in rounds),
            }
            for place, side in enumerate(("lazarus", "mlx-lm"))
        }
        asked.json.write_text(json.dumps(sums))


if __name__ == "__main__":
    main()
