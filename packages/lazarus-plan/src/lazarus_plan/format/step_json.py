"""Strict parser for a single line of `plan.jsonl` that describes every problem with a code."""

import json
import re
from typing import Any, NamedTuple, cast

from lazarus_core.canonical import JSON, MAX_INTEGER
from lazarus_core.strict_json import MalformedJson, parse_json
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.git_damage import line_ends_advice

REQUIRED = ("step", "samples", "tokens", "packing")
KNOWN = (*REQUIRED, "row_len", "spans")
"""Members that this version reads, in order; unknown ones may follow."""


class Line(NamedTuple):
    """The members of one line.

    Args:
        step: 0-based step across epochs.
        samples: Sample ids in placement order.
        tokens: Tokens that are not padding.
        packing: Half-open range of each sample in the step's flat buffer.
        row_len: Tokens per row, or None if the metadata gives it for all steps.
        spans: Token range within each sample, or None if all samples are whole.
    """

    step: int
    samples: list[int]
    tokens: int
    packing: list[list[int]]
    row_len: int | None = None
    spans: list[list[int]] | None = None

    def encode(self) -> bytes:
        """The line, with its LF."""
        members = {name: value for name, value in self._asdict().items() if value is not None}
        return _spell(members)


def decode_line(line: bytes, number: int) -> Line:
    """Parse one line; only its canonical form is accepted.

    Args:
        line: The bytes, with their LF.
        number: 1-based line, for messages.

    Raises:
        CorruptPlan: LP-E101 to E106 for another form, E107 for members that do not match.
    """
    try:
        members = parse_json(line)
    except MalformedJson:
        members = None
    if members is None or not _is_well_typed(members) or _spell(cast("JSON", members)) != line:
        raise _diagnose(line, number)
    parsed: dict[str, Any] = members
    known = tuple(name for name in KNOWN if name in parsed)
    if tuple(parsed)[: len(known)] != known:
        raise _corrupt(
            number, f"members are in the order {', '.join(parsed)}; it must be {', '.join(REQUIRED)}", "LP-E105"
        )
    result = Line(*(parsed[name] for name in REQUIRED), row_len=parsed.get("row_len"), spans=parsed.get("spans"))
    for name, ranges in (("packing", result.packing), ("spans", result.spans)):
        if ranges is not None and len(ranges) != len(result.samples):
            raise _corrupt(number, f"{len(result.samples)} samples but {len(ranges)} ranges in `{name}`", "LP-E107")
    return result


def _diagnose(line: bytes, number: int) -> CorruptPlan:
    """Describe why a line is not canonical."""
    text = line.decode("latin-1")
    if line.startswith(b"\xef\xbb\xbf"):
        return _corrupt(number, "there is a byte order mark before the line", "LP-E101")
    if not line.isascii():
        return _corrupt(number, "bytes outside ASCII", "LP-E101")
    if not line.endswith(b"\n"):
        return _corrupt(number, "no line feed at the end: the file is cut off", "LP-E102")
    if line.endswith(b"\r\n"):
        return _corrupt(number, f"ends in CR LF; lines end in LF alone: {line_ends_advice('plan.jsonl')}", "LP-E102")
    if not line.strip():
        return _corrupt(number, "a blank line", "LP-E102")
    outside_strings = re.sub(r'"[^"]*"', "", text[:-1])
    if re.search(r"\b0[0-9]", outside_strings):
        return _corrupt(number, "a number with a leading zero", "LP-E103")
    try:
        members = json.loads(line, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        return _corrupt(number, f"not JSON: {error}", "LP-E106")
    if not isinstance(members, list) or not text.startswith("{"):
        return _corrupt(number, "not an object", "LP-E106")
    names = [name for name, _ in cast("list[tuple[str, object]]", members)]
    if len(set(names)) != len(names):
        return _corrupt(number, "a member occurs twice", "LP-E106")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        return _corrupt(number, f"no `{missing[0]}`", "LP-E106")
    if re.search(r"\s", outside_strings):
        return _corrupt(number, "white space inside the line", "LP-E104")
    if re.search(r"[.eE+-]|[0-9]{17}", outside_strings):
        return _corrupt(number, "a number that is not a plain integer below 2^53", "LP-E103")
    if tuple(names[: len(REQUIRED)]) != REQUIRED:
        return _corrupt(number, f"members are in the order {', '.join(names)}", "LP-E105")
    return _corrupt(number, "a member has the wrong type, or a number is not below 2^53", "LP-E103")


def _corrupt(number: int, problem: str, code: str) -> CorruptPlan:
    return CorruptPlan(f"plan.jsonl:{number}: {problem}", code)


def _spell(members: JSON) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode("ascii") + b"\n"


def _is_well_typed(members: object) -> bool:
    if not isinstance(members, dict):
        return False
    line = cast("JSON", members)
    return (
        all(name in line for name in REQUIRED)
        and _is_natural(line["step"])
        and _is_natural(line["tokens"])
        and _is_list_of(line["samples"], _is_natural)
        and _is_list_of(line["packing"], _is_range)
        and ("row_len" not in line or (_is_natural(line["row_len"]) and line["row_len"] > 0))
        and ("spans" not in line or _is_list_of(line["spans"], _is_range))
    )


def _is_list_of(value: object, accepts: Any) -> bool:
    return isinstance(value, list) and all(map(accepts, cast("list[object]", value)))


def _is_range(value: object) -> bool:
    return _is_list_of(value, _is_natural) and len(cast("list[int]", value)) == 2


def _is_natural(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_INTEGER
