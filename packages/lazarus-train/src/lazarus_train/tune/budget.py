"""What a training run will take: tokens, steps, epochs, time, memory and disk, before anything is trained.

N = parameters, D = tokens. Tokens: 20 N (Hoffmann et al. 2022, arXiv 2203.15556). Operations: 6 N D (Kaplan et al. 2020,
arXiv 2001.08361). Steps: D by the tokens of a step, rounded up. Epochs: D by the tokens of the data; up to four are
almost as good as new data (Muennighoff et al. 2023, arXiv 2305.16264). Time: D by the measured tokens a second.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazarus_core.console import duration
from lazarus_models import ModelConfig
from lazarus_models.families import family_of
from lazarus_models.trees import flatten
from lazarus_plan import load_plan
from lazarus_train.callbacks.reports import MemoryEstimate, mib
from lazarus_train.config import OptimizerSettings, TrainConfig
from lazarus_train.devices import device_policy
from lazarus_train.engine.resources.memory import SPARE, StepShape, estimate_memory, memory_limit, moments_per_parameter
from lazarus_train.errors import SetupError

TOKENS_PER_PARAMETER = 20.0
"""Tokens a parameter at which a budget of operations gives the lowest loss (Hoffmann et al. 2022)."""
GOOD_EPOCHS = 4.0
"""Passes over the same data that are almost as good as new data (Muennighoff et al. 2023)."""
_FLOAT = 4
_LOG_BYTES = 440
"""Bytes of metrics, throughput and audit log a step: 433 in a run of 480 steps."""
_NIGHT_S = 8 * 3600
_COUNT = re.compile(r"(\d[\d_]{0,30}(?:\.\d{1,30})?(?:e\d{1,2})?)([kmbgt]?)", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
_MAX_COUNT = 10**18


@dataclass(frozen=True)
class Length:
    """How long a run is.

    Args:
        tokens: Real tokens of the run.
        tokens_per_step: Tokens of a step, padding included.
        steps: Optimizer steps.
        data_tokens: Tokens of the data; None if unknown.
    """

    tokens: int
    tokens_per_step: int
    steps: int
    data_tokens: int | None

    @classmethod
    def of(cls, tokens: int, tokens_per_step: int, data_tokens: int | None = None) -> "Length":
        """The length of a run of full steps.

        >>> Length.of(461_440_000, 8192).steps
        56329

        Args:
            tokens: Tokens of the run.
            tokens_per_step: Tokens of a step.
            data_tokens: Tokens of the data; None if unknown.
        """
        return cls(tokens, tokens_per_step, math.ceil(tokens / tokens_per_step), data_tokens)

    @property
    def epochs(self) -> float | None:
        """Passes over the data; None if its tokens are unknown."""
        return None if self.data_tokens is None else self.tokens / self.data_tokens


def chinchilla_tokens(parameters: int, tokens_per_parameter: float = TOKENS_PER_PARAMETER) -> int:
    """Tokens for a number of parameters.

    >>> [chinchilla_tokens(each) for each in (9_438_336, 83_898_880)]
    [188766720, 1677977600]

    Args:
        parameters: N.
        tokens_per_parameter: Tokens for each.
    """
    return round(parameters * tokens_per_parameter)


@dataclass(frozen=True)
class Speed:
    """Tokens a second of training, and where the number is from.

    Args:
        tokens_per_s: Real tokens a second.
        source: Origin in words.
    """

    tokens_per_s: float
    source: str


@dataclass(frozen=True)
class Disk:
    """Bytes on disk at the end of a run, and at most during it.

    Args:
        checkpoint: One checkpoint: weights and moments.
        kept: Checkpoints that are kept: the newest ones, and the best.
        model: A model in float32.
        models: Models in the folder: the trained one, and the first one if the run creates it.
        logs: Metrics, throughput and audit log.
    """

    checkpoint: int
    kept: int
    model: int
    models: int
    logs: int

    @property
    def total(self) -> int:
        """At the end of the run."""
        return self.kept * self.checkpoint + self.models * self.model + self.logs

    @property
    def most(self) -> int:
        """At most: a new checkpoint is complete before an old one is removed."""
        return self.total + self.checkpoint


def disk_of(parameters: int, length: Length, kept: int, optimizer: OptimizerSettings, *, is_fresh: bool) -> Disk:
    """Disk space of a run that trains all weights in float32.

    Args:
        parameters: N.
        length: Length of the run.
        kept: Checkpoints that are kept, the best one included.
        optimizer: The optimizer; its moments are part of a checkpoint.
        is_fresh: Whether the run creates its first model.
    """
    weights = _FLOAT * parameters
    checkpoint = weights + round(weights * moments_per_parameter(optimizer))
    return Disk(checkpoint, kept, weights, 1 + is_fresh, _LOG_BYTES * length.steps)


def memory_of(config: ModelConfig, shape: StepShape, optimizer: OptimizerSettings) -> MemoryEstimate:
    """Estimated peak memory of a run on this machine that trains all weights in float32: as many rows at once as fit.

    Args:
        config: The model.
        shape: Rows of a step, and their length.
        optimizer: The optimizer.
    """
    model = family_of(config.model_type).build(config)  # its arrays are never computed
    nowhere = Path("nowhere")
    settings = TrainConfig(model=nowhere, data=nowhere, batch_plan=nowhere, output=nowhere, optimizer=optimizer)
    weights = sum(_FLOAT * array.size for array in flatten(model.parameters()).values())
    policy, limit, rows = device_policy(weights), SPARE * memory_limit(), shape.rows
    while True:
        found = estimate_memory(model, settings, policy, shape, rows)
        found = MemoryEstimate(
            **{**vars(found), "resident": found.resident + found.weights}
        )  # weights are not loaded here
        if found.total <= limit or rows == 1:
            return found
        rows = (rows + 1) // 2


@dataclass(frozen=True)
class Budget:
    """What a run takes.

    Args:
        shape: The model in words.
        parameters: N.
        length: Tokens, steps and epochs.
        row_len: Tokens a row.
        speed: Tokens a second.
        memory: Peak memory.
        memory_limit: Memory that a process of this machine may take, in bytes.
        disk: Disk space.
    """

    shape: str
    parameters: int
    length: Length
    row_len: int
    speed: Speed
    memory: MemoryEstimate
    memory_limit: int
    disk: Disk

    @property
    def flops(self) -> int:
        """Operations of forward and backward passes, 6 N D."""
        return 6 * self.parameters * self.length.tokens

    @property
    def seconds(self) -> float:
        """Seconds of all steps, without measurements and checkpoints."""
        return self.length.tokens / self.speed.tokens_per_s

    @property
    def fits(self) -> bool:
        """Whether the peak fits this machine."""
        return self.memory.total <= SPARE * self.memory_limit

    def notes(self) -> list[str]:
        """What is unusual about the run, one line each."""
        found: list[str] = []
        per_parameter, epochs = self.length.tokens / self.parameters, self.length.epochs
        if epochs is not None and epochs > GOOD_EPOCHS:
            found.append(
                f"{epochs:.1f} epochs: beyond {GOOD_EPOCHS:.0f}, repeated data is worth less than new data (Muennighoff et al. 2023)"
            )
        if per_parameter < TOKENS_PER_PARAMETER / 2:
            found.append(
                f"{per_parameter:.1f} tokens a parameter: a smaller model on more tokens has a lower loss for the same operations "
                "(Hoffmann et al. 2022)"
            )
        if not self.fits:
            found.append(
                f"the run needs more than {SPARE:.0%} of the {mib(self.memory_limit)} MiB that a process of this machine may take: "
                "take a smaller model, shorter rows or another machine"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """All figures; times in seconds, sizes in bytes."""
        length, memory, disk = self.length, self.memory, self.disk
        return {
            "shape": self.shape,
            "parameters": self.parameters,
            "tokens": length.tokens,
            "tokens_per_parameter": round(length.tokens / self.parameters, 3),
            "flops": self.flops,
            "tokens_per_step": length.tokens_per_step,
            "row_len": self.row_len,
            "steps": length.steps,
            "data_tokens": length.data_tokens,
            "epochs": None if length.epochs is None else round(length.epochs, 4),
            "tokens_per_s": round(self.speed.tokens_per_s, 1),
            "speed_source": self.speed.source,
            "seconds": round(self.seconds, 1),
            "memory": {**vars(memory), "total": memory.total, "limit": self.memory_limit, "fits": self.fits},
            "disk": {**vars(disk), "total": disk.total, "most": disk.most},
            "notes": self.notes(),
        }

    def lines(self) -> list[str]:
        """The figures as a table of two columns, then the notes."""
        length, disk, speed = self.length, self.disk, self.speed
        epochs = "unknown: give the tokens of the data"
        if length.epochs is not None:
            epochs = f"{length.epochs:.2f} of {length.data_tokens:,} tokens"
        night = round(speed.tokens_per_s * _NIGHT_S)
        rows = {
            "model": f"{self.shape}: {self.parameters:,} parameters",
            "tokens": f"{length.tokens:,}, {length.tokens / self.parameters:.1f} a parameter",
            "operations": f"{self.flops:.3g} FLOPs (6ND)",
            "steps": f"{length.steps:,} of {length.tokens_per_step:,} tokens, in rows of {self.row_len:,}",
            "epochs": epochs,
            "speed": f"{speed.tokens_per_s:,.0f} tokens/s, {speed.source}",
            "time": f"{duration(self.seconds)} of steps",
            "in 8 hours": f"{night:,} tokens, {night // length.tokens_per_step:,} steps",
            "memory": f"{self.memory.in_words()}; a process here may take {mib(self.memory_limit)} MiB",
            "disk": f"{mib(disk.total)} MiB, at most {mib(disk.most)}: {disk.kept} checkpoints of {mib(disk.checkpoint)}, "
            f"{disk.models} model{'s' if disk.models > 1 else ''} of {mib(disk.model)}, logs {mib(disk.logs)}",
        }
        table = [f"{name:<12}{text}" for name, text in rows.items()]
        return [*table, *(f"note: {line}" for line in self.notes())]


def length_of_plan(path: Path, data_tokens: int | None) -> tuple[Length, int]:
    """The length of a run that follows a plan, and the tokens of a row.

    Args:
        path: The plan.
        data_tokens: Tokens of the data; None takes the mean tokens of an epoch of the plan.
    """
    plan = load_plan(path)
    tokens = int((plan.end - plan.start).sum())
    epochs = plan.metadata.config.epochs
    own = data_tokens if data_tokens is not None else max(1, round(tokens / epochs))
    whole_rows = plan.metadata.config.token_budget // plan.row_len * plan.row_len
    return Length(tokens, whole_rows, len(plan), own), plan.row_len


def read_count(text: str, name: str) -> int:
    """A number of parameters or tokens.

    >>> [read_count(each, "tokens") for each in ("23M", "1.5B", "460k", "2e9", "1_000")]
    [23000000, 1500000000, 460000, 2000000000, 1000]

    Args:
        text: The number, with k, M, B or T.
        name: Name of the setting, for the message.

    Raises:
        SetupError: The text is no number from 1 to 1e18.
    """
    found = _COUNT.fullmatch(text.strip())
    value = 0.0 if found is None else float(found[1].replace("_", "")) * _UNITS[found[2].lower()]
    if not 1 <= value <= _MAX_COUNT:
        raise SetupError(
            f"`{name}` {text!r} is not a number from 1 to 1e18: give one such as 23M, 1.5B or 460k", "LR-E285"
        )
    return round(value)
