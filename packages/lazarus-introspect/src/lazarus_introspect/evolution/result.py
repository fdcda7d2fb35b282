"""The result of following a number over checkpoints."""

from lazarus_introspect.analysis.results import BaseResult
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.evolution.jumps import Jump
from lazarus_introspect.evolution.metrics import Metric
from lazarus_introspect.evolution.trained_rows import TrainedRows
from lazarus_introspect.pictures import Part, lines, table, visible

_MOST_ROWS = 200
"""Rows of a source that a page lists."""


class CheckpointValue(Frozen):
    """The number at one checkpoint."""

    step: int
    """Optimizer steps that were trained."""
    value: float
    weights: str
    """Digest of the weights, 64 hexadecimal digits."""


class EvolutionResult(BaseResult):
    """A number over the checkpoints of a run; `provenance` is of the last checkpoint."""

    run: str
    """Name of the run's folder."""
    metric: Metric
    ids: tuple[int, ...]
    """Token ids of the prompt; none for a head."""
    tokens: tuple[str, ...]
    checkpoints: tuple[CheckpointValue, ...]
    jump: Jump
    rows: TrainedRows | None
    """Rows that were trained in the interval of the jump."""
    rows_absent: str | None
    """Why there are none."""

    @property
    def title(self) -> str:
        """Title of its page."""
        return f"Evolution of {self.run}"

    def about(self) -> dict[str, str]:
        """What it is of, as facts by name."""
        jump, found = self.jump, super().about() | {"Metric": self.metric.label}
        if self.ids:
            found["Prompt"] = f"{len(self.ids):,} tokens: {visible(''.join(self.tokens), 300)}"
        ratio = "" if jump.ratio is None else f", {jump.ratio:.1f} times the typical change"
        p = "too few intervals for a p-value" if jump.p is None else f"p = {jump.p:.2g}"
        found["Largest change"] = (
            f"steps {jump.first_step:,} to {jump.last_step - 1:,}: {jump.before:.4g} to {jump.after:.4g}"
            f"{ratio} ({p}, {jump.intervals} intervals)"
        )
        return found

    def pictures(self) -> list[Part]:
        """The number over the steps, and the rows of the interval."""
        found: list[Part] = [
            lines(
                self.metric.label,
                {self.metric.name: [each.value for each in self.checkpoints]},
                steps=[each.step for each in self.checkpoints],
                unit=self.metric.unit,
                across="step",
            )
        ]
        title = f"Rows of the steps {self.jump.first_step:,} to {self.jump.last_step - 1:,}"
        if self.rows is not None:
            rows = [
                [each.source, f"{len(each.rows):,}", listed_rows(each.rows, _MOST_ROWS)] for each in self.rows.sources
            ]
            note = f"Numbers of rows in each source, from 0; plan {self.rows.plan_id[:23]}, confirmed by the audit log."
            found.append(table(title, ["source", "rows", "numbers"], rows, note=note))
        elif self.rows_absent is not None:
            found.append(table(title, ["not known"], [[self.rows_absent]]))
        return found


def listed_rows(rows: tuple[int, ...], most: int) -> str:
    """Row numbers as text.

    Args:
        rows: The numbers.
        most: Largest number that is listed.

    >>> listed_rows((1, 2, 5), 2)
    '1, 2 and 1 more'
    """
    shown = ", ".join(map(str, rows[:most]))
    return shown if len(rows) <= most else f"{shown} and {len(rows) - most:,} more"
