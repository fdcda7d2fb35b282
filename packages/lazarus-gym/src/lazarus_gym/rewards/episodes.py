"""The reward of an episode in an environment, from the text of a completion."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from lazarus_gym.environments import GAMES, make_environment
from lazarus_gym.errors import RewardError
from lazarus_gym.jail import JailResult
from lazarus_gym.rewards.parts import inside_tag
from lazarus_gym.rewards.settings import EnvironmentPart

MAX_ACTIONS = 1000
"""Lines of a completion that are played."""


def episode_value(part: EnvironmentPart, completion: str, row: Mapping[str, Any]) -> JailResult:
    """The reward of an episode, from 0 to 1, or why it was aborted.

    Args:
        part: The settings.
        completion: Text of the reply: an action a line for a game, an answer for a question.
        row: The row with `seed`, and `environment` and `task` where the settings have none.

    Raises:
        RewardError: The row lacks one of them (LG-E124).
        EnvironmentUseError: There is no such environment or task (LG-E130, LG-E131).
        JailError: The worker of reasoning-gym cannot start (LG-E133).
    """
    name = part.environment or _text(row, "environment")
    seed = row.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise RewardError(f"the row has no whole number in `seed`, but {seed!r:.80}: correct the data", "LG-E124")
    task = part.task or (_text(row, "task") if row.get("task") is not None else None)
    text = completion if part.tag is None else inside_tag(completion, part.tag)
    if text is None:
        return JailResult("ok", 0.0)
    environment = _environment(name, part.python)
    environment.reset(seed=seed, task=task)
    total = 0.0
    for action in islice(text.split("\n"), MAX_ACTIONS) if name in GAMES else (text.strip(),):
        if name in GAMES and not action.strip():
            continue
        step = environment.step(action)
        if step.info.get("status") == "aborted":
            return JailResult("aborted", reason=str(step.info["reason"]))
        total += step.reward
        if step.done or step.truncated:
            break
    return JailResult("ok", total)


@lru_cache(maxsize=256)
def _environment(name: str, python: Path | None) -> Any:
    return make_environment(name, python=python)


def _text(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise RewardError(f"the row has no text in `{field}`, but {value!r:.80}: correct the data", "LG-E124")
    return value
