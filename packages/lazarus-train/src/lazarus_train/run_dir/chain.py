"""Checks a run's audit log against the run's folder: checkpoints, initial model, settings, machine, forks."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazarus_core.changed_values import describe_changes
from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_plan import BatchPlan, check_audit
from lazarus_plan.audit import (
    AUDIT_VERSION,
    Audit,
    Binding,
    Entry,
    Header,
    Kind,
    TokenIds,
    bound_plan_id,
    parse_entry,
    read_log,
)
from lazarus_plan.errors import CorruptPlan
from lazarus_train.errors import CorruptCheckpoint, ForeignCheckpoint
from lazarus_train.run_dir.checkpoint import State, checkpoint_path
from lazarus_train.run_dir.layout import CONTROL, RunFolder
from lazarus_train.run_dir.manifest import environment_of, settings_of

JSON = dict[str, Any]
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RunAudit:
    """The lines of a run's audit log.

    Args:
        path: The file.
        header: The first line.
        entries: The other lines.
    """

    path: Path
    header: Header
    entries: tuple[Entry, ...]

    @classmethod
    def read(cls, path: Path) -> "RunAudit":
        """Reads a log strictly.

        Raises:
            CorruptPlan: The file is not an audit log, or the log does not bind settings or model.
        """
        try:
            header, entries = read_log(path)
            found = cls(path, header, tuple(entries))
        except CorruptPlan as error:
            raise CorruptPlan(f"{path}: {error.message}", error.code) from error
        if header.version != AUDIT_VERSION or header.start is None:
            raise CorruptPlan(f"{path}: the header binds neither settings nor the first model", "LP-E176")
        return found

    @property
    def steps(self) -> int:
        """Number of steps in the log."""
        return sum(entry.kind is None for entry in self.entries)

    @property
    def start(self) -> JSON:
        """The bindings of the header."""
        assert self.header.start is not None, "checked when it was read"
        return self.header.start

    def last(self, kind: Kind, step: int | None = None) -> int | None:
        """Index in `entries` of the last line that binds an object of a kind; None if there is no such line.

        Args:
            kind: Kind of the object, such as `checkpoint`.
            step: Number of steps done before the line; None admits any number.
        """
        places = (
            place
            for place, entry in reversed(list(enumerate(self.entries)))
            if entry.kind == kind and step in (None, entry.step)
        )
        return next(places, None)

    def head_before(self, place: int) -> str:
        """Hash of the chain before a line, as recorded in the log."""
        return (self.entries[place - 1].head if place else self.header.genesis).hex()

    def plan_before(self, place: int) -> str:
        """The plan that was followed before a line."""
        bound = [entry for entry in self.entries[:place] if entry.kind == "plan"]
        return bound_plan_id(bound[-1]) if bound else self.header.plan_id

    def check_steps(self, plan: BatchPlan, token_ids: TokenIds) -> Audit:
        """Recomputes the chain, every plan line and every row digest.

        Args:
            plan: The plan of the run.
            token_ids: Gives the token ids of a sample.

        Raises:
            CorruptPlan: The run did not follow the plan, or was trained on other tokens.
        """
        found = check_audit(self.path, plan, token_ids)
        for finding in found.findings:
            raise CorruptPlan(f"{self.path}: {finding.message}", finding.code)
        return found

    def check_checkpoint(self, state: State, resume_key: JSON) -> None:
        """Checks that the chain binds a checkpoint at the position that the checkpoint states.

        Args:
            state: State of the checkpoint.
            resume_key: Settings that determine the weights.

        Raises:
            CorruptCheckpoint: The chain does not bind it.
            ForeignCheckpoint: The checkpoint has another plan, model or other settings.
        """
        path, done = state.sealed.path, state.next_step
        if path != checkpoint_path(path.parent, done):
            raise CorruptCheckpoint(f"{path}: its state is from step {done}", "LR-E201")
        place = self.last("checkpoint", done)
        if place is None:
            raise CorruptCheckpoint(
                f"{path}: {self.path.name} binds no checkpoint of step {done}; if the run was killed, run the same training "
                "command to add it",
                "LR-E207",
            )
        if not self.entries[place].binds(state.sealed.binding("checkpoint")):
            raise CorruptCheckpoint(f"{path} was changed: its digest differs from {self.path.name}", "LR-E207")
        if state.audit_head != self.head_before(place):
            raise CorruptPlan(f"{self.path} has another head at step {done} than the checkpoint", "LP-E174")
        if state.plan_id != self.plan_before(place) or state.base.digest != self.start["model"]:
            logged = {"plan_id": self.plan_before(place), "first model": self.start["model"]}
            changes = describe_changes({"plan_id": state.plan_id, "first model": state.base.digest}, logged)
            raise ForeignCheckpoint(
                f"{path} has another plan or first model than {self.path.name}: {changes} in the log", "LR-E210"
            )
        changes = describe_changes(state.resume_key, resume_key)
        if changes or state.resume_key.keys() != resume_key.keys():
            raise ForeignCheckpoint(
                f"{path} was trained with other settings than those in config.json: {changes or 'a member is missing'}",
                "LR-E210",
            )

    def check_record(self, members: JSON) -> None:
        """Checks that the chain binds the content of `config.json`, except locations.

        Raises:
            ForeignCheckpoint: The content differs.
        """
        for binding in (settings_of(members), environment_of(members)):
            if not self._binds_last(binding):
                part = {"settings": "the settings", "environment": "versions and machine"}[binding.kind]
                raise ForeignCheckpoint(
                    f"config.json was changed: {part} in it differ from {self.path.name}, which has their digest alone",
                    "LR-E214",
                )

    def _binds_last(self, binding: Binding) -> bool:
        place = self.last(binding.kind)
        if place is None:
            return self.start[binding.kind] == binding.digest
        return self.entries[place].binds(binding)


def read_forks(folder: RunFolder) -> list[tuple[int, int]]:
    """Forks of a run: for each, the number of steps that the run kept, and the number of lines removed after them.

    Raises:
        CorruptPlan: The file was not written by a run.
    """
    if not folder.rewound.exists():
        return []
    forks: list[tuple[int, int]] = []
    lines = folder.rewound.read_bytes().splitlines(keepends=True)
    head = b""
    for number, line in enumerate(lines, 1):
        start = _fork_start(line)
        if start is not None:
            forks.append((start[0], 0))
            head = start[1]
            continue
        if not forks:
            raise _no_fork(folder, number)
        head = _follow_fork(folder, lines, number, head)
        forks[-1] = forks[-1][0], forks[-1][1] + 1
    if any(not count for _, count in forks):
        raise _no_fork(folder, len(lines))
    return forks


def _follow_fork(folder: RunFolder, lines: Sequence[bytes], number: int, head: bytes) -> bytes:
    """The head after a removed line; the last line of a fork may be incomplete."""
    try:
        entry = parse_entry(lines[number - 1], number)
    except CorruptPlan:
        if number == len(lines) or _fork_start(lines[number]) is not None:
            return b""
        raise _no_fork(folder, number) from None
    if entry.chained(head) != entry.head:
        raise _no_fork(folder, number)
    return entry.head


def _fork_start(line: bytes) -> tuple[int, bytes] | None:
    """Kept steps and head, if a line begins a fork; None for another line."""
    try:
        members = parse_object(line)
    except MalformedLine:
        return None
    steps, head = members.get("rewound_to"), members.get("head")
    if members.keys() != {"rewound_to", "head"} or type(steps) is not int or steps < 0:
        return None
    return (steps, bytes.fromhex(head)) if isinstance(head, str) and _HEX.fullmatch(head) else None


def _no_fork(folder: RunFolder, number: int) -> CorruptPlan:
    return CorruptPlan(f"{folder.rewound}:{number}: not a fork of an audit log: the file was edited", "LP-E176")


def other_entries(folder: RunFolder) -> Iterator[str]:
    """Names of entries in a run's folder that the chain does not bind."""
    known = {
        path.name
        for path in (
            *(
                folder.config,
                folder.metrics,
                folder.samples,
                folder.images,
                folder.rollouts,
                folder.audit,
                folder.rewound,
                folder.checkpoints,
            ),
            *(folder.final, folder.reference, folder.initial),
        )
    } | {"batch_plan", ".lock", CONTROL}
    yield from sorted(path.name for path in folder.path.iterdir() if path.name not in known)
