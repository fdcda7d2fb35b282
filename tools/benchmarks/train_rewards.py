"""Reinforcement learning on a copying task on a CPU: three seeds of GRPO, its control, and PPO on an embedded puzzle.

    python tools/benchmarks/train_rewards.py FOLDER [--steps 250]

A nano model learns to copy two letters, forgets it on random answers until it is near chance (6 %), and learns it again from rewards
alone. The control gets the same rewards dealt at random to the answers of a step.
"""

import argparse
import json
import random
import time
from pathlib import Path

from lazarus_core.console import show
from lazarus_models import init_model, save
from lazarus_models.composition import preset
from lazarus_tokenkit import load_tokenizer
from lazarus_train import CausalSettings, OptimizerSettings, TrainConfig, plan_run, train
from lazarus_train.objectives.policy.grpo import GrpoSettings

LETTERS = "abcdefgh"


def write(path: Path, count: int, seed: int, *, is_right: bool) -> Path:
    """Rows that ask to copy two letters, with the right or a random answer."""
    draw = random.Random(seed)

    def word() -> str:
        return "".join(draw.choices(LETTERS, k=2))

    pairs = [(asked := word(), asked if is_right else word()) for _ in range(count)]
    path.write_text(
        "".join(json.dumps({"prompt": f"copy {asked}", "completion": each}) + "\n" for asked, each in pairs)
    )
    return path


def supervised(folder: Path, model: Path, data: Path, steps: int, rate: float) -> Path:
    config = TrainConfig(
        objective=CausalSettings(),
        model=model,
        data=data,
        batch_plan=folder / "plan",
        output=folder,
        max_steps=steps,
        optimizer=OptimizerSettings(learning_rate=rate),
    )
    plan_run(config, {"token_budget": 1024, "seed": 0, "epochs": 12}, resume="none")
    return train(config, resume="none").final


def rewarded(folder: Path, model: Path, data: Path, test: Path, *, seed: int, steps: int, is_control: bool) -> None:
    config = TrainConfig(
        objective=GrpoSettings(reward="exact", group_size=16, max_new_tokens=6, batch_texts=256, is_control=is_control),
        model=model,
        data=data,
        batch_plan=folder / "plan",
        output=folder,
        seed=seed,
        max_steps=steps,
        optimizer=OptimizerSettings(learning_rate=6e-4, schedule="constant", weight_decay=0.0),
        eval_data={"test": test},
    )
    plan_run(config, {"token_budget": 1024, "seed": seed, "epochs": 20}, resume="none")
    began = time.perf_counter()
    train(config, resume="none")
    seconds = time.perf_counter() - began
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rewards = [line["reward"] for line in lines if "reward" in line]
    tested = [line["eval_reward"] for line in lines if "eval_reward" in line]
    tenths = [rewards[place * (len(rewards) - 1) // 10] for place in range(11)]
    show(
        f"seed {seed} {'control' if is_control else 'grpo':<8} {seconds:5.0f} s  held-out {tested[0]:.2f} -> {tested[-1]:.2f}  "
        f"curve {' '.join(f'{each:.2f}' for each in tenths)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    given = parser.parse_args()
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    right = write(folder / "copy.jsonl", 3900, 0, is_right=True)
    test = write(folder / "test.jsonl", 100, 1, is_right=True)
    noise = write(folder / "noise.jsonl", 4000, 2, is_right=False)
    tokenizer = load_tokenizer("byte")
    fresh = init_model(preset("nano", vocab_size=tokenizer.vocab_size), tokenizer, seed=0)
    save(fresh, folder / "fresh")
    able = supervised(folder / "able", folder / "fresh", right, 1400, 3e-3)
    near_chance = supervised(folder / "near-chance", able, noise, 25, 1e-3)
    for seed in (0, 1, 2):
        rewarded(folder / f"grpo-{seed}", near_chance, right, test, seed=seed, steps=given.steps, is_control=False)
    rewarded(folder / "control", near_chance, right, test, seed=0, steps=given.steps, is_control=True)


if __name__ == "__main__":
    main()
