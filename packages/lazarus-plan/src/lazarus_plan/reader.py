"""Any step of a plan on disk in microseconds: one seek, one line. For loaders that start fast and check elsewhere."""

import json
from collections.abc import Callable, Iterable
from itertools import repeat
from pathlib import Path
from typing import cast

from lazarus_plan.canonical import JSON
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.keyed import keyed_permutation, shuffle_key
from lazarus_plan.line import decode_line
from lazarus_plan.plan import Row, Segment, Step
from lazarus_plan.store import INDEX, PLAN, REMAKE, read_artifact

_new_segment = cast("Callable[..., Segment]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType] # generic in what it makes


class PlanReader:
    """Reads steps one by one, by the line offsets in `plan.idx`. The whole plan is checked by `load_plan`, not here.

    Args:
        path: Folder of the plan.

    Raises:
        CorruptPlan: The index is missing or is not that of this plan.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        artifact = read_artifact(path)
        if artifact.offsets is None:
            raise CorruptPlan(f"{path / INDEX} is missing: build the plan again, or use `load_plan`", "LP-E153")
        self.metadata, self._offsets = artifact.metadata, artifact.offsets
        steps = sum(epoch.steps for epoch in self.metadata.epochs)
        if (len(self), int(self._offsets[-1])) != (steps, (path / PLAN).stat().st_size):
            raise CorruptPlan(f"{path / INDEX} is not the index of {PLAN}: {REMAKE}", "LP-E153")
        self._lines = (path / PLAN).open("rb")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __enter__(self) -> "PlanReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._lines.close()

    def line(self, index: int) -> bytes:
        """The line of one step, with its LF.

        Raises:
            CorruptPlan: The index leads to something else.
        """
        begin, end = self._offsets[index : index + 2].tolist()
        self._lines.seek(begin)
        line = self._lines.read(max(end - begin, 0))
        if not line.startswith(b'{"step":%d,' % index) or line.find(b"\n") != len(line) - 1:
            raise CorruptPlan(f"{INDEX} does not lead to the line of step {index}: {REMAKE}", "LP-E153")
        return line

    def step(self, index: int) -> Step:
        """One step.

        Raises:
            CorruptPlan: What stands there is another step.
        """
        members = json.loads(self.line(index))
        row_len = members.get("row_len") or self.metadata.config.resolved_row_len
        spans = _spans(members, self.metadata.config.resolved_row_len)
        rows: list[list[Segment]] = []
        current = -1
        for sample, (start, end), span in zip(members["samples"], members["packing"], spans, strict=True):
            if start // row_len != current:
                current = start // row_len
                rows.append([])
                first = current * row_len
            # Twice as fast as calling Segment, and most of the time goes here.
            rows[-1].append(_new_segment(Segment, (sample, start - first, end - first, span)))  # pyright: ignore[reportPossiblyUnboundVariable] # no row is -1
        return Step(index, row_len, tuple(Row(tuple(segments)) for segments in rows))


def _spans(members: JSON, row_len: int) -> Iterable[tuple[int, int] | None]:
    """The span of each sample, None where it is whole."""
    if "spans" not in members:
        return repeat(None, len(members["samples"]))
    return [(first, end) if first > 0 or end == row_len else None for first, end in members["spans"]]


def spot_check(path: Path, count: int, seed: int = 0) -> list[int]:
    """Parses some steps strictly, chosen by a keyed permutation.

    Returns:
        The steps that were checked.

    Raises:
        CorruptPlan: A line is not what it should be.
    """
    with PlanReader(path) as reader:
        chosen = sorted(keyed_permutation(len(reader), shuffle_key("spot", seed, 0, 0))[:count].tolist())
        for index in chosen:
            decode_line(reader.line(index), index + 1)
    return chosen
