"""Any step of a plan on disk in microseconds: one seek, one line. For loaders that start fast and check elsewhere."""

import json
from collections.abc import Callable, Iterable
from itertools import repeat
from pathlib import Path
from typing import cast

import numpy as np

from lazarus_plan.canonical import JSON
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.keyed import keyed_permutation, shuffle_key
from lazarus_plan.line import decode_line
from lazarus_plan.plan import Row, Segment, Step
from lazarus_plan.store import INDEX, PLAN, read_artifact

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
            if decode_line(reader.line(index), index + 1).step != index:
                raise CorruptPlan(f"{PLAN}:{index + 1}: another step stands where step {index} belongs", "LP-E111")
    return chosen
