"""A review as plain text, Markdown or JSON."""

import json
from collections.abc import Iterator, Sequence
from itertools import product

from lazarus_core.canonical import JSON
from lazarus_core.outputs import OutputKind, begins_with
from lazarus_core.printable import printable_line
from lazarus_plan.checks.diff import describe_diff
from lazarus_plan.ci.data import ChangedText
from lazarus_plan.ci.review import Changes, Review
from lazarus_plan.findings import SHOWN

REPORT = OutputKind(
    "a report of `ci`", begins_with(r"### Batch plan |(ok|error|warning)[: ]|\{\s*\"(lock|\$schema)\":")
)
MAX_TEXT = 240
"""Maximum characters of a row that are shown, around the first different one."""
BEFORE = 60
"""Characters shown before the first different one."""


def to_text(review: Review, is_strict: bool = False) -> str:
    """The review as text, one fact per line. The verdict is the last line.

    Args:
        review: Result of `review_lock`.
        is_strict: Whether warnings count as errors.
    """
    lines = [
        f"{_level(finding.is_error or is_strict)} {finding.code}: {finding.message}" for finding in review.findings
    ]
    lines += [f"ok: {line}" for line in review.checks]
    if review.changes is not None:
        lines += ["", *_change_lines(review.changes), *_row_lines(review.changes)]
    return "\n".join(map(printable_line, [*lines, _verdict(review, is_strict)]))


def to_markdown(review: Review, is_strict: bool = False) -> str:
    """The review as a Markdown comment: verdict, findings, changes, and the rows in a fenced block.

    Args:
        review: Result of `review_lock`.
        is_strict: Whether warnings count as errors.
    """
    lines = [f"### Batch plan {_code(str(review.lock))}", "", _verdict(review, is_strict), ""]
    lines += [
        f"- **{_level(finding.is_error or is_strict)} {finding.code}**: {_code(finding.message)}"
        for finding in review.findings
    ]
    lines += [f"- ok: {_code(line)}" for line in review.checks]
    if review.changes is not None:
        lines += ["", f"Changes since {_code(review.changes.base)}:", ""]
        lines += [f"- {_code(line)}" for line in _change_lines(review.changes)[1:]]
        rows = _row_lines(review.changes)
        if rows:
            fence = _fence(rows)
            lines += ["", f"{fence}diff", *rows, fence]
    return "\n".join(map(printable_line, lines))


def to_json(review: Review, is_strict: bool = False) -> str:
    """The review as a JSON object.

    Args:
        review: Result of `review_lock`.
        is_strict: Whether `ok` is false if there are warnings.
    """
    members: JSON = {
        "lock": review.lock.as_posix(),
        "ok": review.is_ok(is_strict),
        "plan_id": review.plan_id,
        "findings": [
            {"code": each.code, "message": each.message, "file": each.file, "line": each.line}
            for each in review.findings
        ],
        "checks": list(review.checks),
        "changes": None if review.changes is None else _changes_json(review.changes),
    }
    return json.dumps(members, indent=2, ensure_ascii=False)


def _changes_json(changes: Changes) -> JSON:
    tokens = changes.tokens
    return {
        "base": changes.base,
        "note": changes.note,
        "plan": changes.documents,
        "rows": None if changes.rows is None else changes.rows.to_json(),
        "texts": [
            {
                "kind": each.kind,
                "id": each.row.id,
                "source": each.row.source,
                "is_stale": each.is_stale,
                "old": each.old,
                "new": each.new,
            }
            for each in changes.texts
        ],
        "tokens": None if tokens is None else [tokens[0][0], tokens[1][0]],
        "padding": None if tokens is None else [room - real for real, room in tokens],
    }


def _level(is_error: bool) -> str:
    return "error" if is_error else "warning"


def _verdict(review: Review, is_strict: bool) -> str:
    if not review.is_ok(is_strict):
        return f"{review.lock}: NOT what its inputs give"
    doubts = sum(not finding.is_error for finding in review.findings)
    return f"{review.lock}: what its inputs give" + (f", {doubts} not compared" if doubts else "")


def _change_lines(changes: Changes) -> list[str]:
    """Text lines about the changes; the first line names the base."""
    lines = [f"changes since {changes.base}:"]
    if changes.note:
        lines.append(changes.note)
    if changes.documents is not None:
        lines += describe_diff(changes.documents, changes.rows)
    elif changes.rows is not None:
        lines += [f"rows: {changes.rows.line()}", *changes.rows.names()]
    if changes.tokens is not None and changes.tokens[0] != changes.tokens[1]:
        (old, old_room), (new, new_room) = changes.tokens
        lines.append(f"tokens: {old:,} -> {new:,} ({new - old:+,})")
        lines.append(f"padding: {_padding(old, old_room)} -> {_padding(new, new_room)}")
    return lines


def _padding(tokens: int, room: int) -> str:
    return f"{room - tokens:,} tokens ({100 * (room - tokens) / room:.2f} %)"


def _row_lines(changes: Changes) -> list[str]:
    """Text lines about the rows that differ, with their text if known."""
    lines: list[str] = []
    for is_stale, kind in product((False, True), ("removed", "changed", "added")):
        listed = [each for each in changes.texts if (each.is_stale, each.kind) == (is_stale, kind)]
        for each in listed[:SHOWN]:
            lines += _one_row(each)
        if len(listed) > SHOWN:
            lines.append(f"  and more that were {kind}")
    return lines


def _one_row(change: ChangedText) -> Iterator[str]:
    row = change.row
    before, after = row.tokens
    tokens = f"{before:,} -> {after:,} tokens" if change.kind == "changed" else f"{before or after:,} tokens"
    about = "in the data, not in the lengths" if change.is_stale else tokens
    yield f"  {change.kind} {row.source} {row.id!r}, {about}"
    start = _first_difference(change.old, change.new)
    sides = (("-", change.old), ("+", change.new))
    yield from (f"{sign} {_excerpt(text, start)}" for sign, text in sides if text is not None)


def _first_difference(old: str | None, new: str | None) -> int:
    if old is None or new is None:
        return 0
    pairs = enumerate(zip(old, new, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(old), len(new)))


def _excerpt(text: str, start: int) -> str:
    begin = max(0, start - BEFORE) if len(text) > MAX_TEXT else 0
    cut = text[begin : begin + MAX_TEXT]
    return ("..." if begin else "") + cut + ("..." if begin + MAX_TEXT < len(text) else "")


def _code(text: str) -> str:
    """Inline code, so that nothing in it is markup, a link or a mention."""
    fence = "`" * (_longest_run(text) + 1)
    space = " " if "`" in text else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def _fence(lines: Sequence[str]) -> str:
    return "`" * max(3, max(map(_longest_run, lines)) + 1)


def _longest_run(text: str) -> int:
    """Length of the longest run of backticks."""
    return max(map(len, "".join(each if each == "`" else " " for each in text).split()), default=0)
