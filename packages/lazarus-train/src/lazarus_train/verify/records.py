"""Checks the records of a run: settings, metrics, references, checkpoint links and unbound files."""

from collections.abc import Iterator
from pathlib import Path

from lazarus_core.canonical import canonical_json
from lazarus_plan.audit import Binding
from lazarus_train.errors import CorruptCheckpoint
from lazarus_train.preflight.inputs import RunInputs
from lazarus_train.run_dir.chain import other_entries, read_forks
from lazarus_train.run_dir.checkpoint import State, checkpoints
from lazarus_train.run_dir.links import How, Link
from lazarus_train.run_dir.logs import bound_logs, log_digests
from lazarus_train.run_dir.metrics import held_out_losses
from lazarus_train.run_dir.retention import BEST, LATEST, best_checkpoint
from lazarus_train.run_dir.sealed_read import BrokenSeal, Sealed
from lazarus_train.verify.evidence import RunEvidence
from lazarus_train.verify.metrics_check import check_covered, check_metrics, read_metrics


def settings_link(run: RunEvidence) -> Link:
    changes = sum(entry.kind == "settings" for entry in run.audit.entries)
    earlier = f"; they changed {changes} times, and earlier settings are not kept" if changes else ""
    return Link("settings", f"config.json matches the chain; its paths are not proven{earlier}")


def metrics_link(run: RunEvidence, state: State, inputs: RunInputs, is_finished: bool) -> Link:
    """Checks the bytes of the metrics and samples, and recomputes the values that plan and settings determine.

    Args:
        run: The run with its audit log.
        state: State of the newest checkpoint.
        inputs: Plan and denominators of its steps.
        is_finished: Whether the run is finished; then no line may follow the bound ones.

    Raises:
        CorruptCheckpoint: A log was changed, or has fewer steps than the checkpoint.
    """
    logs = bound_logs(run.folder)
    later, covered = run.audit.last("logs"), state.logs
    saved = run.audit.last("checkpoint")
    if later is not None and (saved is None or later > saved):
        covered = log_digests(run.folder)
        if not run.audit.entries[later].binds(Binding("logs", canonical_json(covered))):
            raise CorruptCheckpoint(
                f"{run.folder.metrics}, {run.folder.samples.name} or {run.folder.images.name} was changed after the audit log bound it",
                "LR-E208",
            )
    check_covered(logs, covered, is_whole=is_finished)
    rebased = run.audit.last("plan")
    steps = check_metrics(
        run.folder.metrics,
        read_metrics(run.folder.metrics),
        inputs.plan,
        inputs.units,
        run.config.optimizer,
        0 if rebased is None else run.audit.entries[rebased].step,
    )
    if steps < state.next_step:
        raise CorruptCheckpoint(
            f"{run.folder.metrics} has {steps} steps, but the run has done {state.next_step}", "LR-E208"
        )
    unbound = "" if is_finished else "; lines after the last checkpoint are not bound"
    return Link(
        "metrics",
        f"{steps} steps: bytes bound by the chain; tokens, denominators and rates recomputed; losses were not recomputed{unbound}",
    )


def references_link(run: RunEvidence) -> Link:
    if not run.folder.reference.is_dir():
        return Link("reference", "missing; the run computes it again if needed", How.NOT_PROVEN)
    found: dict[str, str] = {}
    for path in sorted(run.folder.reference.iterdir()):
        try:
            sealed = Sealed.read(path)
            sealed.check()
        except BrokenSeal as error:
            raise CorruptCheckpoint(f"{path}: {error}", "LR-E206") from error
        found[path.name] = sealed.digest
    place = run.audit.last("reference")
    if place is None or not run.audit.entries[place].binds(Binding("reference", canonical_json(found))):
        raise CorruptCheckpoint(f"{run.folder.reference} was changed: its digests differ from the audit log", "LR-E206")
    return Link("reference", "the chain binds the reference's log-probabilities; they were not recomputed")


def check_links(run: RunEvidence, state: State, is_finished: bool) -> None:
    """Checks that `latest` and `best`, if present, point to the newest and the best checkpoint.

    Args:
        run: The run; its metrics determine the best checkpoint.
        state: State of the newest checkpoint.
        is_finished: Whether the run is finished.
    """
    lines = read_metrics(run.folder.metrics)
    best = best_checkpoint(run.folder.checkpoints, held_out_losses(lines, run.config.deciding_set))
    expected = {LATEST: state.sealed.path, BEST: best}
    for name, target in expected.items() if is_finished else ():
        link = run.folder.checkpoints / name
        if (link.is_symlink() or link.exists()) and (target is None or not _leads_to(link, target)):
            raise CorruptCheckpoint(
                f"{link} must be a link to {target.name}" if target else f"{link} must not exist", "LR-E209"
            )


def _leads_to(link: Path, target: Path) -> bool:
    """Whether a link points to a checkpoint, or is a copy of it in a folder that was copied without links."""
    if link.is_symlink():
        return str(link.readlink()) == target.name
    try:
        copy = Sealed.read(link)
        copy.check()
    except (BrokenSeal, OSError):
        return False
    return copy.manifest == Sealed.read(target).manifest


def unbound_links(run: RunEvidence, is_newest: bool) -> Iterator[Link]:
    """Removed lines of the audit log, and entries of the folder that the chain does not bind.

    Args:
        run: The run; its folder is listed.
        is_newest: Whether the verified checkpoint is the newest.
    """
    forks = read_forks(run.folder)
    if forks:
        cut = ", ".join(f"{lines} lines after step {step}" for step, lines in forks)
        yield Link(
            "forks", f"{run.folder.rewound.name}: {cut} were removed and are not part of the run", How.NOT_PROVEN
        )
    others = list(other_entries(run.folder))
    known = {*(path.name for path in checkpoints(run.folder.checkpoints)), LATEST, BEST}
    others += sorted(f"checkpoints/{path.name}" for path in run.folder.checkpoints.iterdir() if path.name not in known)
    if not is_newest:
        others = ["everything outside this checkpoint", *others]
    if run.folder.initial.is_dir():
        others += ["initial/source.json", "initial/manifest.json"]
    if others:
        yield Link("not looked at", ", ".join(others), How.NOT_PROVEN)
