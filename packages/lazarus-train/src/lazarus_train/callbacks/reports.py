"""Reports of a run in progress: memory, steps, held-out losses."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from lazarus_plan.report import StepMixture

_LARGEST_EXPONENT = math.log(sys.float_info.max)
_Z = 1.96
"""Quantile of the normal distribution for a two-sided 95 % interval."""


@dataclass(frozen=True)
class StepReport:
    """One finished step.

    Args:
        step: Steps done, this one included.
        loss: Mean over the units of the whole step: nats per label token, or loss per pair or sample.
        metrics: Means of the objective's metrics, by name.
        rate: Learning rate of the update.
        norm: Global gradient norm before clipping.
        tokens: Real tokens of the step, without padding.
        seconds: From the first row to the updated weights.
        epochs: Tokens trained since the start of the run, divided by the tokens of the data (equivalent epochs).
        mixture: Rows and tokens of each source, asked and seen; None if the plan has one source.
        rollouts: SHA-256 over the lines of the step's roll-outs, 64 hex; None without roll-outs.
        speeds: Further speeds by name, such as drawn tokens a second.
    """

    step: int
    loss: float
    metrics: Mapping[str, float]
    rate: float
    norm: float
    tokens: int
    seconds: float
    epochs: float
    mixture: StepMixture | None = None
    rollouts: str | None = None
    speeds: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class HeldOut:
    """Results on held-out rows.

    Args:
        unit: Unit of the loss.
        units: Number of units.
        total: Sum of the loss.
        metrics: Means of the objective's metrics, by name.
        label_bytes: UTF-8 bytes of the text that the labels encode.
        baseline: Accuracy of always giving the most common answer; None if the objective has none.
    """

    unit: str
    units: int
    total: float
    metrics: Mapping[str, float]
    label_bytes: int
    baseline: float | None = None

    @property
    def loss(self) -> float:
        """Mean loss per unit; for tokens in nats."""
        return self.total / self.units

    @property
    def perplexity(self) -> float:
        """exp(nats per token); infinite on overflow."""
        return math.exp(self.loss) if self.loss < _LARGEST_EXPONENT else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Loss in bits per byte, comparable between tokenizers; NaN if the labels contain no text."""
        return self.total / math.log(2) / self.label_bytes if self.label_bytes else math.nan

    @property
    def accuracy(self) -> float | None:
        """Fraction of correct answers, or of correctly ordered pairs; None if the objective has no accuracy."""
        found = [value for name, value in self.metrics.items() if name.endswith("accuracy")]
        return found[0] if found else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy (Wilson 1927).

        >>> held_out = HeldOut("sample", 100, 0.0, {"accuracy": 0.5}, 0)
        >>> [round(end, 3) for end in held_out.interval]
        [0.404, 0.596]
        """
        assert self.accuracy is not None, "called only for objectives with an accuracy"
        share, count = self.accuracy, self.units
        middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
        half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
        return middle - half, middle + half

    def in_words(self) -> str:
        """Loss, metrics and number of units, in one line."""
        if self.unit == "token":
            bits = f", {self.bits_per_byte:.3f} bits a byte" if self.label_bytes else ""
            return f"{self.loss:.4f} nats a token, perplexity {self.perplexity:.2f}{bits}, {self.units:,} tokens"
        told = "".join(f", {name.replace('_', ' ')} {value:.3f}" for name, value in self.metrics.items())
        if self.accuracy is not None:
            low, high = self.interval
            told += f" (95 %: {low:.3f} to {high:.3f}; without a model {self.baseline:.3f})"
        return f"{self.loss:.4f} a {self.unit}{told}, {self.units:,} {self.unit}s"


@dataclass(frozen=True)
class MemoryEstimate:
    """Peak memory of a run in bytes.

    Args:
        resident: Memory of the process before the first step: weights, data, Python.
        weights: All weights, adapters included; part of `resident`.
        gradients: Gradients of every thread, and their sum.
        moments: Moments that this process keeps, and the EMA if any.
        activations: Activations of a micro-batch.
        logits: Logits of a micro-batch.
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
        """Estimate in one line, in MiB."""
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
