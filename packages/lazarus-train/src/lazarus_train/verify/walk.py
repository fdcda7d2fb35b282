"""Verification of a run: each link of the chain from the trained weights to the rows is recomputed.

final -> checkpoint -> initial model, settings, audit log -> plan -> data, template, tokenizer, lengths
data -> manifest of the corpus -> sources, if the data files are shards of a corpus

Each link states how it was checked: recomputed, compared with a claim, not proven, or NOT checked. Without pins, the
verification shows that a folder is consistent. With the plan_id and the audit head, recorded where no writer of the
folder can change them, it shows that the folder is the original.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lazarus_train.errors import ForeignCheckpoint
from lazarus_train.kernels import kernel_promise
from lazarus_train.preflight.inputs import RunInputs, check_run
from lazarus_train.run_dir.checkpoint import State, checkpoints, read_state
from lazarus_train.run_dir.links import How, Link
from lazarus_train.verify.evidence import Elsewhere, Pins, RunEvidence
from lazarus_train.verify.origins import origin_links, walk_origins
from lazarus_train.verify.records import check_links, metrics_link, references_link, settings_link, unbound_links
from lazarus_train.verify.replay import check_replayable, replay_link, rollouts_link
from lazarus_train.verify.rows import check_audit_log, data_links, held_out_links, step_links
from lazarus_train.verify.weights import checkpoints_link, final_link, first_model_link, is_finished

if TYPE_CHECKING:
    from lazarus_plan.audit import Audit

_NOT_MOVED = Elsewhere()
_NO_PINS = Pins()


def verify_run(
    path: Path | str, elsewhere: Elsewhere = _NOT_MOVED, pins: Pins = _NO_PINS, replay: int = 0
) -> Iterator[Link]:
    """Verifies a run, its `final` or one of its checkpoints, back to the rows of the data.

    Args:
        path: The run's folder, its `final`, or one of its checkpoints.
        elsewhere: Current locations of model, data and plan, if they moved.
        pins: Expected values.
        replay: Roll-outs of reinforcement learning to draw again; 0 draws none.

    Yields:
        Each link, from the weights to the data, and how it was checked.

    Raises:
        SetupError: The path is not part of a run.
        PlanError: A pin is not a digest.
        CorruptCheckpoint: Weights, state or metrics differ from the audit log.
        ForeignCheckpoint: Model or settings differ from those at the start of the run.
        CorruptPlan: The plan is inconsistent, or the run did not follow it.
        StalePlan: Data, template, tokenizer or lengths differ from the plan, or the plan is not the pinned one.
    """
    run, checkpoint = RunEvidence.read(Path(path), elsewhere, pins.resolved())
    if replay:
        check_replayable(run)
    yield from _walk(run, checkpoint, replay)


def _walk(run: RunEvidence, checkpoint: Path, replay: int) -> Iterator[Link]:
    """The links of a checkpoint; for the newest checkpoint, those of the whole run."""
    _check_head(
        run, run.audit.entries[-1].head.hex() if run.audit.entries else ""
    )  # the recorded head; it is recomputed below
    found = checkpoints(run.folder.checkpoints)
    is_newest = checkpoint == found[-1]
    states = [read_state(each) for each in (found if is_newest else [checkpoint])]
    run.audit.check_record(run.members)
    for state in states:
        run.audit.check_checkpoint(state, run.config.resume_key())
    state = states[-1]
    first_model = first_model_link(run, state)
    origins = walk_origins(run)
    inputs = check_run(run.config)
    from_sources = list(origin_links(run, inputs, origins))
    audit = check_audit_log(run, inputs)
    yield checkpoints_link(run, states)
    yield first_model
    yield settings_link(run)
    yield Link(
        "environment",
        f"{run.members['platform']}, {run.members['device']}: versions and machine match the chain",
    )
    promise = kernel_promise(run.members["policy"])
    if promise is not None:
        yield Link("kernels", promise, How.COMPARED)
    finished = is_finished(run, inputs)
    if is_newest:
        yield from _whole_run(run, state, inputs, finished)
    if replay:
        yield replay_link(run, inputs, replay)
    yield from step_links(audit, inputs, state)
    yield from data_links(inputs)
    yield from from_sources
    yield from held_out_links(run, inputs)
    yield from unbound_links(run, is_newest)
    yield _pinned(run, audit)


def _whole_run(run: RunEvidence, state: State, inputs: RunInputs, finished: bool) -> Iterator[Link]:
    yield final_link(run, inputs)
    yield metrics_link(run, state, inputs, finished)
    if run.audit.last("reference") is not None:
        yield references_link(run)
    if run.folder.rollouts.is_file():
        yield rollouts_link(run)
    check_links(run, state, finished)


def _check_head(run: RunEvidence, head: str) -> None:
    if run.pins.audit_head is not None and not head.startswith(run.pins.audit_head):
        raise ForeignCheckpoint(
            f"{run.audit.path}: the audit head is {head[:16]}, but {run.pins.audit_head[:16]} was expected: the run "
            "was edited, or it continued",
            "LR-E215",
        )


def _pinned(run: RunEvidence, audit: "Audit") -> Link:
    _check_head(run, audit.head)
    pinned = [
        name for name, pin in (("plan_id", run.pins.plan), ("audit head", run.pins.audit_head)) if pin is not None
    ]
    if len(pinned) == 2:
        return Link("pins", "plan_id and audit head match", How.COMPARED)
    given = f"only the {pinned[0]} was given" if pinned else "none given"
    return Link(
        "pins",
        f"{given}: the folder is consistent, but anyone with write access could have rewritten all of it",
        How.COMPARED if pinned else How.NOT_PROVEN,
    )
