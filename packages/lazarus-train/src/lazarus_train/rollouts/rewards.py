"""Rewards of answers: the protocol, and the rewards that a name, a file or a function stands for.

This package defines what a reward looks like and imports no package that computes one. A reward of another package is an
entry point of the group `lazarus.scorers`:

    [project.entry-points."lazarus.scorers"]
    gsm8k = "toy_package:Gsm8kReward"       # a class or function without arguments; its result has `score`
    toml = "toy_package:load_rewards"       # called with the path of a file that ends in `.toml`
"""

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from lazarus_core.errors import LazarusError
from lazarus_core.plugins import PluginGroup, near_name, reason
from lazarus_train.errors import SetupError

GROUP = "lazarus.scorers"
"""Entry-point group of rewards."""
EXACT = "exact"
"""The reward of this package: 1 if the answer equals the row's own, without white space at both ends, else 0."""
OK = "ok"
"""Status of a verdict whose reward may be trained on."""


@dataclass(frozen=True)
class Answer:
    """An answer of the model.

    Args:
        prompt: Text of the prompt, as the model read it.
        completion: Text of the answer, without special tokens.
        row: The row of the data, with every field.
        reference: The answer of the row, without special tokens; None if it has none.
    """

    prompt: str
    completion: str
    row: Mapping[str, Any]
    reference: str | None = None


@dataclass(frozen=True)
class Verdict:
    """The reward of one answer.

    Args:
        reward: The reward; None if there is none, for example because the verifier timed out.
        parts: Components of the reward by name; they are logged separately.
        status: `ok`, or why the reward may not be trained on.
    """

    reward: float | None
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    status: str = OK


class Reward(Protocol):
    """Computes rewards. Any object with this method is one; its verdicts need only the three fields of `Verdict`.

    The reward of a `.toml` file may have an attribute `files`, the paths of further files that it is read from: a run records their
    digests with that of the `.toml` file.
    """

    def score(self, answers: Sequence[Any]) -> Sequence[Any]:
        """One verdict for each answer, in their order.

        Args:
            answers: Objects with the fields of `Answer`.
        """
        ...


class ExactReward:
    """1 if an answer equals the answer of its row, without white space at both ends, else 0."""

    def score(self, answers: Sequence[Answer]) -> list[Verdict]:
        """One verdict for each answer."""
        return [self._verdict(each) for each in answers]

    def _verdict(self, answer: Answer) -> Verdict:
        if answer.reference is None:
            return Verdict(None, status="the row has no answer")
        return Verdict(float(answer.completion.strip() == answer.reference.strip()))


class FunctionReward:
    """The reward of a Python function. An exception, or a result that is no number, is an aborted verdict.

    Args:
        function: Called with `prompt`, `completion` and `row`. Returns a number, a mapping of named numbers, which are
            added, or None for an answer without a reward.
        name: Name for messages.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self._name = name

    def score(self, answers: Sequence[Answer]) -> list[Verdict]:
        """One verdict for each answer."""
        return [self._verdict(each) for each in answers]

    def _verdict(self, answer: Answer) -> Verdict:
        try:
            found = self._function(prompt=answer.prompt, completion=answer.completion, row=answer.row)
        except Exception as error:  # noqa: BLE001 (code of the user; the status names the exception)
            return Verdict(None, status=f"{self._name} raised {type(error).__name__}")
        if found is None:
            return Verdict(None, status="no reward")
        try:
            if isinstance(found, Mapping):
                parts = {str(name): float(value) for name, value in cast("Mapping[Any, Any]", found).items()}
                return Verdict(sum(parts.values()), parts)
            return Verdict(float(found))
        except (TypeError, ValueError, OverflowError):
            return Verdict(None, status=f"{self._name} gave no number")


def load_reward(name: str, folder: str = "") -> Reward:
    """The reward that a setting names.

    Args:
        name: `exact`, the name of an installed reward, a file that ends in `.toml`, or `MODULE:FUNCTION`.
        folder: Folder in which a module is looked for first, and where a relative path begins; by default the working
            directory.

    Raises:
        SetupError: There is no such reward, or it has no method `score`.
    """
    if name == EXACT:
        return ExactReward()
    is_file, path = name.lower().endswith(".toml"), Path(folder, name)
    if ":" in name and not is_file:
        return _of_function(name, folder)
    if is_file and not path.is_file():
        raise SetupError(f"`reward` {path} does not exist: correct the path", "LR-E250")
    kind = "toml" if is_file else name
    plugin = PluginGroup(
        GROUP, "reward", "a callable whose result has a method `score`", callable, SetupError, "LR-E251"
    ).load(kind)
    if plugin is None:
        known = sorted({EXACT, *(entry.name for entry in entry_points(group=GROUP) if entry.name != "toml")})
        way = (
            "install lazarus-gym to read rewards from a file" if is_file else "or install the package that provides it"
        )
        raise SetupError(
            f"there is no reward {kind!r}{near_name(kind, known)}; there are {', '.join(known)}. Give one of them, "
            f"a .toml file or MODULE:FUNCTION, {way}",
            "LR-E250",
        )
    reward = plugin.value(path) if is_file else plugin.value()
    if not callable(getattr(reward, "score", None)):
        raise SetupError(f"`reward` {name} has no method `score`", "LR-E251")
    return reward


def _of_function(name: str, folder: str) -> Reward:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, folder)  # a console script does not look into the working directory, as `python -m` does
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # an import runs code of the user
        why = str(error) if isinstance(error, ImportError | AttributeError) else reason(error)
        raise SetupError(
            f"`reward` {name} cannot be imported ({why}): give MODULE:FUNCTION from the working directory or an "
            "installed package",
            "LR-E250",
        ) from error
    finally:
        sys.path.remove(folder)
    if callable(getattr(found, "score", None)):
        return cast("Reward", found)
    if not callable(found):
        raise SetupError(f"`reward` {name} is no function and has no method `score`", "LR-E251")
    _check_arguments(found, name)
    return FunctionReward(found, name)


def _check_arguments(function: Callable[..., Any], name: str) -> None:
    """Refuses a function that every call would fail in. Some functions of C have no signature."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(prompt="", completion="", row={})
    except TypeError as error:
        raise SetupError(
            f"`reward` {name} cannot be called ({error}): give a function of `prompt`, `completion` and `row`",
            "LR-E251",
        ) from error


def verdicts_of(reward: Reward, answers: Sequence[Answer]) -> list[Verdict]:
    """The verdicts of a reward, checked.

    Args:
        reward: The reward.
        answers: The answers, one or more.

    Raises:
        SetupError: It failed, or its result has another form.
    """
    try:
        return checked(reward.score(answers), len(answers))
    except LazarusError:
        raise
    except Exception as error:  # code of another package
        raise SetupError(
            f"`reward` failed ({reason(error)}): its method `score` takes a list of answers and gives for each an object with "
            "`reward`, `parts` and `status`",
            "LR-E251",
        ) from error


def checked(verdicts: Sequence[Any], count: int) -> list[Verdict]:
    """Verdicts of a reward as this package's class; a reward that is not finite is none.

    Args:
        verdicts: Result of `Reward.score`.
        count: Number of answers.

    Raises:
        SetupError: Their number differs from the number of answers.
    """
    if len(verdicts) != count:
        raise SetupError(f"`reward` gave {len(verdicts)} verdicts for {count} answers", "LR-E251")
    return [_checked(each) for each in verdicts]


def _checked(verdict: Any) -> Verdict:
    reward, parts, status = verdict.reward, dict(verdict.parts), str(verdict.status)
    numbers = [*parts.values(), *(() if reward is None else (reward,))]
    if not all(math.isfinite(float(each)) for each in numbers):
        return Verdict(None, {}, "not finite")
    reward = None if reward is None or status != OK else float(reward)
    return Verdict(
        reward,
        {str(name): float(each) for name, each in parts.items()},
        status if reward is not None or status != OK else "no reward",
    )
