"""Check a plan against its inputs: data, template, tokenizer, parameters, lengths.

The chain is checked from its root. The error names the first broken link and the way out.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from lazarus_core.canonical import JSON, changed_members
from lazarus_core.changed_values import describe_changes, show_value
from lazarus_plan.errors import PlanError, StalePlan
from lazarus_plan.format.fingerprint import UPSTREAM
from lazarus_plan.format.store import Artifact
from lazarus_plan.lengths.cache import ABSENT, LengthCache
from lazarus_plan.numbering import Numbering
from lazarus_plan.plan import WHOLE, BatchPlan, Integers

NO_FINGERPRINT = "the plan has no fingerprint of it: its lengths had none"
"""Reason for an unchecked link when the plan lacks its fingerprint."""


@dataclass(frozen=True)
class ChainCheck:
    """Result of a check: the links that were recomputed, compared with a claim, or not checked.

    Args:
        checked: Names of `LINKS` that were recomputed and are as planned.
        claimed: Names of `LINKS` that another file states with the same value; they were not recomputed.
        unchecked: Reason by name of link that could not be checked.
        claimant: The file that states the claimed values.
    """

    checked: tuple[str, ...]
    unchecked: Mapping[str, str]
    claimed: tuple[str, ...] = ()
    claimant: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether every link was recomputed or compared."""
        return not self.unchecked

    def lines(self) -> list[str]:
        """Text lines: recomputed links, claimed links, then one line for each reason of unchecked links."""
        names = defaultdict[str, list[str]](list)
        for name, why in self.unchecked.items():
            names[why].append(name)
        recomputed = [f"{', '.join(self.checked)}: recomputed, as planned"] if self.checked else []
        claimed = (
            [f"{', '.join(self.claimed)}: {self.claimant} states the same digests as the plan; not recomputed"]
            if self.claimed
            else []
        )
        return [*recomputed, *claimed, *(f"NOT checked: {', '.join(each)}: {why}" for why, each in names.items())]


LINKS = ("data", "template", "tokenizer", "encoding", "lengths", "token ids")
"""Links that `check_lengths` can check: three digests, the encoding parameters, lengths and token ids of every sample."""


def check_lengths(
    plan: BatchPlan, found: LengthCache, source: int = 0, *, first_line: int | None = None, is_measured: bool = False
) -> ChainCheck:
    """Check a plan against the lengths of its data.

    The chain is checked from its root: data, template, tokenizer, parameters, lengths.

    Args:
        plan: The plan.
        found: Lengths of the current data, template and tokenizer.
        source: 0-based position of the plan's length cache.
        first_line: Line of sample 0 in the data file, if each sample is one line; messages then name lines.
        is_measured: Whether the caller has just encoded the data. A length cache from a file recomputes only the lengths;
            its digests of data, template and tokenizer are claims.

    Returns:
        The links that were recomputed, compared with a claim, or not checked.

    Raises:
        StalePlan: The first broken link, with row, component or sample if known.
    """
    held = _Held.of(plan, source)
    name = _Namer(found.ids, first_line)
    _check_data(held, found, name)
    for link in ("template", "tokenizer"):
        _check_link(held, found, link)
    expected = held.encoding
    if expected and found.header.encoding and expected != found.header.encoding:
        changes = describe_changes(expected, found.header.encoding)
        raise StalePlan(f"the encoding parameters changed: {changes}; build lengths and plan again", "LP-E146")
    _check_samples(held, found, name)
    unchecked = dict(_unchecked(held, found))
    _check_digest(held, found, unchecked)
    compared = tuple(link for link in LINKS if link not in unchecked)
    recomputed = compared if is_measured else tuple(link for link in compared if link in RECOMPUTED_FROM_LENGTHS)
    claimed = tuple(link for link in compared if link not in recomputed)
    return ChainCheck(recomputed, unchecked, claimed, found.name if claimed else "")


def _check_digest(held: "_Held", found: LengthCache, unchecked: Mapping[str, str]) -> None:
    """Compare the digests of two caches with equal headers, which cover ids, `loss_tokens` and `parts`."""
    knows_same = not unchecked.keys() & {*UPSTREAM, "encoding"}
    is_bare = all(getattr(found.header, link) == held.digest(link) == ABSENT for link in UPSTREAM)
    if (knows_same or (is_bare and found.header.encoding == held.encoding)) and found.digest != held.digest("lengths"):
        raise StalePlan(
            f"lengths: the digest of {found.name} is not the planned one: an `id`, `loss_tokens`, `parts` or digest of a "
            "sample changed; build the plan again",
            "LP-E146",
        )


RECOMPUTED_FROM_LENGTHS = ("lengths",)
"""Links that a length cache from a file recomputes; the others are claims."""


def _unchecked(held: "_Held", found: LengthCache) -> Iterator[tuple[str, str]]:
    """The links that one of the two sides does not have, with the reason."""
    none_given = f"{found.name} has no fingerprint of it"
    for link in UPSTREAM:
        if ABSENT in (held.digest(link), getattr(found.header, link)):
            yield link, NO_FINGERPRINT if held.digest(link) == ABSENT else none_given
    if not held.encoding or not found.header.encoding:
        yield "encoding", NO_FINGERPRINT if not held.encoding else none_given
    if held.prefixes is None or found.token_prefix is None:
        yield "token ids", NO_FINGERPRINT if held.prefixes is None else none_given


@dataclass(frozen=True)
class _Namer:
    """Describe a sample so that a person finds it."""

    ids: Sequence[str]
    first_line: int | None

    def __call__(self, sample: int) -> str:
        line = "" if self.first_line is None else f", line {self.first_line + sample}"
        return f"{sample} (id {self.ids[sample]!r}{line})"


@dataclass(frozen=True)
class _Held:
    """The plan's record of one source; `sample` is counted from the source's first one."""

    fingerprints: JSON
    source: int
    count: int
    sample: Integers
    length: Integers
    span_start: Integers
    prefixes: NDArray[np.uint32] | None

    @classmethod
    def of(cls, plan: BatchPlan, source: int) -> "_Held":
        numbering = Numbering.of_plan(plan.metadata)
        mine = slice(None) if numbering.num_sources == 1 else numbering.source_of(plan.sample) == source
        sample, prefixes = plan.sample[mine], plan.prefixes
        return cls(
            fingerprints=plan.fingerprints,
            source=source,
            count=plan.metadata.sources[source].count,
            sample=sample if numbering.num_sources == 1 else numbering.position_of(sample),
            length=plan.length[mine],
            span_start=plan.span_start[mine],
            prefixes=None if prefixes is None else prefixes[numbering.of(source)],
        )

    def digest(self, link: str) -> str:
        return str(self.fingerprints[link]["sources"][self.source])

    @property
    def encoding(self) -> JSON:
        return dict(self.parts("lengths").get("encoding", {}))

    def parts(self, link: str) -> JSON:
        return dict(self.fingerprints[link]["parts"][self.source])


_LINK_CODES = {
    "template": "LP-E142",
    "vocab": "LP-E143",
    "merges": "LP-E144",
    "added_tokens": "LP-E145",
    "special_ids": "LP-E145",
    "truncation": "LP-E146",
    "behavioural": "LP-E147",
}
SHOWN = 3
"""Maximum number of members of a component in a message."""
_INFORMATION = {"library", "files"}
"""Members of `parts` that are informative and in no digest."""


def _check_data(held: _Held, found: LengthCache, name: _Namer) -> None:
    again = "build lengths and plan again, or restore the data"
    row, count = _first_changed_row(held, found), held.count
    if count != len(found):
        where = f"; the first row that differs is row {name(row)}" if row is not None else ""
        raise StalePlan(f"data: the plan has {count} rows, {found.name} has {len(found)}{where}; {again}", "LP-E141")
    if ABSENT in (held.digest("data"), found.header.data) or held.digest("data") == found.header.data:
        return
    if row is None:
        raise StalePlan(f"data: a row of {found.name} changed; {again}", "LP-E140")
    assert held.prefixes is not None and found.row_prefix is not None, "a changed row was found by its prefix"
    changed = np.flatnonzero(held.prefixes[:, 0] != found.row_prefix)
    if len(changed) > 1 and sorted(held.prefixes[:, 0].tolist()) == sorted(found.row_prefix.tolist()):
        raise StalePlan(
            f"data: {len(changed)} rows of {found.name} are in another order, the first is row {name(row)}; {again}",
            "LP-E141",
        )
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    raise StalePlan(f"data: row {name(row)}{more} of {found.name} changed; {again}", "LP-E140")


def _first_changed_row(held: _Held, found: LengthCache) -> int | None:
    if held.prefixes is None or found.row_prefix is None:
        return None
    size = min(len(held.prefixes), len(found))
    changed = np.flatnonzero(held.prefixes[:size, 0] != found.row_prefix[:size])
    if len(changed):
        return int(changed[0])
    return size if size < len(found) else None


def _check_link(held: _Held, found: LengthCache, link: str) -> None:
    digest = str(getattr(found.header, link))
    if ABSENT in (held.digest(link), digest) or held.digest(link) == digest:
        return
    old, new = held.parts(link), found.header.parts.get(link, {})
    names = [name for name in changed_members(old, new) if name not in _INFORMATION]
    # A changed component changes behaviour too; the cause is named first.
    names.sort(key=lambda name: name == "behavioural")
    whole = f"the {link} changed: {show_value(held.digest(link))} -> {show_value(digest)}"
    what = f"{link}: {_change(names[0], old, new)}" if names else whole
    what += f" (and {', '.join(names[1:])})" if names[1:] else ""
    code = _LINK_CODES.get(link) or _LINK_CODES.get(names[0] if names else "", "LP-E146")
    raise StalePlan(f"{what}; lengths are stale: build lengths and plan again, or restore the {link}", code)


def _change(name: str, old: JSON, new: JSON) -> str:
    """Describe the change of a component, member by member if it has members."""
    before: object = old.get(name)
    after: object = new.get(name)
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return f"{name} changed: {show_value(old.get(name))} -> {show_value(new.get(name))}"
    members = cast("JSON", before), cast("JSON", after)
    changed = changed_members(*members)
    listed = "; ".join(f"{each!r} {members[0].get(each)!r} -> {members[1].get(each)!r}" for each in changed[:SHOWN])
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return f"{name} changed: {listed}{more}"


def _check_samples(held: _Held, found: LengthCache, name: _Namer) -> None:
    """Compare the length and, if known, the token digest of every sample."""
    is_whole = held.span_start == WHOLE
    sample, planned = held.sample[is_whole], held.length[is_whole]
    differs = np.flatnonzero(found.length[sample] != planned)
    if len(differs):
        which = int(sample[differs].min())
        length = int(planned[differs][sample[differs] == which][0])
        raise StalePlan(
            f"lengths: sample {name(which)} has {int(found.length[which])} tokens, the plan has "
            f"{length} ({len(np.unique(sample[differs]))} samples differ); build lengths and plan again",
            "LP-E130",
        )
    last = np.where(is_whole, 0, held.span_start + held.length)
    beyond = np.flatnonzero(last > found.length[held.sample])
    if len(beyond):
        which = int(held.sample[beyond[0]])
        raise StalePlan(
            f"lengths: sample {name(which)} has {int(found.length[which])} tokens, the plan uses "
            f"{int(last[beyond[0]])}; build lengths and plan again",
            "LP-E130",
        )
    if held.prefixes is not None and found.token_prefix is not None:
        changed = np.flatnonzero(held.prefixes[:, 1] != found.token_prefix)
        if len(changed):
            which = int(changed[0])
            raise StalePlan(
                f"lengths: sample {name(which)} has other token ids ({len(changed)} samples differ); "
                "build lengths and plan again",
                "LP-E147",
            )


def knows_files(plan: BatchPlan) -> bool:
    """Whether a plan has digests of its data files."""
    return bool(_known_files(plan))


def _known_files(plan: BatchPlan | Artifact) -> list[JSON]:
    """The files with rows: a file with a `role`, such as the manifest of a corpus, has none."""
    recorded = (file for parts in plan.fingerprints["data"]["parts"] for file in parts.get("files", []))
    return [file for file in recorded if "role" not in file]


def with_companions(paths: Sequence[Path | str]) -> list[Path]:
    """Data files, and after an index of Megatron (`.idx`) the file of its ids (`.bin`), if it is not given."""
    found: list[Path] = []
    given = set(map(Path, paths))
    for path in map(Path, paths):
        index = path.with_name(path.name + ".idx") if path.name else path
        index = index if not path.exists() and index.is_file() else path
        ids = index.with_suffix(".bin")
        found += [index, ids] if index.suffix == ".idx" and ids not in given else [index]
    return found


def check_files(plan: BatchPlan | Artifact, paths: Sequence[Path | str]) -> None:
    """Check data files against the SHA-256 that `plan_id` covers, byte by byte.

    Args:
        plan: The plan, or its documents after `check_documents`.
        paths: The files, in the order in which they were encoded.

    Raises:
        StalePlan: The first file that differs.
        PlanError: The plan has no digest of its files.
    """
    known = _known_files(plan)
    paths = with_companions(paths)
    if not known:
        raise PlanError(
            "the plan has no digest of its data files: build lengths with `lazarus_tokenkit.build_lengths`", "LP-E009"
        )
    if len(known) != len(paths):
        names = ", ".join(str(file["name"]) for file in known)
        raise StalePlan(f"data: the plan was made from {len(known)} files ({names}), {len(paths)} are given", "LP-E141")
    for file, path in zip(known, paths, strict=True):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != file["sha256"]:
            raise StalePlan(
                f"data: {path} is not the {file['name']} that the plan was made from ({path.stat().st_size} bytes, then "
                f"{file['bytes']}); compare fresh lengths to learn which row changed",
                "LP-E140",
            )
