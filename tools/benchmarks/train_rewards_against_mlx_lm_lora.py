"""GRPO steps of lazarus-train and of mlx-lm-lora on one model, the same prompts and rewards, one after the other on this machine.

    python tools/benchmarks/train_rewards_against_mlx_lm_lora.py MODEL --other /path/to/python

MODEL is a directory such as stories260k. `--other` is the Python of an environment with mlx-lm-lora (it is not a dependency of this
project). Each side draws 8 answers to each of 8 prompts a step, with at most 64 tokens, and updates all weights; the reward counts
vowels. The first step of each side is not counted.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from lazarus_core.console import show
from lazarus_train import OptimizerSettings, TrainConfig, plan_run, train
from lazarus_train.callbacks.base import Watcher
from lazarus_train.objectives.policy.grpo import GrpoSettings

PROMPTS, GROUP, TOKENS = 8, 8, 64
OTHER = """
import json, sys, time
import mlx.core as mx
import mlx.optimizers as optim
from mlx_lm import load
from mlx_lm_lora.trainer.datasets import GRPODataset
from mlx_lm_lora.trainer.grpo_trainer import GRPOTrainingArgs, train_grpo

model, data, steps, prompts, group, tokens = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
lm, tokenizer = load(model)
rows = [json.loads(line) for line in open(data)]
rows = [{"prompt": row["prompt"], "answer": "", "text": row["prompt"]} for row in rows]
drawn, marks = [], []
def vowels(prompts, completions, answer, types=None):
    drawn.append(sum(len(tokenizer.encode(each)) for each in completions))
    marks.append(time.perf_counter())
    return [sum(c in "aeiou" for c in each) / (1 + len(each)) for each in completions]
arguments = GRPOTrainingArgs(
    batch_size=prompts, iters=steps, val_batches=0, steps_per_report=steps, steps_per_eval=10**9, steps_per_save=10**9,
    group_size=group, beta=0.0, max_completion_length=tokens, temperature=1.0, top_p=1.0, top_k=0, adapter_file="/dev/null",
)
began = time.perf_counter()
try:
    train_grpo(lm, None, tokenizer, optim.Adam(1e-5), GRPODataset(rows, tokenizer, text_completion_key="text"),
               reward_funcs=[vowels], args=arguments, end_answer_token="")
except (OSError, RuntimeError) as error:
    print("after training:", error, file=sys.stderr)  # it saves adapters at the end; there are none
ended = time.perf_counter()
print(json.dumps({"seconds": ended - marks[0], "tokens": sum(drawn[1:])}))
"""


def ours(model: Path, data: Path, folder: Path, steps: int) -> dict[str, float]:
    config = TrainConfig(
        objective=GrpoSettings(
            reward="vowels_of_benchmark:vowels", group_size=GROUP, max_new_tokens=TOKENS, prompts_per_step=PROMPTS
        ),
        model=model,
        data=data,
        batch_plan=folder / "plan",
        output=folder / "run",
        max_steps=steps,
        template="plain",
        optimizer=OptimizerSettings(learning_rate=1e-5, schedule="constant"),
    )
    plan_run(config, {"token_budget": 512, "seed": 0, "epochs": 40})
    marks: list[float] = []
    train(config, resume="none", watcher=Watcher(on_step=lambda _: marks.append(time.perf_counter())))
    lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()][1:]
    tokens = sum(line["answers"] * line["answer_tokens"] for line in lines)
    return {"seconds": marks[-1] - marks[0], "tokens": tokens}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vowels_of_benchmark.py").write_text(
            "def vowels(prompt, completion, row):\n    return sum(c in 'aeiou' for c in completion) / (1 + len(completion))\n"
        )
        __import__("sys").path.insert(0, name)
        starts = ("Once upon a time", "There was a little girl", "One day a dog", "The sun was")
        data = folder / "data.jsonl"
        data.write_text("".join(json.dumps({"prompt": f"{each} {n}"}) + "\n" for n in range(16) for each in starts))
        mine = ours(given.model.resolve(), data, folder, given.steps)
        command = [given.other, "-c", OTHER, given.model.resolve(), data, given.steps, PROMPTS, GROUP, TOKENS]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if not done.stdout.strip():
            raise SystemExit(done.stderr[-2000:])
        other = json.loads(done.stdout.strip().splitlines()[-1])
        for who, found in (("lazarus-train", mine), ("mlx-lm-lora", other)):
            show(
                f"{who:<14} {found['tokens']:8,.0f} drawn tokens in {found['seconds']:6.1f} s: {found['tokens'] / found['seconds']:8,.1f} tokens/s"
            )
        show(f"ratio {mine['tokens'] / mine['seconds'] / (other['tokens'] / other['seconds']):.2f}")


if __name__ == "__main__":
    main()
