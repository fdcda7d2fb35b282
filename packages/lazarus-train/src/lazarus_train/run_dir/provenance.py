"""The walk back from a trained model to the rows: each link of the chain is recomputed from the next one.

final -> checkpoint -> first model, settings, audit log -> plan -> data, template, tokenizer, lengths

What a link says is what was done: recomputed, compared with a claim, not proven, or NOT checked. Without pins the walk shows
that a folder does not contradict itself. With the plan_id and the audit head, written down where nobody who can write to
the folder could change them, it shows that the folder is what the run left.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazarus_core.canonical import canonical_json
from lazarus_plan import StalePlan
from lazarus_plan.audit.line import Binding
from lazarus_plan.checks.pin import check_pin, resolve_pin
from lazarus_plan.format.fingerprint import short
from lazarus_train.config import TrainConfig
from lazarus_train.data.dataset import read_dataset
from lazarus_train.errors import CorruptCheckpoint, ForeignCheckpoint, SetupError
from lazarus_train.preflight import Enforced, enforce, fields
from lazarus_train.run_dir.base_digest import Base
from lazarus_train.run_dir.chain import RunLog, other_entries, read_forks
from lazarus_train.run_dir.checkpoint import State, checkpoint_step, checkpoints, read_state
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.links import How, Link
from lazarus_train.run_dir.logs import log_digests
from lazarus_train.run_dir.manifest import describe_run, environment_of, read_manifest
from lazarus_train.run_dir.metrics import held_out_losses
from lazarus_train.run_dir.metrics_check import check_covered, check_metrics, read_metrics
from lazarus_train.run_dir.retention import BEST, LATEST, best_checkpoint
from lazarus_train.run_dir.sealed_read import BrokenSeal, Sealed

if TYPE_CHECKING:
    from lazarus_plan.audit.check import Audit

JSON = dict[str, Any]
_HEX = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True)
class Elsewhere:
    """Where what a run was made from lies now; None, and no data, is where it lay then."""

    model: Path | None = None
    data: tuple[Path, ...] = ()
    batch_plan: Path | None = None


@dataclass(frozen=True)
class Pins:
    """What somebody knows of a run from elsewhere.

    Args:
        plan: The plan_id, at least 16 hexadecimal digits of it, or the folder of a plan or lock that has it.
        audit_head: Hash of the whole audit chain, at least 16 hexadecimal digits of it.
    """

    plan: str | None = None
    audit_head: str | None = None

    def resolved(self) -> "Pins":
        """Whole digests, or as many digits as were given.

        Raises:
            PlanError: A pin is none, or has too few digits.
        """
        head = None if self.audit_head is None else _head_digits(self.audit_head)
        return Pins(None if self.plan is None else resolve_pin(self.plan), head)


_NOT_MOVED = Elsewhere()
_NO_PINS = Pins()


def verify_run(path: Path, elsewhere: Elsewhere = _NOT_MOVED, pins: Pins = _NO_PINS) -> Iterator[Link]:
    """Walks from a run, its `final` or one of its checkpoints back to the rows of the data.

    Args:
        path: The folder of one of them.
        elsewhere: Model, data and plan, where they moved since.
        pins: What is known to be right.

    Yields:
        Each link, from the weights to the data, with how it was looked at.

    Raises:
        SetupError: Not part of a run.
        PlanError: A pin is none.
        CorruptCheckpoint: Weights, state or metrics are not what the audit log binds.
        ForeignCheckpoint: Model or settings are not those that the run began with.
        CorruptPlan: The plan contradicts itself, or the run did not follow it.
        StalePlan: Data, template, tokenizer or lengths are not the planned ones, or the plan is not the pinned one.
    """
    pins = pins.resolved()
    folder, checkpoint = _find(path)
    members = read_manifest(folder.config)
    config = _config(members, folder, elsewhere)
    yield from _Walk(folder, members, config, RunLog.read(folder.audit), pins).walk(checkpoint)


@dataclass(frozen=True)
class _Walk:
    """What the links of a run are held against.

    Args:
        folder: Of the run.
        members: Of its `config.json`.
        config: What was asked for, with paths that hold now.
        log: Its audit log.
        pins: What is known from elsewhere.
    """

    folder: RunFolder
    members: JSON
    config: TrainConfig
    log: RunLog
    pins: Pins

    def walk(self, checkpoint: Path) -> Iterator[Link]:
        """The links from a checkpoint on; from the newest one, those of the whole run."""
        self._check_head(self.log.entries[-1].head.hex() if self.log.entries else "")  # as it says; recomputed below
        found = checkpoints(self.folder.checkpoints)
        is_newest = checkpoint == found[-1]
        states = [read_state(each) for each in (found if is_newest else [checkpoint])]
        self.log.check_record(self.members)
        for state in states:
            self.log.check_checkpoint(state, self.config.trajectory())
        state = states[-1]
        first_model = self._first_model(state)
        enforced = enforce(self.config)
        audit = self._audit(enforced)
        yield self._checkpoints(states)
        yield first_model
        yield self._settings()
        yield Link(
            "environment",
            f"{self.members['platform']}, {self.members['device']}: versions and machine are what the chain binds",
        )
        is_finished = self._check_end(states[-1], enforced)
        if is_newest:
            yield from self._whole_run(state, enforced, is_finished)
        yield from self._steps(audit, enforced, state)
        yield from _data_links(enforced)
        yield from self._held_out(enforced)
        yield from self._beside(is_newest)
        yield self._pinned(audit)

    def _checkpoints(self, states: list[State]) -> Link:
        names = ", ".join(state.sealed.path.name for state in states)
        gone = sum(entry.kind == "checkpoint" for entry in self.log.entries) - len(states)
        others = f"; {gone} more are bound and were not looked at" if gone > 0 else ""
        return Link("checkpoint", f"{names}: every file has its SHA-256, every manifest is bound by the chain{others}")

    def _first_model(self, state: State) -> Link:
        """Config, weights and tokenizer that the run began with; a directory of the tokenizer alone proves nothing of them."""
        model = self.config.model
        if not any(model.glob("*.safetensors")):
            return Link("first model", f"{model} holds no weights", How.NOT_CHECKED)
        Base.on_disk(model).check(state.base, model)
        return Link("first model", f"{state.base.digest}, of {len(state.base.files)} files in {model}")

    def _settings(self) -> Link:
        changes = sum(entry.kind == "settings" for entry in self.log.entries)
        earlier = f"; changed {changes} times on the way, the earlier ones are not kept" if changes else ""
        return Link("settings", f"config.json says what the chain binds; its paths are not proven{earlier}")

    def _audit(self, enforced: Enforced) -> "Audit":
        plan = enforced.plan
        if not plan.plan_id == self.members["plan_id"]:
            raise StalePlan(
                f"the run followed plan {short(self.members['plan_id'])}, its plan is now {short(plan.plan_id)}",
                "LP-E172",
            )
        if self.pins.plan is not None:
            check_pin(plan.plan_id, self.pins.plan, str(self.config.batch_plan))
        return self.log.check_steps(plan, lambda segment: enforced.dataset.sample(segment.sample, segment.span)[0])

    def _check_end(self, newest: State, enforced: Enforced) -> bool:
        """Whether the run is finished; refuses a log that goes beyond what was asked for, and a finished run without `final`."""
        end = min(len(enforced.plan), self.config.max_steps or len(enforced.plan))
        if self.log.steps > end:
            raise ForeignCheckpoint(
                f"config.json was changed: it asks for {end} steps, the run has done {self.log.steps}", "LR-E214"
            )
        bound = self.log.last("final")
        is_finished = self.log.steps == end or (bound is not None and self.log.entries[bound].step == self.log.steps)
        newest_bound = self.log.last("checkpoint")
        if is_finished and (
            newest_bound is None or checkpoint_step(checkpoints(self.folder.checkpoints)[-1]) != self.log.steps
        ):
            raise CorruptCheckpoint(f"{self.folder.checkpoints}: the checkpoint after the last step is gone", "LR-E207")
        if not self.folder.final.is_dir() and (is_finished or bound is not None):
            raise CorruptCheckpoint(
                f"{self.folder.final} is missing: the run has done its {self.log.steps} steps; the same training command "
                "writes it",
                "LR-E204",
            )
        return is_finished

    def _whole_run(self, state: State, enforced: Enforced, is_finished: bool) -> Iterator[Link]:
        yield self._final(enforced)
        yield self._metrics(state, enforced, is_finished)
        if self.log.last("reference") is not None:
            yield self._references()
        self._check_links(state, is_finished)

    def _final(self, enforced: Enforced) -> Link:
        """Every file is listed, bound, and what the checkpoint gives when it is written again."""
        final, place = self.folder.final, self.log.last("final")
        if place is None:
            if final.exists() or final.is_symlink():
                raise CorruptCheckpoint(
                    f"{final} is not bound by {self.log.path.name}: the run did not write it", "LR-E204"
                )
            return Link("final", "none: the run is not finished")
        try:
            sealed = Sealed.read(final)
            sealed.check()
        except BrokenSeal as error:
            raise CorruptCheckpoint(
                f"{final}: {error}; the same training command writes it again", "LR-E204"
            ) from error
        entry = self.log.entries[place]
        if not entry.binds(sealed.binding("final")):
            raise CorruptCheckpoint(
                f"{final} is not the model that {self.log.path.name} binds: it was changed", "LR-E204"
            )
        written_from = [path for path in checkpoints(self.folder.checkpoints) if checkpoint_step(path) == entry.step]
        words = f"{len(sealed.digests)} files, bound by the chain"
        if not written_from:
            return Link("final", f"{words}; the checkpoint after step {entry.step} that it was written from is gone")
        return self._written_again(sealed, read_state(written_from[0]), enforced, words)

    def _written_again(self, sealed: Sealed, state: State, enforced: Enforced, words: str) -> Link:
        from lazarus_train.devices import prepare_device
        from lazarus_train.engine.state import weight_bytes, write_final_again
        from lazarus_train.objectives.registry import head_of

        if self.config.lora is not None and not any(self.config.model.glob("*.safetensors")):
            return Link("final", f"{words}; not merged again: the first model's weights are gone", How.NOT_CHECKED)
        prepare_device(weight_bytes(self.config.model))
        tokenizer = enforced.encoder.tokenizer
        head = head_of(self.config.objective, enforced.dataset, tokenizer)
        with tempfile.TemporaryDirectory() as name:
            again = write_final_again(Path(name) / "final", self.config, head, state, tokenizer, enforced.template)
        differ = sorted({name for name, _ in {*sealed.digests.items()} ^ {*again.digests.items()}})
        if not differ:
            return Link("final", f"{words}; written again from {state.sealed.path.name}: the same bytes")
        if self._is_elsewhere() and (self.config.lora is not None or self._has_other_versions()):
            return Link(
                "final", f"{words}; {', '.join(differ)} written again on this machine has other bytes", How.NOT_CHECKED
            )
        raise CorruptCheckpoint(
            f"{sealed.path / differ[0]} is not what {state.sealed.path.name} gives: it was changed", "LR-E204"
        )

    def _here(self) -> JSON:
        return describe_run(self.config, "", {}, int(self.members["processes"]))

    def _is_elsewhere(self) -> bool:
        """Whether versions or machine are not those of the run."""
        return environment_of(self._here()).content != environment_of(self.members).content

    def _has_other_versions(self) -> bool:
        return self._here()["versions"] != self.members["versions"]

    def _metrics(self, state: State, enforced: Enforced, is_finished: bool) -> Link:
        logs = (self.folder.metrics, self.folder.samples)
        later, covered = self.log.last("logs"), state.logs
        saved = self.log.last("checkpoint")
        if later is not None and (saved is None or later > saved):
            covered = log_digests(self.folder)
            if not self.log.entries[later].binds(Binding("logs", canonical_json(covered))):
                raise CorruptCheckpoint(f"{self.folder.metrics} or samples was changed since it was bound", "LR-E208")
        check_covered(logs, covered, is_whole=is_finished)
        rebased = self.log.last("plan")
        steps = check_metrics(
            self.folder.metrics,
            read_metrics(self.folder.metrics),
            enforced.plan,
            enforced.units,
            self.config.optimizer,
            0 if rebased is None else self.log.entries[rebased].step,
        )
        if steps < state.next_step:
            raise CorruptCheckpoint(
                f"{self.folder.metrics} has {steps} steps, the run has done {state.next_step}", "LR-E208"
            )
        beyond = "" if is_finished else "; lines after the last checkpoint are not bound"
        return Link(
            "metrics",
            f"{steps} steps: bytes bound by the chain; tokens, denominators and rates recomputed; losses are the run's claim{beyond}",
        )

    def _references(self) -> Link:
        if not self.folder.reference.is_dir():
            return Link("reference", "gone; computed again when it is needed", How.NOT_PROVEN)
        found: dict[str, str] = {}
        for path in sorted(self.folder.reference.iterdir()):
            try:
                sealed = Sealed.read(path)
                sealed.check()
            except BrokenSeal as error:
                raise CorruptCheckpoint(f"{path}: {error}", "LR-E206") from error
            found[path.name] = sealed.digest
        place = self.log.last("reference")
        if place is None or not self.log.entries[place].binds(Binding("reference", canonical_json(found))):
            raise CorruptCheckpoint(f"{self.folder.reference} is not what the audit log binds", "LR-E206")
        return Link("reference", "what the reference says of every pair is bound by the chain; not computed again")

    def _check_links(self, state: State, is_finished: bool) -> None:
        """`latest` and `best` point to the newest and the best checkpoint, where they are there."""
        lines = read_metrics(self.folder.metrics)
        best = best_checkpoint(self.folder.checkpoints, held_out_losses(lines, self.config.deciding_set))
        due = {LATEST: state.sealed.path, BEST: best}
        for name, target in due.items() if is_finished else ():
            link = self.folder.checkpoints / name
            if (link.is_symlink() or link.exists()) and (target is None or not _leads_to(link, target)):
                raise CorruptCheckpoint(f"{link} is not the link to {target.name if target else 'nothing'}", "LR-E209")

    def _steps(self, audit: "Audit", enforced: Enforced, state: State) -> Iterator[Link]:
        plan = enforced.plan
        beyond = audit.steps - state.next_step
        since = f", {beyond} of them after the checkpoint" if beyond else ""
        rebased = [entry.step for entry in audit.bindings if entry.kind == "plan"]
        words = f"; went on with a rebased plan after {', '.join(map(str, rebased))}" if rebased else ""
        yield Link(
            "audit log",
            f"{audit.steps} steps from the first on{since}{words}: chain, plan lines and token ids recomputed",
        )
        yield Link("audit head", audit.head)
        yield Link("data head", audit.data_head)
        yield Link("plan", f"{plan.plan_id}, {len(plan)} steps")

    def _held_out(self, enforced: Enforced) -> Iterator[Link]:
        for name, path in self.config.eval_data.items():
            if not path.exists():
                yield Link(f"held-out {name}", f"{path} is gone", How.NOT_PROVEN)
                continue
            found = read_dataset(path, enforced.encoder, fields(self.config)).lengths.header.data
            if found != self.members["eval_data"][name]:
                raise StalePlan(f"{path}: the held-out rows `{name}` changed since the run measured them", "LR-E213")
            yield Link(f"held-out {name}", found)

    def _beside(self, is_newest: bool) -> Iterator[Link]:
        """What lies in the folder and is no part of the chain."""
        forks = read_forks(self.folder)
        if forks:
            cut = ", ".join(f"{lines} lines after step {step}" for step, lines in forks)
            yield Link(
                "forks", f"{self.folder.rewound.name}: {cut} were cut off and are no part of the run", How.NOT_PROVEN
            )
        others = list(other_entries(self.folder))
        known = {*(path.name for path in checkpoints(self.folder.checkpoints)), LATEST, BEST}
        others += sorted(
            f"checkpoints/{path.name}" for path in self.folder.checkpoints.iterdir() if path.name not in known
        )
        if not is_newest:
            others = ["everything that is not of this checkpoint", *others]
        if self.folder.initial.is_dir():
            others += ["initial/source.json", "initial/manifest.json"]
        if others:
            yield Link("not looked at", ", ".join(others), How.NOT_PROVEN)

    def _check_head(self, head: str) -> None:
        if self.pins.audit_head is not None and not head.startswith(self.pins.audit_head):
            raise ForeignCheckpoint(
                f"{self.log.path}: the audit head is {head[:16]}, expected is {self.pins.audit_head[:16]}: the run was "
                "edited, or went on",
                "LR-E215",
            )

    def _pinned(self, audit: "Audit") -> Link:
        self._check_head(audit.head)
        pinned = [
            name for name, pin in (("plan_id", self.pins.plan), ("audit head", self.pins.audit_head)) if pin is not None
        ]
        if len(pinned) == 2:
            return Link("pins", "plan_id and audit head are the expected ones", How.COMPARED)
        words = f"only the {pinned[0]} was given" if pinned else "none given"
        return Link(
            "pins",
            f"{words}: the folder does not contradict itself, but whoever can write to it could have made all of it again",
            How.COMPARED if pinned else How.NOT_PROVEN,
        )


def _leads_to(link: Path, target: Path) -> bool:
    """Whether a link leads to a checkpoint, or, in a folder that was copied without links, is a copy of it."""
    if link.is_symlink():
        return str(link.readlink()) == target.name
    try:
        copy = Sealed.read(link)
        copy.check()
    except (BrokenSeal, OSError):
        return False
    return copy.manifest == Sealed.read(target).manifest


def _head_digits(text: str) -> str:
    """The hexadecimal digits of the head of an audit log that a person wrote down."""
    digits = text.strip().lower()
    if not _HEX.fullmatch(digits):
        raise SetupError(f"`audit_head` is {text[:100]!r}: give 16 to 64 hexadecimal digits", "LR-E120")
    return digits


def _data_links(enforced: Enforced) -> Iterator[Link]:
    for name in ("lengths", "tokenizer", "template", "data"):
        why = enforced.checked.unchecked.get(name)
        digests = ", ".join(map(str, enforced.plan.fingerprints[name]["sources"]))
        yield Link(name, why or digests, How.NOT_CHECKED if why else How.RECOMPUTED)


def _find(path: Path) -> tuple[RunFolder, Path]:
    """The run that a path belongs to, and the checkpoint to begin with."""
    for run in (path, path.parent, path.parent.parent) if path.exists() else ():
        folder = RunFolder(run)
        found = checkpoints(folder.checkpoints)
        if not found or not folder.config.is_file():
            continue
        by_place = {each.resolve(): each for each in found}  # `latest` and `best` are links
        if path.resolve() in by_place:
            return folder, by_place[path.resolve()]
        if path.resolve() in {each.resolve() for each in (run, folder.final, folder.checkpoints)}:
            return folder, found[-1]
    raise SetupError(f"{path} is not a run, its `final` or one of its checkpoints", "LR-E107")


def _config(record: Mapping[str, Any], folder: RunFolder, elsewhere: Elsewhere) -> TrainConfig:
    """What was asked for, with paths that hold from any folder; what the run made for itself lies in the run, where it is now."""
    config = TrainConfig.model_validate(record["config"])
    began_in = Path(record["folder"])

    def now(path: Path) -> Path:
        own, path = began_in / config.output, began_in / path
        return folder.path / path.relative_to(own) if path.is_relative_to(own) else path

    model = elsewhere.model or now(config.model)
    data = elsewhere.data or tuple(now(path) for path in config.data_files)
    batch_plan = elsewhere.batch_plan or now(config.batch_plan)
    for option, path in (("model", model), *(("data", path) for path in data), ("batch-plan", batch_plan)):
        if not path.exists():
            raise SetupError(f"{path} is gone: give its place now as --{option}", "LR-E113")
    held_out = {name: now(path) for name, path in config.eval_data.items()}
    return config.model_copy(update={"model": model, "data": data, "batch_plan": batch_plan, "eval_data": held_out})
