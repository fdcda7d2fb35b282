"""Which rows of the data were trained in an interval of steps, by the plan, if the audit log confirms that it was followed."""

from pathlib import Path

import numpy as np

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.errors import RequestError
from lazarus_plan import check_audit, load_plan
from lazarus_plan.numbering import Numbering


class SourceRows(Frozen):
    """Rows of one source."""

    source: str
    """File name of its length cache."""
    rows: tuple[int, ...]
    """0-based rows, ascending, each once."""


class TrainedRows(Frozen):
    """The rows of an interval."""

    plan_id: str
    audit_head: str
    """Hash of the audit chain, 64 hexadecimal digits."""
    num_samples: int
    """Samples placed in the interval; a row that was trained twice counts twice."""
    sources: tuple[SourceRows, ...]


def trained_rows(plan: Path, audit: Path, first_step: int, last_step: int) -> TrainedRows:
    """The rows of the steps first_step to last_step (half-open).

    Args:
        plan: The plan that the run followed.
        audit: The run's audit log.
        first_step: First step, from 0.
        last_step: The step after the last one.

    Raises:
        PlanError: The plan or the log cannot be read.
        RequestError: The log does not confirm that these steps are the plan's.
    """
    loaded = load_plan(plan)
    found = check_audit(audit, loaded)
    if found.findings:
        raise RequestError(f"the run did not follow {plan}: {found.findings[0].message}", "LI-E107")
    if last_step > found.steps:
        raise RequestError(f"{audit} has {found.steps:,} steps, and the interval ends at {last_step:,}", "LI-E107")
    samples = np.concatenate([loaded.step(index).sample for index in range(first_step, last_step)]).astype(np.int64)
    numbering = Numbering.of_plan(loaded.metadata)
    source, position = numbering.source_of(samples), numbering.position_of(samples)
    sources = [
        SourceRows(source=each.name, rows=tuple(np.unique(inside).tolist()))
        for number, each in enumerate(loaded.metadata.sources)
        if (inside := position[source == number]).size
    ]
    return TrainedRows(plan_id=loaded.plan_id, audit_head=found.head, num_samples=len(samples), sources=tuple(sources))
