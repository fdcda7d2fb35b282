"""Reinforcement learning on a CPU: GRPO on copying, PPO on an embedded puzzle, and sampling by signal on additions of three tiers.

    python tools/benchmarks/train_rewards.py FOLDER [--only copy] [--only puzzle] [--only tiers]

Each task starts from a model that gives valid answers near chance. Supervised steps on a fixed mixture of right and wrong answers
make it, so that every prompt has the same small share of right answers. Training on rewards runs with three seeds. The control gets
the same rewards, dealt at random to the answers of a step. Exit 1 if a claim does not hold. `FOLDER/results.json` has all curves.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from lazarus_core.console import show
from lazarus_gym import make_environment
from lazarus_models import init_model, save
from lazarus_models.composition import preset
from lazarus_tokenkit import load_tokenizer
from lazarus_train import CausalSettings, OptimizerSettings, TrainConfig, plan_run, train
from lazarus_train.objectives.policy.base import PolicySettings
from lazarus_train.objectives.policy.grpo import GrpoSettings
from lazarus_train.objectives.policy.ppo import PpoSettings

SEEDS = (0, 1, 2)
LETTERS = "abcdefgh"
BOARDS, REWARDED = 16, 8
"""Puzzles of Minesweeper with one safe cell among six hidden ones: those of the hints, and those of the rewards."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """Rewards that a model is trained on.

    Args:
        name: Name of its folder.
        rows: Prompts.
        test: Prompts of greedy held-out answers; None for none.
        settings: Settings of the objective.
        steps: Updates.
        rate: Learning rate.
        token_budget: Tokens of the prompts of a step.
        epochs: Times that the plan has each prompt.
    """

    name: str
    rows: Path
    test: Path | None
    settings: PolicySettings
    steps: int
    rate: float
    token_budget: int
    epochs: int


def write(path: Path, rows: Iterable[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def supervised(folder: Path, model: Path, data: Path, *, steps: int, rate: float) -> tuple[Path, float]:
    """Trains on answers, and returns the model and its mean loss over the last steps.

    Args:
        folder: Folder of the run.
        model: Model to begin with.
        data: Rows with answers.
        steps: Updates.
        rate: Learning rate at its peak.
    """
    config = TrainConfig(
        objective=CausalSettings(),
        model=model,
        data=data,
        batch_plan=folder / "plan",
        output=folder,
        max_steps=steps,
        optimizer=OptimizerSettings(learning_rate=rate),
    )
    plan_run(config, {"token_budget": 1024, "seed": 0, "epochs": 20}, resume="none")
    final = train(config, resume="none").final
    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return final, sum(losses[-10:]) / len(losses[-10:])


def start_model(folder: Path, right: Path, mixed: Path, *, steps: tuple[int, int]) -> Path:
    """A model that learned the task and then the mixture of answers, so that it is right as often as the mixture.

    With tied embeddings of deviation 0.02 and this learning rate, some letters stayed alike, and rewards could not tell them apart.

    Args:
        folder: Folder of the runs.
        right: Rows with right answers.
        mixed: Rows of the mixture.
        steps: Updates on each.
    """
    tokenizer = load_tokenizer("byte")
    shape = preset("nano", vocab_size=tokenizer.vocab_size).model_copy(
        update={
            "hidden_size": 64,
            "intermediate_size": 192,
            "head_dim": 32,
            "tie_word_embeddings": False,
            "initializer_range": 0.06,
        }
    )
    save(init_model(shape, tokenizer, seed=0), folder / "fresh")
    able, loss = supervised(folder / "able", folder / "fresh", right, steps=steps[0], rate=3e-3)
    start, mixed_loss = supervised(folder / "start", able, mixed, steps=steps[1], rate=1e-3)
    show(f"{folder.name}: loss {loss:.3f} on right answers, {mixed_loss:.3f} on the mixture")
    return start


def rewarded(folder: Path, model: Path, task: Task, seed: int, **changes: Any) -> Path:
    """Trains on rewards.

    Args:
        folder: Folder of the run.
        model: Model to begin with.
        task: The task.
        seed: Seed of order and draws.
        changes: Changed settings of the objective.
    """
    config = TrainConfig(
        objective=type(task.settings)(**{**task.settings.model_dump(exclude_unset=True), **changes}),
        model=model,
        data=task.rows,
        batch_plan=folder / "plan",
        output=folder,
        seed=seed,
        max_steps=task.steps,
        optimizer=OptimizerSettings(learning_rate=task.rate, schedule="constant", weight_decay=0.0),
        eval_data={} if task.test is None else {"test": task.test},
    )
    plan_run(config, {"token_budget": task.token_budget, "seed": seed, "epochs": task.epochs}, resume="none")
    train(config, resume="none")
    return folder / "metrics.jsonl"


def measured(metrics: Path) -> list[Row]:
    """Metrics of each step."""
    return [line for line in map(json.loads, metrics.read_text().splitlines()) if "loss" in line]


def successes(lines: Iterable[Row]) -> list[float]:
    """Share of right answers of each step, of all answers: those without a reward are wrong."""
    return [line["reward"] * (1 - line["truncated_share"] - line["rejected_share"]) for line in lines]


def curves(folder: Path, model: Path, task: Task, *, goal: float) -> tuple[Row, bool]:
    """Three seeds and the control, as a table.

    Args:
        folder: Folder of the runs.
        model: Model to begin with.
        task: The task.
        goal: Share of right answers that all seeds shall reach.
    """
    found: Row = {}
    holds = True
    for seed, is_control in [*((seed, False) for seed in SEEDS), (0, True)]:
        name = f"{task.name}-{'control' if is_control else seed}"
        began = time.perf_counter()
        control: Row = {"is_control": True} if is_control else {}
        curve = successes(measured(rewarded(folder / name, model, task, seed, **control)))
        seconds = time.perf_counter() - began
        first, last = curve[0], sum(curve[-10:]) / len(curve[-10:])
        reached = next((step for step in range(10, len(curve)) if sum(curve[step - 10 : step]) / 10 > goal), None)
        holds &= last < first + 0.1 if is_control else last > goal
        found[name] = {"seconds": round(seconds), "first": first, "last": last, "reached": reached, "curve": curve}
        tenths = " ".join(f"{curve[place * (len(curve) - 1) // 10]:.2f}" for place in range(11))
        show(
            f"{name:<16} {seconds:4.0f} s  {first:.2f} -> {last:.2f}  above {goal} from step {reached or '-'}  curve {tenths}"
        )
    return found, holds


def copying(folder: Path) -> tuple[Row, bool]:
    """GRPO on copying two letters. The start model gives the next letters of the alphabet most often."""

    def rows(number: int, seed: int, right: float, following: float) -> Iterator[Row]:
        draw = random.Random(seed)
        for _ in range(number):
            asked = "".join(draw.choices(LETTERS, k=2))
            others = "".join(LETTERS[(LETTERS.index(each) + 1) % len(LETTERS)] for each in asked)
            answers = [asked, others, "".join(draw.choices(LETTERS, k=2))]
            (answer,) = draw.choices(answers, [right, following, 1 - right - following])
            yield {"prompt": f"copy {asked}", "completion": answer}

    right = write(folder / "copy-right.jsonl", rows(4000, 0, 1.0, 0.0))
    mixed = write(folder / "copy-mixed.jsonl", rows(8000, 1, 0.06, 0.5))
    model = start_model(folder / "copy-model", right, mixed, steps=(150, 200))
    task = Task(
        name="copy",
        rows=right,
        test=write(folder / "copy-test.jsonl", rows(100, 2, 1.0, 0.0)),
        settings=GrpoSettings(reward="exact", group_size=16, max_new_tokens=6, batch_texts=256),
        steps=100,
        rate=6e-4,
        token_budget=256,
        epochs=1,
    )
    return curves(folder, model, task, goal=0.9)


def boards() -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Seed and hidden cells of puzzles with a single safe cell among six."""
    environment = make_environment("minesweeper")
    for seed in count():
        lines = [line.split()[2:-1] for line in environment.reset(seed=seed, task="easy").text.splitlines()[-7:-1]]
        hidden = [(row, column) for row in range(6) for column in range(6) if lines[row][column] == "?"]
        if len(environment.solution()) == 1 and len(hidden) == 6:
            yield seed, [(row + 1, column + 1) for row, column in hidden]


def puzzle(folder: Path) -> tuple[Row, bool]:
    """PPO on Minesweeper with one safe cell; another cell ends the game.

    The prompt is a letter for the board and its hidden cells, and the start model reveals any of them: one in six is right. Rewards
    teach which one.
    """
    chosen = dict(islice(boards(), BOARDS))
    asked = {
        seed: " ".join([chr(ord("a") + number), *(f"{row}{column}" for row, column in cells)])
        for number, (seed, cells) in enumerate(chosen.items())
    }
    draw = random.Random(0)
    hints: list[Row] = []
    for _ in range(400):
        for seed, cells in chosen.items():
            row, column = draw.choice(cells)
            hints.append({"prompt": asked[seed], "completion": f"reveal {row} {column}"})
    valid = write(folder / "puzzle-valid.jsonl", hints)
    model = start_model(folder / "puzzle-model", valid, valid, steps=(300, 150))
    task = Task(
        name="puzzle",
        rows=write(
            folder / "puzzle.jsonl",
            ({"prompt": question, "seed": seed, "task": "easy"} for seed, question in islice(asked.items(), REWARDED)),
        ),
        test=None,
        settings=PpoSettings(
            environment="gym:minesweeper",
            turns=1,
            unfinished="score",
            group_size=12,
            max_new_tokens=14,
            batch_texts=256,
            passes=2,
        ),
        steps=100,
        rate=4e-4,
        token_budget=1024,
        epochs=100,
    )
    return curves(folder, model, task, goal=0.9)


def tiers(folder: Path) -> tuple[Row, bool]:
    """`choose` signal against the order of the plan: groups with signal for each drawn token, on additions of 1, 2 and 3 digits.

    Digits are 1 to 4, so nothing is carried. The start model always adds one digit, adds two digits in three of ten answers, and
    gives random numbers for sums of three digits.
    """

    def rows(number: int, seed: int, shares: dict[int, float]) -> Iterator[Row]:
        draw = random.Random(seed)
        for _ in range(number):
            digits = draw.choice(list(shares))
            a, b = (int("".join(draw.choices("1234", k=digits))) for _ in range(2))
            total = a + b if draw.random() < shares[digits] else int("".join(draw.choices("2345678", k=digits)))
            yield {"prompt": f"{a}+{b}=", "completion": str(total), "tier": digits}

    right = write(folder / "tiers-right.jsonl", rows(8000, 0, {1: 1.0, 2: 1.0}))
    mixed = write(folder / "tiers-mixed.jsonl", rows(8000, 1, {1: 1.0, 2: 0.3, 3: 0.0}))
    model = start_model(folder / "tiers-model", right, mixed, steps=(1000, 300))
    task = Task(
        name="tiers",
        rows=write(folder / "tiers.jsonl", rows(4000, 2, {1: 1.0, 2: 1.0, 3: 1.0})),
        test=None,
        settings=GrpoSettings(reward="exact", group_size=8, max_new_tokens=8, batch_texts=256, prompts_per_step=8),
        steps=30,
        rate=1e-4,
        token_budget=1024,
        epochs=1,
    )
    found: Row = {}
    for seed in SEEDS:
        rates: dict[str, float] = {}
        for choose in ("plan", "signal"):
            name = f"tiers-{choose}-{seed}"
            settings = {"choose": "signal", "signal_field": "tier"} if choose == "signal" else {}
            lines = measured(rewarded(folder / name, model, task, seed, **settings))
            groups = sum(line["signal_share"] * line["answers"] / task.settings.group_size for line in lines)
            tokens = sum(line["answers"] * line["answer_tokens"] for line in lines)
            rates[choose] = 1000 * groups / tokens
            found[name] = {
                "groups": groups,
                "tokens": tokens,
                "signal_share": [line["signal_share"] for line in lines],
                "curve": successes(lines),
            }
            show(
                f"{name:<16} {groups:4.0f} groups with signal, {tokens:5.0f} tokens: {rates[choose]:.1f} a 1000 tokens"
            )
        found[f"tiers-ratio-{seed}"] = rates["signal"] / rates["plan"]
    ratios = [found[f"tiers-ratio-{seed}"] for seed in SEEDS]
    show(f"{'tiers':<16} signal / plan: {' '.join(f'{ratio:.2f}' for ratio in ratios)}")
    return found, min(ratios) >= 1.5


PARTS: dict[str, Callable[[Path], tuple[Row, bool]]] = {"copy": copying, "puzzle": puzzle, "tiers": tiers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=PARTS, action="append")
    given = parser.parse_args()
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    results = {name: PARTS[name](folder) for name in given.only or PARTS}
    (folder / "results.json").write_text(json.dumps({name: found for name, (found, _) in results.items()}, indent=1))
    failed = [name for name, (_, holds) in results.items() if not holds]
    show(f"does not hold: {', '.join(failed)}" if failed else "all claims hold")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
