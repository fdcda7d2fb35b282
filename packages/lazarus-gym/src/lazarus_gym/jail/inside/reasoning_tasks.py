"""The tasks of reasoning-gym, as functions of the worker: names, items and scores."""

import importlib
from functools import lru_cache
from typing import Any

SIZE = 64
"""Items of a data set. Item i is the same in every size."""
_COMPOSITE = "composite"
"""A data set of data sets, which needs a configuration."""


def names() -> list[str]:
    """Names of the data sets, sorted."""
    factory: Any = importlib.import_module("reasoning_gym.factory")
    return sorted(name for name in factory.DATASETS if name != _COMPOSITE)


def item(name: str, seed: int, index: int) -> dict[str, Any]:
    """The question of an item and the data set's own answer.

    Args:
        name: Name of the data set.
        seed: Its seed.
        index: Place of the item, below `SIZE`.
    """
    entry = _entry(name, seed, index)
    return _shown(entry) | {"solutions": None, "wrong": {}}


def score(name: str, seed: int, index: int, answer: str) -> float:
    """What the data set's verifier pays for an answer.

    Args:
        name: Name of the data set.
        seed: Its seed.
        index: Place of the item.
        answer: The answer.
    """
    return float(_data_set(name, seed).score_answer(answer, _entry(name, seed, index)))


def fresh_items(name: str, seed: int, indices: list[int]) -> list[dict[str, Any]]:
    """Items of a new data set, made in the given order.

    Args:
        name: Name of the data set.
        seed: Its seed.
        indices: Places of the items.
    """
    found = _made(name, seed)
    return [_shown(found[index]) for index in indices]


def _shown(entry: Any) -> dict[str, Any]:
    """Question and answer. Five data sets have None for an answer, since many answers are right."""
    answer = entry["answer"]
    return {"question": str(entry["question"]), "answer": "" if answer is None else str(answer)}


def _made(name: str, seed: int) -> Any:
    package: Any = importlib.import_module("reasoning_gym")
    return package.create_dataset(name, seed=seed, size=SIZE)


@lru_cache(maxsize=8)
def _data_set(name: str, seed: int) -> Any:
    return _made(name, seed)


@lru_cache(maxsize=512)
def _entry(name: str, seed: int, index: int) -> Any:
    return _data_set(name, seed)[index]
