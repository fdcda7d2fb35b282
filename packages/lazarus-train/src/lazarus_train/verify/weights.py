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
    gone = sum(entry.kind == "checkpoint" for entry in run.audit.entries) - len(states)
    others = f"; {gone} more are bound and were not looked at" if gone > 0 else ""
    return Link("checkpoint", f"{names}: every file has its SHA-256, every manifest is bound by the chain{others}")


def first_model_link(run: RunEvidence, state: State) -> Link:
    """Checks config, weights and tokenizer of the initial model. A directory with only a tokenizer does not prove
    the weights.

    Args:
        run: The run; its settings name the model.
        state: State of a checkpoint; it has the digests of the initial model.
    """
    model = run.config.model
    if not any(model.glob("*.safetensors")):
        return Link("first model", f"{model} holds no weights", How.NOT_CHECKED)
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
            f"config.json was changed: it asks for {end} steps, the run has done {run.audit.steps}", "LR-E214"
        )
    bound = run.audit.last("final")
    finished = run.audit.steps == end or (bound is not None and run.audit.entries[bound].step == run.audit.steps)
    newest_bound = run.audit.last("checkpoint")
    if finished and (
        newest_bound is None or checkpoint_step(checkpoints(run.folder.checkpoints)[-1]) != run.audit.steps
    ):
        raise CorruptCheckpoint(f"{run.folder.checkpoints}: the checkpoint after the last step is gone", "LR-E207")
    if not run.folder.final.is_dir() and (finished or bound is not None):
        raise CorruptCheckpoint(
            f"{run.folder.final} is missing: the run has done its {run.audit.steps} steps; the same training command "
            "writes it",
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
        raise CorruptCheckpoint(f"{final}: {error}; the same training command writes it again", "LR-E204") from error
    entry = run.audit.entries[place]
    if not entry.binds(sealed.binding("final")):
        raise CorruptCheckpoint(f"{final} is not the model that {run.audit.path.name} binds: it was changed", "LR-E204")
    written_from = [path for path in checkpoints(run.folder.checkpoints) if checkpoint_step(path) == entry.step]
    words = f"{len(sealed.digests)} files, bound by the chain"
    if not written_from:
        return Link("final", f"{words}; the checkpoint after step {entry.step} that it was written from is gone")
    return _written_again(run, sealed, read_state(written_from[0]), inputs, words)


def _written_again(run: RunEvidence, sealed: Sealed, state: State, inputs: RunInputs, words: str) -> Link:
    if run.config.lora is not None and not any(run.config.model.glob("*.safetensors")):
        return Link("final", f"{words}; not merged again: the first model's weights are gone", How.NOT_CHECKED)
    prepare_device(weight_bytes(run.config.model))
    tokenizer = inputs.encoder.tokenizer
    head = make_objective(run.config.objective).sequence_head(inputs.dataset, tokenizer)
    with tempfile.TemporaryDirectory() as name:
        again = write_final_again(Path(name) / "final", run.config, head, state, tokenizer, inputs.template)
    differ = sorted({name for name, _ in {*sealed.digests.items()} ^ {*again.digests.items()}})
    if not differ:
        return Link("final", f"{words}; written again from {state.sealed.path.name}: the same bytes")
    if _is_elsewhere(run) and (run.config.lora is not None or _has_other_versions(run)):
        return Link(
            "final", f"{words}; {', '.join(differ)} written again on this machine has other bytes", How.NOT_CHECKED
        )
    raise CorruptCheckpoint(
        f"{sealed.path / differ[0]} is not what {state.sealed.path.name} gives: it was changed", "LR-E204"
    )


def _here(run: RunEvidence) -> dict[str, Any]:
    return describe_run(run.config, "", {}, int(run.members["processes"]))


def _is_elsewhere(run: RunEvidence) -> bool:
    """Whether versions or machine differ from those of the run."""
    return environment_of(_here(run)).content != environment_of(run.members).content


def _has_other_versions(run: RunEvidence) -> bool:
    return _here(run)["versions"] != run.members["versions"]
