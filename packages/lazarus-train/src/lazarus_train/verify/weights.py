"""Checks the checkpoints, the initial model, and `final`, which is written again from its checkpoint."""

import tempfile
from pathlib import Path
from typing import Any

from lazarus_train.devices import prepare_device, weight_bytes
from lazarus_train.engine.state import write_final_again
from lazarus_train.errors import CorruptCheckpoint, ForeignCheckpoint
from lazarus_train.objectives.base import make_objective
from lazarus_train.preflight.inputs import RunInputs
from lazarus_train.run_dir.base_digest import Base
from lazarus_train.run_dir.checkpoint import State, checkpoint_step, checkpoints, read_state
from lazarus_train.run_dir.links import How, Link
from lazarus_train.run_dir.manifest import describe_run, environment_of
from lazarus_train.run_dir.sealed_read import BrokenSeal, Sealed
from lazarus_train.verify.evidence import RunEvidence


def checkpoints_link(run: RunEvidence, states: list[State]) -> Link:
    """Result for checkpoints that `RunAudit.check_checkpoint` accepted.

    Args:
        run: The run; its audit log gives the number of all checkpoints.
        states: States of the checked checkpoints, oldest first, at least one.
    """
    names = ", ".join(state.sealed.path.name for state in states)
    others = sum(entry.kind == "checkpoint" for entry in run.audit.entries) - len(states)
    not_checked = f"; {others} more are bound and were not checked" if others > 0 else ""
    return Link(
        "checkpoint", f"{names}: every file matches its SHA-256, and the chain binds every manifest{not_checked}"
    )


def first_model_link(run: RunEvidence, state: State) -> Link:
    """Checks config, weights and tokenizer of the initial model. A directory with only a tokenizer does not prove
    the weights.

    Args:
        run: The run; its settings name the model.
        state: State of a checkpoint; it has the digests of the initial model.
    """
    model = run.config.model
    if not any(model.glob("*.safetensors")):
        return Link("first model", f"{model} has no weights", How.NOT_CHECKED)
    Base.on_disk(model).check(state.base, model)
    return Link("first model", f"{state.base.digest}, of {len(state.base.files)} files in {model}")


def is_finished(run: RunEvidence, inputs: RunInputs) -> bool:
    """Whether the run is finished. Refuses a log beyond the requested steps, and a finished run without `final`.

    Args:
        run: The run; its audit log gives the steps done.
        inputs: The plan, whose length limits the steps.
    """
    end = min(len(inputs.plan), run.config.max_steps or len(inputs.plan))
    if run.audit.steps > end:
        raise ForeignCheckpoint(
            f"config.json was changed: it requests {end} steps, but the run has done {run.audit.steps}", "LR-E214"
        )
    bound = run.audit.last("final")
    finished = run.audit.steps == end or (bound is not None and run.audit.entries[bound].step == run.audit.steps)
    newest_bound = run.audit.last("checkpoint")
    if finished and (
        newest_bound is None or checkpoint_step(checkpoints(run.folder.checkpoints)[-1]) != run.audit.steps
    ):
        raise CorruptCheckpoint(f"{run.folder.checkpoints}: the checkpoint of the last step is missing", "LR-E207")
    if not run.folder.final.is_dir() and (finished or bound is not None):
        raise CorruptCheckpoint(
            f"{run.folder.final} is missing, although the run has done all {run.audit.steps} steps: run the same training "
            "command to write it",
            "LR-E204",
        )
    return finished


def final_link(run: RunEvidence, inputs: RunInputs) -> Link:
    """Checks that every file of `final` is listed, bound, and equal to the file written again from the checkpoint.

    Args:
        run: The run; its folder has `final` and the checkpoints.
        inputs: Data, template and tokenizer, from which `final` is written again.
    """
    final, place = run.folder.final, run.audit.last("final")
    if place is None:
        if final.exists() or final.is_symlink():
            raise CorruptCheckpoint(
                f"{final} is not bound by {run.audit.path.name}: the run did not write it", "LR-E204"
            )
        return Link("final", "none: the run is not finished")
    try:
        sealed = Sealed.read(final)
        sealed.check()
    except BrokenSeal as error:
        raise CorruptCheckpoint(
            f"{final}: {error}; run the same training command to write it again", "LR-E204"
        ) from error
    entry = run.audit.entries[place]
    if not entry.binds(sealed.binding("final")):
        raise CorruptCheckpoint(f"{final} was changed: its digest differs from {run.audit.path.name}", "LR-E204")
    written_from = [path for path in checkpoints(run.folder.checkpoints) if checkpoint_step(path) == entry.step]
    bound_files = f"{len(sealed.digests)} files, bound by the chain"
    if not written_from:
        return Link("final", f"{bound_files}; its source, the checkpoint of step {entry.step}, is missing")
    return _written_again(run, sealed, read_state(written_from[0]), inputs, bound_files)


def _written_again(run: RunEvidence, sealed: Sealed, state: State, inputs: RunInputs, bound_files: str) -> Link:
    if run.config.lora is not None and not any(run.config.model.glob("*.safetensors")):
        return Link(
            "final", f"{bound_files}; not merged again: the weights of the first model are missing", How.NOT_CHECKED
        )
    prepare_device(weight_bytes(run.config.model), run.config.kernels)
    tokenizer = inputs.encoder.tokenizer
    head = make_objective(run.config.objective).sequence_head(inputs.dataset, tokenizer)
    with tempfile.TemporaryDirectory() as name:
        # Earlier versions wrote the adapters for mlx-lm alone.
        layout = "both" if any(Path(each).name == "adapter_model.safetensors" for each in sealed.digests) else "mlx-lm"
        again = write_final_again(Path(name) / "final", run.config, head, state, tokenizer, inputs.template, layout)
    differ = sorted({name for name, _ in {*sealed.digests.items()} ^ {*again.digests.items()}})
    if not differ:
        return Link("final", f"{bound_files}; written again from {state.sealed.path.name}: the same bytes")
    if _is_elsewhere(run) and (run.config.lora is not None or _has_other_versions(run)):
        return Link(
            "final", f"{bound_files}; written again on this machine, other bytes: {', '.join(differ)}", How.NOT_CHECKED
        )
    raise CorruptCheckpoint(
        f"{sealed.path / differ[0]} was changed: {state.sealed.path.name} gives other bytes", "LR-E204"
    )


def _describe_here(run: RunEvidence) -> dict[str, Any]:
    return describe_run(run.config, "", {}, int(run.members["processes"]))


def _is_elsewhere(run: RunEvidence) -> bool:
    """Whether versions or machine differ from those of the run."""
    return environment_of(_describe_here(run)).content != environment_of(run.members).content


def _has_other_versions(run: RunEvidence) -> bool:
    return _describe_here(run)["versions"] != run.members["versions"]
