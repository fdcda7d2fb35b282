"""Tables of rewards for `lazarus gym verify`."""

import json
from dataclasses import asdict
from pathlib import Path

from lazarus_core.console import show, show_table, warn


def show_rewards(tasks: Path, replies: Path, name: str, *, as_json: bool) -> None:
    """Prints the mean reward with its interval, by kind and in all.

    Args:
        tasks: File of tasks.
        replies: File of replies.
        name: Name of the reward.
        as_json: Whether JSON is printed.
    """
    from lazarus_gym.rewards import reward_replies
    from lazarus_gym.samples import read_replies, read_tasks

    rewards = reward_replies(read_tasks(tasks), read_replies(replies), name=name)
    if as_json:
        rows = {of: {"reward": each.mean, "n": each.n, "interval_95": each.interval} for of, each in rewards.items()}
        show(json.dumps(rows))
        return
    show_table(f"{'kind':<16}{'n':>8}{'reward':>10}   95 % interval")
    for of, each in rewards.items():
        low, high = each.interval
        show(f"{of:<16}{each.n:>8}{each.mean:>10.3f}   {low:.3f} to {high:.3f}")


def show_parts(rows: Path, replies: Path, file: Path, *, as_json: bool) -> None:
    """Prints the mean of each part of a file of rewards, and of their sum.

    Args:
        rows: File of rows.
        replies: File of replies.
        file: File of rewards.
        as_json: Whether JSON is printed.
    """
    from lazarus_gym.rewards import load_rewards, score_file

    with load_rewards(file) as reward:
        scores = score_file(rows, replies, reward)
    if scores.aborted:
        which, why = next(iter(scores.aborted.items()))
        warn(
            f"warning: {len(scores.aborted)} of {scores.n} verdicts were aborted and have no reward, such as {which!r}: {why}"
        )
    if as_json:
        means = {name: asdict(each) for name, each in scores.means.items()}
        show(json.dumps({"n": scores.n, "means": means, "aborted": scores.aborted}))
        return
    show_table(f"{'part':<16}{'weight':>8}{'n':>8}{'mean':>10}")
    for name, each in scores.means.items():
        weight = "" if name == "reward" else f"{each.weight:g}"
        show(f"{name:<16}{weight:>8}{each.n:>8}{'' if each.mean is None else f'{each.mean:.3f}':>10}")
