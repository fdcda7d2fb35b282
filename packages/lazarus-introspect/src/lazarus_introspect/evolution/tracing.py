"""Follows a number over the checkpoints of a run. One checkpoint is in memory at a time."""

from collections.abc import Callable
from pathlib import Path

from lazarus_core.errors import LazarusError
from lazarus_introspect.analysis import Prompt, Provenance, provenance_of
from lazarus_introspect.evolution.jumps import Jump, largest_jump
from lazarus_introspect.evolution.metrics import Metric
from lazarus_introspect.evolution.result import CheckpointValue, EvolutionResult
from lazarus_introspect.evolution.run_folder import RunFolder, read_run
from lazarus_introspect.evolution.trained_rows import TrainedRows, trained_rows


def evolve(
    run: Path | str,
    metric: Metric,
    *,
    model: Path | None = None,
    plan: Path | None = None,
    seed: int = 0,
    on_checkpoint: Callable[[], object] = lambda: None,
) -> EvolutionResult:
    """Measures every checkpoint of a run, and finds the interval in which the number changes most.

    Args:
        run: The folder that `lazarus train` wrote.
        metric: What is measured.
        model: Place of the model that the run started from; None for the one in the run's settings.
        plan: Place of the plan that the run followed; None for the one in the run's settings.
        seed: Random seed of the null.
        on_checkpoint: Called after each checkpoint.

    Raises:
        RequestError: The folder is not a run, has fewer than two checkpoints, or the metric does not fit the model.
    """
    folder = read_run(Path(run), model=model, plan=plan)
    values: list[CheckpointValue] = []
    prompt: Prompt | None = None
    origin: Provenance | None = None
    for step, path in folder.checkpoints:
        lm = folder.load(path)
        value, prompt = metric.measure(lm, path)
        origin = provenance_of(lm)
        values.append(CheckpointValue(step=step, value=value, weights=origin.weights))
        on_checkpoint()
    assert origin is not None, "a run has two checkpoints"
    jump = largest_jump([each.step for each in values], [each.value for each in values], seed=seed)
    rows, reason = _rows(folder, jump)
    return EvolutionResult(
        analysis="evolve",
        provenance=origin,
        request={"run": str(run), "metric": metric.model_dump(mode="json"), "seed": seed},
        run=folder.path.resolve().name,
        metric=metric,
        ids=() if prompt is None else prompt.ids,
        tokens=() if prompt is None else prompt.tokens,
        checkpoints=tuple(values),
        jump=jump,
        rows=rows,
        rows_absent=reason,
    )


def _rows(folder: RunFolder, jump: Jump) -> tuple[TrainedRows | None, str | None]:
    if folder.plan is None:
        return None, "the plan is not where the run found it; give its place as `plan`"
    try:
        return trained_rows(folder.plan, folder.audit, jump.first_step, jump.last_step), None
    except LazarusError as error:
        return None, error.message
