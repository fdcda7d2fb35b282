"""What a test module asks of the suite: whether the run is thorough, and what the default run takes of a long list."""

import contextlib
import fcntl
import os
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

FAMILIES = (
    *("gemma3_text", "gpt_oss", "granite", "granitemoe", "granitemoehybrid", "jamba", "llama", "llama3-rope"),
    *("llama4_text", "mamba", "mistral", "mixtral", "olmoe", "qwen3", "starcoder2"),
)
"""Small trained models of the real inputs, in `models/families`."""
KINDS_OF_FAMILIES = ("gemma3_text", "gpt_oss", "granitemoehybrid", "llama", "mamba", "mixtral")
"""One family with each kind of block: sliding windows, sinks and experts, state and attention, plain, state, experts."""
DIFFERS_ON_A_GPU = (
    "between a CPU and a GPU the last bits of every result differ, so tests that compare bits with stored files fail there, and tests "
    "that tell of a CPU are skipped; within one device bits are equal from run to run"
)
"""What a run of the suite on a GPU may find."""
PROFILE = "HYPOTHESIS_PROFILE"
"""The variable that chooses a run: `default` or `thorough`. `pytest --thorough` sets it."""
DEFAULT_EXAMPLES = 25
"""Hypothesis examples of a property in the default run; 100 in a thorough one."""


@contextlib.contextmanager
def alone(name: str) -> Generator[None]:
    """Lets one worker at a time do what has this name, as filling a cache of the whole machine.

    Runs of several clones share the lock, wherever their temporary files are.
    """
    with Path(f"/tmp/lazarus-tests-{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


DATA = Path(os.environ.get("LAZARUS_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
"""Real models, tokenizers and data: beside the repository, or where LAZARUS_TEST_DATA says. Tests without them are skipped."""


def is_thorough() -> bool:
    """Whether every test, step and example runs."""
    return os.environ.get(PROFILE) == "thorough"


def examples(thorough: int) -> int:
    """The number of Hypothesis examples of a property whose thorough number is not 100."""
    return thorough if is_thorough() else max(5, thorough * DEFAULT_EXAMPLES // 100)


def chosen(every: Sequence[Any]) -> Sequence[Any]:
    """The elements that a law is tried on: all in a thorough run, else the first, the middle and the last."""
    if is_thorough() or len(every) <= 3:
        return every
    return [every[0], every[len(every) // 2], every[-1]]


def share(every: Sequence[Any], parts: int, place: int = 0) -> Sequence[Any]:
    """Every `parts`-th element, from the `place`-th on; all in a thorough run.

    Args:
        every: What a test loops over.
        parts: How many calls with other places take all of it together.
        place: Which part; a number of the parameter, so that the parameters of a test share the list out.
    """
    return every if is_thorough() else every[place % parts :: parts]


def repeats(thorough: int, default: int) -> int:
    """How often a test with a random generator repeats what it does."""
    return thorough if is_thorough() else default


def every_nth(every: Iterable[Any], parts: int) -> list[Any]:
    """Parameters of a test, of which each `parts`-th is of the default run and the others are of thorough runs only."""
    return thinned(values := list(every), values[::parts])


def thinned(every: Iterable[Any], keep: Sequence[Any]) -> list[Any]:
    """Parameters of a test, those not in `keep` marked for thorough runs only.

    Args:
        every: All parameters, for `pytest.mark.parametrize`; tuples where it has several names.
        keep: Those of the default run.
    """
    every = list(every)
    assert not [value for value in keep if value not in every], "each is one of all"
    return [
        value if value in keep else pytest.param(*parts, marks=pytest.mark.thorough)
        for value in every
        for parts in [value if isinstance(value, tuple) else (value,)]
    ]
