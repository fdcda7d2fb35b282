"""Any step of a plan on disk in microseconds: one seek, one line. For loaders that start fast and check elsewhere."""

import json
from pathlib import Path

import numpy as np

from lazarus_plan.errors import CorruptPlan
from lazarus_plan.keyed import keyed_permutation, shuffle_key
from lazarus_plan.line import decode_line
from lazarus_plan.plan import Row, Segment, Step
from lazarus_plan.store import INDEX, PLAN, read_artifact

WHOLE_SPAN = (0, 0)
"""Stands for the span of a sample in a line without spans."""


class PlanReader:
    """Reads steps one by one, by the line offsets in `plan.idx`. The whole plan is checked by `load_plan`, not here.

    Args:
        path: Folder of the plan.

    Raises:
        CorruptPlan: The index is missing or is not that of this plan.
    """

    def __init__(self, path: Path) -> None:
        self.metadata = read_artifact(path).metadata
        self._lines = (path / PLAN).open("rb")
        if not (path / INDEX).is_file():
            raise CorruptPlan(f"{path / INDEX} is missing: build the plan again, or use `load_plan`", "LP-E151")
        self._offsets = np.memmap(path / INDEX, dtype="<u8", mode="r")
        if int(self._offsets[-1]) != (path / PLAN).stat().st_size:
            raise CorruptPlan(f"{path / INDEX} is not the index of {PLAN}: build the plan again", "LP-E151")

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
        """The line of one step, with its LF."""
        begin, end = self._offsets[index : index + 2].tolist()
        self._lines.seek(begin)
        return self._lines.read(end - begin)

    def step(self, index: int) -> Step:
        """One step.

        Raises:
            CorruptPlan: What stands there is another step.
        """
        members = json.loads(self.line(index))
        if members["step"] != index:
            raise CorruptPlan(f"{PLAN}: step {members['step']} stands where step {index} belongs", "LP-E111")
        row_len = members.get("row_len") or self.metadata.config.resolved_row_len
        rows: dict[int, list[Segment]] = {}
        spans = members.get("spans") or [WHOLE_SPAN] * len(members["samples"])
        for sample, (start, end), span in zip(members["samples"], members["packing"], spans, strict=True):
            row = start // row_len
            first = start - row * row_len
            is_cut = span is not WHOLE_SPAN and (span[0] > 0 or end - start == self.metadata.config.row_len)
            rows.setdefault(row, []).append(
                Segment(sample, first, first + end - start, (span[0], span[1]) if is_cut else None)
            )
        return Step(index, row_len, tuple(Row(tuple(segments)) for segments in rows.values()))


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
            if decode_line(reader.line(index), index + 1).step != index:
                raise CorruptPlan(f"{PLAN}:{index + 1}: another step stands where step {index} belongs", "LP-E111")
    return chosen
