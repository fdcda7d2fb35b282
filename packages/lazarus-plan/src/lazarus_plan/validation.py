"""Holds an artifact against itself: what its own four files are enough to find. Every finding has a stable code."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from lazarus_plan.canonical import JSON, canonical_digest, changed_members
from lazarus_plan.codec import Line, decode_line
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.fingerprint import UPSTREAM, digest_lines, plan_id
from lazarus_plan.lengths import ABSENT
from lazarus_plan.plan import WHOLE, BatchPlan
from lazarus_plan.stats import plan_stats
from lazarus_plan.store import FINGERPRINTS, METADATA, STATS, Artifact, read_artifact

SHOWN = 10
"""Findings of one code that are listed; the rest are counted."""
MIN_EFFICIENCY = (9, 10)
"""LP-W201 below this share of real tokens: best fit leaves over 0.99 of a full row on natural lengths."""
MAX_PARTIAL = (1, 100)
"""LP-W202 above this share of split or truncated samples."""
MAX_REPEATS = 4
"""LP-W204 above this many epochs: gains of repeating fade after four (Muennighoff et al. 2023, arXiv 2305.16264)."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or looks so.

    Args:
        code: LP-E... for an error, LP-W... for a warning.
        message: What and where, in one line.
    """

    code: str
    message: str

    @property
    def is_error(self) -> bool:
        """Whether the plan must not be used."""
        return self.code.startswith("LP-E")


def load_plan(path: Path | str) -> BatchPlan:
    """Reads a plan and believes nothing: every check that needs no other file is made.

    Raises:
        PlanError: Not a plan.
        CorruptPlan: The first thing that is wrong, by line.
    """
    plan, findings = _inspect(read_artifact(Path(path)))
    for finding in findings:
        if finding.is_error:
            raise CorruptPlan(finding.message, finding.code)
    assert plan is not None, "a plan without errors was read"
    return plan


def validate(path: Path | str) -> list[Finding]:
    """All findings about an artifact, errors first.

    Raises:
        PlanError: Not a plan, or its metadata cannot be read at all.
    """
    _, findings = _inspect(read_artifact(Path(path)))
    return sorted(findings, key=lambda finding: not finding.is_error)


def _inspect(artifact: Artifact) -> tuple[BatchPlan | None, list[Finding]]:
    """Reads the lines into a plan, as far as they allow, and collects what is wrong."""
    findings: list[Finding] = []
    lines: list[Line] = []
    for number, raw in enumerate(artifact.lines, 1):
        try:
            lines.append(decode_line(raw, number))
        except CorruptPlan as error:
            findings.append(Finding(error.code, error.message))
            if len(findings) == SHOWN:
                return None, findings
    if findings:
        return None, findings
    findings += _check_numbering(lines, sum(epoch.steps for epoch in artifact.metadata.epochs))
    if findings or not lines:
        return None, findings or [Finding("LP-E114", "plan.jsonl is empty")]
    plan = _to_plan(lines, artifact)
    findings += _limit(_check_geometry(plan, lines))
    if findings:
        return None, findings
    findings += _check_epochs(plan)
    findings += _limit(_check_multiplicity(plan)) if not findings else []
    findings += _check_records(plan, artifact)
    findings += _warnings(plan)
    return plan, findings


def _check_numbering(lines: list[Line], steps: int) -> list[Finding]:
    numbers = [line.step for line in lines]
    expected = list(range(len(lines)))
    if numbers == expected:
        if len(lines) == steps:
            return []
        what = "truncated" if len(lines) < steps else "too long"
        return [Finding("LP-E114", f"plan.jsonl is {what}: {len(lines)} steps, {METADATA} says {steps}")]
    at = next(i for i, number in enumerate(numbers) if number != i)
    where = f"plan.jsonl:{at + 1}: step {numbers[at]} stands where step {at} belongs"
    if len(set(numbers)) < len(numbers):
        return [Finding("LP-E113", f"{where}: a line stands twice")]
    if sorted(numbers) == expected:
        return [Finding("LP-E112", f"{where}: lines are in another order")]
    return [Finding("LP-E111", f"{where}: steps are missing")]


def _to_plan(lines: list[Line], artifact: Artifact) -> BatchPlan:
    ranges = np.array([pair for line in lines for pair in line.packing], dtype=np.int64).reshape(-1, 2)
    row_len = artifact.metadata.config.row_len
    span_start = [
        WHOLE if first == 0 and end - first != row_len else first
        for line in lines
        for first, end in line.spans or [(0, 0)] * len(line.samples)
    ]
    return BatchPlan(
        metadata=artifact.metadata,
        fingerprints=artifact.fingerprints,
        sample=np.array([sample for line in lines for sample in line.samples], dtype=np.int64),
        start=ranges[:, 0],
        end=ranges[:, 1],
        step_splits=np.concatenate([[0], np.cumsum([len(line.samples) for line in lines])]).astype(np.int64),
        span_start=np.array(span_start, dtype=np.int64),
        prefixes=artifact.prefixes,
    )


def _check_geometry(plan: BatchPlan, lines: list[Line]) -> Iterator[Finding]:
    """Segments stand in order, apart, inside one row; tokens and spans add up."""
    step = np.repeat(np.arange(len(plan)), np.diff(plan.step_splits))
    room = plan.metadata.config.token_budget // plan.row_len * plan.row_len
    for line in lines:
        if not line.samples:
            yield Finding("LP-E110", f"{_at(line.step)}: a step without samples")
    is_next = np.concatenate([[False], step[1:] == step[:-1]])
    previous_end = np.where(is_next, np.concatenate([[0], plan.end[:-1]]), 0)
    problems = (
        ("LP-E108", plan.start >= plan.end, "is empty or reversed"),
        ("LP-E108", plan.start < previous_end, "overlaps the one before it"),
        ("LP-E109", plan.start // plan.row_len != (plan.end - 1) // plan.row_len, "straddles two rows"),
        ("LP-E109", plan.end > room, f"lies beyond the {room} tokens of a step"),
    )
    for code, where, what in problems:
        for place in np.flatnonzero(where).tolist():
            yield Finding(
                code,
                f"{_at(int(step[place]))}: the range [{plan.start[place]},{plan.end[place]}] of sample "
                f"{plan.sample[place]} {what}",
            )
    for line in lines:
        tokens = sum(end - start for start, end in line.packing)
        if tokens != line.tokens:
            yield Finding("LP-E110", f"{_at(line.step)}: `tokens` is {line.tokens}, the ranges add up to {tokens}")
        for (start, end), (first, last) in zip(line.packing, line.spans or line.packing, strict=True):
            if end - start != last - first:
                yield Finding(
                    "LP-E110", f"{_at(line.step)}: span [{first},{last}] and range [{start},{end}] differ in size"
                )


def _check_epochs(plan: BatchPlan) -> list[Finding]:
    """The epochs of the metadata cover the steps and count what is there."""
    first_step = 0
    for number, epoch in enumerate(plan.metadata.epochs):
        last_step = first_step + epoch.steps
        if (epoch.epoch, epoch.first_step) != (number, first_step) or epoch.steps < 1 or last_step > len(plan):
            return [Finding("LP-E151", f"{METADATA}: epoch {number} does not follow the one before it")]
        samples = int(plan.step_splits[last_step] - plan.step_splits[first_step])
        tokens = int(plan.tokens[first_step:last_step].sum())
        if (samples, tokens) != (epoch.samples, epoch.tokens):
            return [
                Finding(
                    "LP-E151",
                    f"{METADATA}: epoch {number} counts {epoch.samples} samples and {epoch.tokens} tokens, the plan has "
                    f"{samples} and {tokens}",
                )
            ]
        first_step = last_step
    if len(plan.metadata.epochs) != plan.metadata.config.epochs:
        return [
            Finding("LP-E151", f"{METADATA}: {len(plan.metadata.epochs)} epochs, the configuration asks for others")
        ]
    return []


def _check_multiplicity(plan: BatchPlan) -> Iterator[Finding]:
    """Every sample once an epoch; the pieces of a split one, without gap or overlap; the rest excluded."""
    count = sum(source.count for source in plan.metadata.sources)
    outside = np.flatnonzero(plan.sample >= count)
    for place in outside.tolist():
        step = int(np.searchsorted(plan.step_splits, place, side="right")) - 1
        yield Finding(
            "LP-E122", f"{_at(step)}: sample {plan.sample[place]} is outside the {count} samples of the sources"
        )
    if len(outside):
        return
    left_out = plan.metadata.excluded.oversize + plan.metadata.excluded.zero_length
    for epoch in plan.metadata.epochs:
        begin, end = plan.step_splits[epoch.first_step], plan.step_splits[epoch.first_step + epoch.steps]
        sample = plan.sample[begin:end]
        first = np.maximum(plan.span_start[begin:end], 0)
        last = first + plan.end[begin:end] - plan.start[begin:end]
        order = np.lexsort((first, sample))
        sample, first, last = sample[order], first[order], last[order]
        follows = np.concatenate([[False], sample[1:] == sample[:-1]])
        is_repeated = follows & (first == 0)
        for each in sample[is_repeated].tolist():
            yield Finding("LP-E120", f"epoch {epoch.epoch}: sample {each} stands twice")
        due = np.where(follows, np.concatenate([[0], last[:-1]]), 0)
        for each in sample[(first != due) & ~is_repeated].tolist():
            yield Finding("LP-E123", f"epoch {epoch.epoch}: the pieces of sample {each} leave a gap or overlap")
        missing = np.setdiff1d(np.arange(count), sample)
        if len(missing) > left_out:
            yield Finding(
                "LP-E121",
                f"epoch {epoch.epoch}: {len(missing) - left_out} samples are missing and not recorded as excluded, "
                f"such as sample {missing[0]}",
            )
        elif len(missing) < left_out:
            yield Finding(
                "LP-E123", f"epoch {epoch.epoch}: {left_out} samples are recorded as excluded, {len(missing)} are"
            )


def _check_records(plan: BatchPlan, artifact: Artifact) -> list[Finding]:
    """Fingerprints and stats say what the plan gives."""
    findings: list[Finding] = []
    sha, root, steps = digest_lines(artifact.lines)
    stored = artifact.fingerprints
    canonical = plan.metadata.config.canonical()
    sources = [source.lengths for source in plan.metadata.sources]
    lengths = canonical_digest(sources)
    expected: dict[str, Any] = {
        "plan_sha256": sha,
        "merkle_root": root,
        "plan_id": plan_id(plan.metadata.config, lengths, root, steps),
        "config": {"digest": canonical_digest(canonical), "inputs": [], "count": len(canonical)},
    }
    expected["plan"] = {"digest": expected["plan_id"], "inputs": ["lengths", "config"], "count": steps}
    for name, value in expected.items():
        if stored.get(name) != value:
            what = "the plan was edited after it was built" if name in ("plan_sha256", "merkle_root") else "edited"
            findings.append(Finding("LP-E151", f"{FINGERPRINTS}: `{name}` does not fit the files: {what}"))
    for link in (*UPSTREAM, "lengths"):
        if not _is_sound_link(stored.get(link), sources if link == "lengths" else None):
            findings.append(Finding("LP-E151", f"{FINGERPRINTS}: the link `{link}` does not fit its sources"))
    if not findings and artifact.stats != plan_stats(plan):
        names = changed_members(artifact.stats, plan_stats(plan))
        findings.append(
            Finding("LP-E151", f"{STATS}: {', '.join(f'`{name}`' for name in names)} disagree with the plan")
        )
    return findings


def _is_sound_link(link: object, sources: list[str] | None) -> bool:
    if not isinstance(link, dict):
        return False
    members = cast("JSON", link)
    given, parts = members.get("sources"), members.get("parts")
    if not isinstance(given, list) or not isinstance(parts, list) or not given or len(given) != len(parts):  # pyright: ignore[reportUnknownArgumentType] # any JSON
        return False
    given = [str(each) for each in cast("list[object]", given)]
    digest = ABSENT if ABSENT in given else canonical_digest(given)
    return members.get("digest") == digest and (sources is None or given == sources)


def _warnings(plan: BatchPlan) -> list[Finding]:
    findings: list[Finding] = []
    stats = plan_stats(plan)
    tokens, room = stats["efficiency"]
    if tokens * MIN_EFFICIENCY[1] < room * MIN_EFFICIENCY[0]:
        findings.append(Finding("LP-W201", f"{100 * (room - tokens) / room:.1f} % of all tokens are padding"))
    partial = int((plan.span_start != WHOLE).sum())
    if partial * MAX_PARTIAL[1] > len(plan.sample) * MAX_PARTIAL[0]:
        findings.append(Finding("LP-W202", f"{partial} of {len(plan.sample)} placed samples are cut"))
    if plan.metadata.config.epochs > MAX_REPEATS:
        findings.append(Finding("LP-W204", f"{plan.metadata.config.epochs} epochs: gains fade after {MAX_REPEATS}"))
    absent = [link for link in UPSTREAM if plan.fingerprints.get(link, {}).get("digest") == ABSENT]
    if absent:
        findings.append(
            Finding(
                "LP-W205",
                f"no fingerprint of {', '.join(absent)}: nobody can prove what the plan was made from; "
                "build lengths with `lazarus data lengths build`",
            )
        )
    return findings


def _limit(findings: Iterator[Finding]) -> list[Finding]:
    """The first findings; the rest are counted in one more."""
    listed: list[Finding] = []
    more = 0
    for finding in findings:
        if len(listed) < SHOWN:
            listed.append(finding)
        else:
            more += 1
    if more:
        listed.append(Finding(listed[-1].code, f"and {more} more of this kind"))
    return listed


def _at(step: int) -> str:
    return f"plan.jsonl:{step + 1}: step {step}"
