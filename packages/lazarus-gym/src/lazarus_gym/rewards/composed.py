"""A reward composed of weighted parts: `score` gives a verdict for each answer of a batch, with every part apart."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from lazarus_gym.errors import EnvironmentUseError, RewardError
from lazarus_gym.interface import AnswerLike
from lazarus_gym.jail import Jail, JailConfig, JailResult
from lazarus_gym.rewards import parts
from lazarus_gym.rewards.settings import EnvironmentPart, FunctionPart, Part, RegexPart, RewardFile
from lazarus_gym.rewards.verdicts import RewardVerdict

_PATTERNS = "inside.patterns:matches"
_PLAIN: Mapping[str, Callable[[Any, str, Mapping[str, Any]], float]] = {
    "number": parts.number_value,
    "exact": parts.exact_value,
    "gsm8k": parts.gsm8k_value,
    "format": parts.format_value,
    "length": parts.length_value,
}


class _Value(NamedTuple):
    """The value of a part, or None and the reason."""

    value: float | None
    reason: str = ""


def _sources(folder: Path, modules: Sequence[str]) -> Iterator[Path]:
    """The files of modules that lie in a folder, each once."""
    for module in dict.fromkeys(modules):
        path = folder.joinpath(*module.split("."))
        yield from [each for each in (path / "__init__.py", path.with_name(f"{path.name}.py")) if each.is_file()][:1]


class ComposedReward:
    """Weighted parts.

    >>> from lazarus_gym.rewards import Answer, ComposedReward, RewardFile
    >>> file = RewardFile.model_validate(
    ...     {"rewards": {"right": {"type": "number"}, "short": {"type": "length", "most": 10, "weight": 0.5}}}
    ... )
    >>> with ComposedReward(file) as reward:
    ...     reward.score([Answer("What is 1 + 1?", "It is 2.", {"answer": 2})])
    [RewardVerdict(reward=1.5, parts={'right': 1.0, 'short': 1.0}, status='ok', reason='')]

    Args:
        file: Parts, weights and limits.
        folder: Folder in which modules of functions are looked for first; None for the usual path alone.
        python: Python for functions; None for the one that runs.
    """

    def __init__(self, file: RewardFile, folder: Path | None = None, python: Path | None = None) -> None:
        self.parts: Mapping[str, Part] = file.rewards
        targets = {name: part.function for name, part in self.parts.items() if isinstance(part, FunctionPart)}
        if any(isinstance(part, RegexPart) for part in self.parts.values()):
            targets["regex:"] = _PATTERNS  # no name of a part clashes with it: they hold no colon
        limits: dict[str, Any] = file.jail.model_dump() | {"path": () if folder is None else (folder,)}
        if python is not None:
            limits["python"] = python
        self.jail = Jail(targets, JailConfig(**limits)) if targets else None
        """The worker of `regex` and `function`; None where no part needs it."""
        modules = [part.function.partition(":")[0] for part in self.parts.values() if isinstance(part, FunctionPart)]
        self.files: tuple[Path, ...] = () if folder is None else tuple(_sources(folder, modules))
        """Files of the functions that lie in the folder. A trainer records their digests with that of the file of rewards."""

    def __enter__(self) -> "ComposedReward":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker. A later `score` starts another one."""
        if self.jail is not None:
            self.jail.close()

    def score(self, batch: Sequence[AnswerLike]) -> list[RewardVerdict]:
        """One verdict for each answer, in the same order.

        Args:
            batch: Objects with `prompt`, `completion` and `row`, such as `Answer`.

        Raises:
            RewardError: A row lacks the right answer (LG-E124).
            EnvironmentUseError: There is no such environment or task (LG-E130, LG-E131).
            JailError: A function cannot be loaded (LG-E133), or a row of it is not JSON (LG-E134).
        """
        verdicts: list[RewardVerdict] = []
        for each in batch:
            try:
                verdicts.append(self._verdict(each))
            except (RewardError, EnvironmentUseError) as error:
                error.args = (f"{_named(each)}: {error.message}",)
                raise
        return verdicts

    def _verdict(self, answer: AnswerLike) -> RewardVerdict:
        values: dict[str, float] = {}
        total = 0.0
        reason = ""
        for name, part in self.parts.items():
            found = self._value(name, part, answer)
            if found.value is None:
                reason = reason or f"{name}: {found.reason}"
                continue
            values[name] = found.value
            total += part.weight * found.value
        if reason:
            return RewardVerdict(None, values, "aborted", reason)
        return RewardVerdict(total, values)

    def _value(self, name: str, part: Part, answer: AnswerLike) -> _Value:
        match part:
            case RegexPart():
                assert self.jail is not None
                return _number(self.jail.call("regex:", part.pattern, answer.completion, part.whole))
            case EnvironmentPart():
                from lazarus_gym.rewards.episodes import episode_value

                return _number(episode_value(part, answer.completion, answer.row))
            case FunctionPart():
                assert self.jail is not None
                prompt = answer.prompt if isinstance(answer.prompt, str) else [dict(each) for each in answer.prompt]
                return _number(
                    self.jail.call(name, prompt, answer.completion, dict(answer.row), answer=answer.completion)
                )
            case _:
                return _Value(_PLAIN[part.type](part, answer.completion, answer.row))


def _named(answer: AnswerLike) -> str:
    """The row of an answer in words: its id, or else its question."""
    name = answer.row.get("id")
    if isinstance(name, str | int):
        return f"row {name!r:.80}"
    asked = (
        answer.prompt if isinstance(answer.prompt, str) else answer.prompt[-1].get("content") if answer.prompt else ""
    )
    return f"row of the question {asked!r:.80}"


def _number(result: JailResult) -> _Value:
    """The value of a call; one that is no number from 0 to 1 aborts the verdict."""
    value = result.value
    if result.status == "aborted":
        return _Value(None, result.reason)
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        return _Value(None, f"gave {value!r:.80}, not a number from 0 to 1")
    return _Value(float(value))
