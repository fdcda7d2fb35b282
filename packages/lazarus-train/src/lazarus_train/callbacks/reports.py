"""What a run reports while it trains: memory, steps, held-out losses."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

_LARGEST_EXPONENT = math.log(sys.float_info.max)
_Z = 1.96
"""Standard deviations of a normal distribution on either side that hold 95 % of it."""


@dataclass(frozen=True)
class StepReport:
    """One finished step.

    Args:
        step: Steps done, this one included.
        loss: Mean over the units of the whole step: nats a label token, a pair's or a sample's loss.
        metrics: Means of what the objective tells beside it.
        rate: Learning rate of the update.
        norm: Global gradient norm before clipping.
        tokens: Real tokens of the step; padding does not count.
        seconds: From the first row to the updated weights.
        epochs: Tokens trained on since the run began, as a multiple of those of the data (equivalent epochs).
    """

    step: int
    loss: float
    metrics: Mapping[str, float]
    rate: float
    norm: float
    tokens: int
    seconds: float
    epochs: float


@dataclass(frozen=True)
class HeldOut:
    """What a model makes of rows it was not trained on.

    Args:
        unit: What the loss is a mean over.
        units: How many there are.
        total: Sum of the loss.
        metrics: Means of what the objective tells beside it.
        label_bytes: UTF-8 bytes of the texts that the labels stand for.
        baseline: Accuracy of always giving the commonest answer; None where none is given.
    """

    unit: str
    units: int
    total: float
    metrics: Mapping[str, float]
    label_bytes: int
    baseline: float | None = None

    @property
    def loss(self) -> float:
        """Mean of a unit; of tokens in nats."""
        return self.total / self.units

    @property
    def perplexity(self) -> float:
        """exp(nats a token); infinite beyond what a float holds."""
        return math.exp(self.loss) if self.loss < _LARGEST_EXPONENT else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Comparable between tokenizers; NaN where the labels spell nothing, being ends of turns only."""
        return self.total / math.log(2) / self.label_bytes if self.label_bytes else math.nan

    @property
    def accuracy(self) -> float | None:
        """Share of answers that are right, or of pairs in the right order; None where nothing is chosen."""
        found = [value for name, value in self.metrics.items() if name.endswith("accuracy")]
        return found[0] if found else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the accuracy (Wilson 1927).

        >>> held_out = HeldOut("sample", 100, 0.0, {"accuracy": 0.5}, 0)
        >>> [round(end, 3) for end in held_out.interval]
        [0.404, 0.596]
        """
        assert self.accuracy is not None, "asked for only where something is chosen"
        share, count = self.accuracy, self.units
        middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
        half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
        return middle - half, middle + half

    def in_words(self) -> str:
        """Loss, what is told beside it, and of how many, in one line."""
        if self.unit == "token":
            told = f"perplexity {self.perplexity:.2f}, {self.bits_per_byte:.3f} bits a byte"
            return f"{self.loss:.4f} nats a token, {told}, {self.units:,} tokens"
        told = "".join(f", {name.replace('_', ' ')} {value:.3f}" for name, value in self.metrics.items())
        if self.accuracy is not None:
            low, high = self.interval
            told += f" (95 %: {low:.3f} to {high:.3f}; without a model {self.baseline:.3f})"
        return f"{self.loss:.4f} a {self.unit}{told}, {self.units:,} {self.unit}s"


@dataclass(frozen=True)
class MemoryEstimate:
    """Peak memory of a run in bytes.

    Args:
        resident: Of the process before the first step: weights, data, Python.
        weights: All weights, adapters included; part of `resident`.
        gradients: Of every thread, and their sum.
        moments: Of the optimizer that this process keeps, and the mean of weights where one is kept.
        activations: Of a micro-batch.
        logits: Of a micro-batch.
        rows: Rows of a micro-batch.
    """

    resident: int
    weights: int
    gradients: int
    moments: int
    activations: int
    logits: int
    rows: int

    @property
    def total(self) -> int:
        """The peak."""
        return self.resident + self.gradients + self.moments + self.activations + self.logits

    def in_words(self) -> str:
        """One line in MiB."""
        parts = {
            "gradients": self.gradients,
            "moments": self.moments,
            "activations": self.activations,
            "logits": self.logits,
        }
        told = ", ".join(f"{name} {mib(size)}" for name, size in {"weights": self.weights, **parts}.items())
        return f"about {mib(self.total)} MiB at peak ({told}), {self.rows} row{'s' if self.rows > 1 else ''} at once"


def mib(size: int) -> str:
    """Bytes as MiB.

    >>> mib(3 * 2**30)
    '3,072'
    """
    return f"{size / 2**20:,.0f}"
