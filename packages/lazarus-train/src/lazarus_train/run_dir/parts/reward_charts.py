"""Charts of runs that learn from rewards, and the runs with random rewards beside them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lazarus_train.run_dir.layout import CONTROL, RunFolder
from lazarus_train.run_dir.metrics import JSON, read_lines
from lazarus_train.run_dir.reader import RunRecord

_ANSWERS = "Over the answers of a step."
_BEFORE = (("Reward", "reward", "reward an answer", "Mean over the whole answers of a step, by the verifier."),)
_AFTER = (
    ("Groups with signal", "signal_share", "share of groups", "Groups whose rewards differ; the others teach nothing."),
    (
        "Signal for its cost",
        "signals_per_1k_tokens",
        "groups in 1,000 tokens",
        "Groups with signal for each 1,000 drawn tokens.",
    ),
    ("Entropy", "entropy", "nats a token", "Of the distributions that the trained answers were drawn from."),
    ("Length", "answer_tokens", "tokens an answer", _ANSWERS),
    ("Clipped tokens", "clip_share", "share of tokens", "Tokens whose ratio of probabilities is clipped."),
    (
        "Divergence",
        "kl",
        "nats a token",
        "Estimate of the divergence from the reference, or for PPO from the model that drew.",
    ),
    (
        "Cut answers",
        "truncated_share",
        "share of answers",
        "Answers that reached the largest length; they are not trained on.",
    ),
    ("Rejected answers", "rejected_share", "share of answers", "Answers without a reward; they are not trained on."),
    (
        "Generating and training pass",
        "engine_gap",
        "largest difference",
        "Largest difference of a log-probability between the two passes, over the whole vocabulary.",
    ),
    ("Drawing speed", "drawn_tokens_per_s", "tokens a second", "Tokens that the model draws."),
    ("Training speed", "trained_tokens_per_s", "tokens a second", "Drawn tokens that are trained on."),
)
HELD_OUT = ("reward", "reward an answer")
"""Metric of held-out sets, and its unit: the mean reward of greedy answers."""


def with_controls(paths: Sequence[Path]) -> list[Path]:
    """The runs, each followed by the run with random rewards in its folder, if there is one with a step.

    Args:
        paths: Folders of runs.
    """
    found: list[Path] = []
    for path in paths:
        control = path / CONTROL
        found.append(path)
        if control not in paths and any("loss" in line for line in read_lines(RunFolder(control).metrics)):
            found.append(control)
    return found


def reward_charts(
    runs: Sequence[RunRecord], sets: Iterable[str]
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Charts before and after that of the loss: title, metric, unit, text, and name of the held-out set if any.

    Args:
        runs: The runs; runs of other objectives have no such charts.
        sets: Names of the held-out sets.
    """
    if not any("reward" in line for run in runs for line in run.metrics[:2]):
        return [], []
    name, unit = HELD_OUT
    text = "Mean reward of greedy answers to held-out prompts."
    held_out = [(f"Held-out reward of {each}", f"eval_{name}", unit, text, each) for each in sets]
    parts = sorted({key for run in runs for line in run.metrics for key in line if key.startswith("reward_")})
    of_parts = [(f"Reward: {key.removeprefix('reward_')}", key, unit, "This part alone.") for key in parts]
    return [*_BEFORE, *held_out, *of_parts], list(_AFTER)


def reward_json(run: RunRecord) -> JSON:
    """First and last reward of a run and of its held-out sets; empty for other objectives."""
    rewards = run.curve(HELD_OUT[0])[1]
    if not len(rewards):
        return {}
    held_out = {name: run.curve(f"eval_{HELD_OUT[0]}", name)[1].tolist() for name in run.eval_sets}
    return {"first_reward": float(rewards[0]), "last_reward": float(rewards[-1]), "held_out_rewards": held_out}
