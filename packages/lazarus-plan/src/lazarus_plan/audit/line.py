"""Strict reader for the lines of an audit log: one canonical form, known members, no duplicates.

```
{"lazarus_audit":2,"plan_id":"sha256:..","start":{"settings":"sha256:..","model":"sha256:..","environment":"sha256:.."}}
{"step":0,"leaf":"..","rows":"..","head":".."}
{"step":1,"bind":"checkpoint","leaf":"..","rows":"..","head":".."}
{"step":1,"bind":"plan","plan":{..},"leaf":"..","rows":"..","head":".."}
```
A *step line* records the rows of one step. A *binding line* adds another document to the chain after `step` steps; its
`leaf` is the RFC 6962 leaf hash of that document. `head` = SHA-256(previous head || leaf || rows || bind), where `bind`
is the ASCII text of that member, empty for a step line.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast, get_args

from lazarus_core.canonical import JSON, canonical_digest, canonical_json, digest_text
from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_plan.errors import CorruptPlan, FormatError
from lazarus_plan.format.merkle import EMPTY_ROOT, leaf_hash

AUDIT_VERSION = 2
LEGACY_VERSION = 1
"""Logs of this version have step lines only. They bind no weights, settings or model."""
Kind = Literal["checkpoint", "final", "settings", "environment", "plan", "logs", "reference"]
"""Kinds of binding lines. `checkpoint`, `final`, `reference`: a folder, by its manifest. `settings`, `environment`: those of
a resumed run. `plan`: the rebased plan that the run continues with. `logs`: metrics and samples since the last checkpoint."""
KINDS: tuple[str, ...] = get_args(Kind)
START = ("settings", "model", "environment")
"""Digests in the header of a run's log."""
MAX_LINE = 1 << 24
"""Maximum bytes of a line. The identity of a plan takes about a hundred bytes per data file."""
_HEX = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Header:
    """The first line of a log.

    Args:
        version: Version of the format.
        plan_id: First plan of the run.
        start: Digests of settings, first model and environment; None in logs of other trainers.
        first_step: First step; above 0 only in version 1, after a rebase.
        genesis: Head before the first line.
    """

    version: int
    plan_id: str
    start: JSON | None
    first_step: int
    genesis: bytes


class Entry(NamedTuple):
    """Any other line of a log.

    Args:
        step: Step number; for a binding line, the number of completed steps.
        kind: Kind of the binding; None for a step line.
        leaf: Hash of the plan's line, or of the bound document.
        rows: Root over the digests of the rows, or over the parts of the bound document.
        head: Stated hash of the chain after this line.
        plan: Identity of the bound plan, for kind `plan`.
    """

    step: int
    kind: Kind | None
    leaf: bytes
    rows: bytes
    head: bytes
    plan: JSON | None = None

    def chained(self, head: bytes) -> bytes:
        """Head after this line, computed from the previous head."""
        return chain(head, self.leaf, self.rows, self.kind or "")

    def binds(self, binding: "Binding") -> bool:
        """Whether this line binds exactly this."""
        return (self.kind, self.leaf, self.rows) == (binding.kind, binding.leaf, binding.rows)


class Binding(NamedTuple):
    """A document to bind to the chain.

    Args:
        kind: Kind of document.
        content: Its bytes: a manifest, or canonical JSON.
        rows: Merkle root over its parts, so that a single part can be proven.
        plan: Identity of the plan, for kind `plan`.
    """

    kind: Kind
    content: bytes
    rows: bytes = EMPTY_ROOT
    plan: JSON | None = None

    @property
    def leaf(self) -> bytes:
        """Leaf hash of the content."""
        return leaf_hash(self.content)

    @property
    def digest(self) -> str:
        """SHA-256 of the content, as in a header's `start`."""
        return digest_text(hashlib.sha256(self.content).digest())

    @classmethod
    def of_plan(cls, identity: JSON) -> "Binding":
        """Binding of a rebased plan, from its identity."""
        return cls("plan", canonical_json(identity), plan=identity)


def chain(head: bytes, leaf: bytes, rows: bytes, bind: str = "") -> bytes:
    """Head after a line: SHA-256(head || leaf || rows || bind), 32 bytes.

    Args:
        head: Head before the line, 32 bytes.
        leaf: Leaf hash of the plan's line or of the bound document, 32 bytes.
        rows: Merkle root over the rows or over the parts of the document, 32 bytes.
        bind: Kind of a binding line, one of `KINDS`; empty for a step line.
    """
    return hashlib.sha256(head + leaf + rows + bind.encode("ascii")).digest()


def data_genesis(plan_id: str) -> bytes:
    """The data head before the first step, and the first head of version 1: the 32 bytes of a plan_id."""
    return bytes.fromhex(plan_id.removeprefix("sha256:"))


def genesis(line: bytes) -> bytes:
    """The head before the first step of version 2: SHA-256(0x04 || the header without its line feed)."""
    return hashlib.sha256(b"\x04" + line.removesuffix(b"\n")).digest()


def line_of(members: JSON) -> bytes:
    """Canonical form of a line, with its line feed."""
    return json.dumps(members, separators=(",", ":")).encode("ascii") + b"\n"


def entry_line(entry: Entry) -> bytes:
    """The line of an entry."""
    kind = {} if entry.kind is None else {"bind": entry.kind}
    plan = {} if entry.plan is None else {"plan": entry.plan}
    hashes = {name: getattr(entry, name).hex() for name in ("leaf", "rows", "head")}
    return line_of({"step": entry.step, **kind, **plan, **hashes})


def parse_header(line: bytes) -> Header:
    """Parse a header line.

    Raises:
        CorruptPlan: The line is not a header.
        FormatError: A newer version wrote it.
    """
    members = _members(line, 1)
    version = members.get("lazarus_audit")
    if type(version) is int and version > AUDIT_VERSION:
        raise FormatError(f"the audit log has format {version}, this version reads {AUDIT_VERSION}: upgrade", "LP-E160")
    if type(version) is not int or version < LEGACY_VERSION:
        raise _wrong(1, "no header of an audit log (`lazarus_audit`)")
    plan_id = members.get("plan_id")
    if not isinstance(plan_id, str) or not _DIGEST.fullmatch(plan_id):
        raise _wrong(1, f"`plan_id` is {_shown(plan_id)}, no digest")
    if version == LEGACY_VERSION:
        return _legacy_header(members, plan_id)
    _refuse_unknown(members, ("lazarus_audit", "plan_id", "start"), line, 1)
    start = members.get("start")
    if "start" in members and not _is_start(start):
        raise _wrong(1, "`start` is not an object of the digests `settings`, `model` and `environment`")
    return Header(version, plan_id, start, 0, genesis(line))


def parse_entry(line: bytes, number: int) -> Entry:
    """Parse any other line.

    Args:
        line: The line with its line feed.
        number: 1-based line number, for messages.

    Raises:
        CorruptPlan: The line is not a canonical entry.
    """
    members = _members(line, number)
    kind, plan = members.get("bind"), members.get("plan")
    if kind is not None and kind not in KINDS:
        raise _wrong(number, f"`bind` is {_shown(kind)}; known are {', '.join(KINDS)}")
    named = ("step", *(("bind",) if kind else ()), *(("plan",) if kind == "plan" else ()), "leaf", "rows", "head")
    step = members.get("step")
    if type(step) is not int or step < 0:
        raise _wrong(number, f"`step` is {_shown(step)}, no number of a step")
    hashes = {name: members.get(name) for name in ("leaf", "rows", "head")}
    for name, value in hashes.items():
        if not isinstance(value, str) or not _HEX.fullmatch(value):
            raise _wrong(number, f"`{name}` is {_shown(value)}, not 64 hexadecimal digits", "LP-E174")
    if kind == "plan" and not isinstance(plan, dict):
        raise _wrong(number, "`plan` is no object")
    _refuse_unknown(members, named, line, number)
    leaf, rows, head = (bytes.fromhex(str(value)) for value in hashes.values())
    entry = Entry(step, cast("Kind | None", kind), leaf, rows, head, cast("JSON | None", plan))
    if entry.plan is not None and not entry.binds(Binding.of_plan(entry.plan)):
        raise _wrong(number, "`leaf` is not that of `plan`")
    return entry


def bound_plan_id(entry: Entry) -> str:
    """The plan_id that a line of kind `plan` binds."""
    assert entry.plan is not None, "a line of kind `plan`"
    return canonical_digest(entry.plan)


def _legacy_header(members: JSON, plan_id: str) -> Header:
    first = members.get("first_step", 0)
    unknown = members.keys() - {"lazarus_audit", "plan_id", "first_step"}
    if unknown or type(first) is not int or first < 0 or ("first_step" in members and first == 0):
        raise _wrong(1, f"`{min(unknown)}` is unknown" if unknown else f"`first_step` is {_shown(first)}")
    return Header(LEGACY_VERSION, plan_id, None, first, data_genesis(plan_id))


def _members(line: bytes, number: int) -> JSON:
    if len(line) > MAX_LINE:
        raise _wrong(number, f"{len(line):,} bytes; a line of an audit log has at most {MAX_LINE:,}")
    if not line.endswith(b"\n"):
        raise _wrong(number, "no line feed at its end: the log was cut off or written to by something else")
    try:
        return parse_object(line)
    except MalformedLine as error:
        raise _wrong(number, error.problem) from error


def _refuse_unknown(members: JSON, named: tuple[str, ...], line: bytes, number: int) -> None:
    """Refuse unknown members and non-canonical forms."""
    unknown = sorted(members.keys() - set(named))
    if unknown:
        raise _wrong(number, f"the member {_shown(unknown[0])} is unknown")
    if line_of({name: members[name] for name in named if name in members}) != line:
        raise _wrong(number, "not in the form of an audit log: no spaces, members in their order")


def _is_start(start: Any) -> bool:
    if not isinstance(start, dict) or tuple(cast("JSON", start)) != START:
        return False
    return all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in cast("JSON", start).values())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:100] + "..."


def _wrong(number: int, problem: str, code: str = "LP-E176") -> CorruptPlan:
    return CorruptPlan(f"line {number}: {problem}", code)
