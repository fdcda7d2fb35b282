"""Random access to the steps of a plan on disk in microseconds: one seek, one line."""

from pathlib import Path

import numpy as np

from lazarus_core.bounded import open_file
from lazarus_plan.errors import CorruptPlan
from lazarus_plan.format import ascii_ints as digits
from lazarus_plan.format.step_json import Line, decode_line
from lazarus_plan.format.store import INDEX, PLAN, REMAKE, read_artifact
from lazarus_plan.plan import WHOLE, Integers, Step


class PlanReader:
    """Read single steps by the line offsets in `plan.idx`. It does not check the whole plan; `load_plan` does.

    Args:
        path: Folder of the plan.

    Raises:
        CorruptPlan: The index is missing or belongs to another plan.
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
        self._lines = open_file(path / PLAN)

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
            CorruptPlan: The index does not point to a line.
        """
        # An offset per line start, and the size of the file as the last one.
        begin, end = self._offsets[index : index + 2].tolist()
        self._lines.seek(begin)
        line = self._lines.read(max(end - begin, 0))
        # The right step, and exactly one LF, at the end.
        if not line.startswith(b'{"step":%d,' % index) or line.find(b"\n") != len(line) - 1:
            raise CorruptPlan(f"{INDEX} does not lead to the line of step {index}: {REMAKE}", "LP-E153")
        return line

    def step(self, index: int) -> Step:
        """One step. Its rows are created on demand.

        Raises:
            CorruptPlan: The line at the offset belongs to another step.
        """
        line = self.line(index)
        row_len = self.metadata.config.resolved_row_len
        # Every member name has two quotes. Four names are always there.
        names = line.count(b'"') // 2
        has_row_len, has_spans = (names > 4 and name in line for name in (b'"row_len"', b'"spans"'))
        values, _, _ = digits.read(np.frombuffer(line, dtype=np.uint8))
        # Numbers of a line: step, samples, tokens, ranges, row_len, spans. Per sample 3 numbers, or 5 with spans.
        size, odd = divmod(len(values) - 2 - has_row_len, 5 if has_spans else 3)
        if odd or names != 4 + has_row_len + has_spans:
            return _step_of(decode_line(line, index + 1), row_len)  # unknown members, or damage
        # Range ends follow step, samples and tokens, as pairs.
        ranges = values[2 + size : 2 + 3 * size].reshape(size, 2)
        start = ranges[:, 0]
        length = ranges[:, 1] - start
        span_start = np.full(size, WHOLE)
        if has_spans:
            # Spans are the last 2 * size numbers; every second one is a start.
            span_start = _cut(values[-2 * size :: 2], length, row_len)
        return Step(
            index=index,
            row_len=int(values[2 + 3 * size]) if has_row_len else row_len,
            sample=values[1 : 1 + size],
            start=start,
            length=length,
            span_start=span_start,
        )


def _cut(first: Integers, length: Integers, row_len: int) -> Integers:
    """`span_start` from the spans of a line. A sample that starts at 0 and does not fill a row is whole."""
    return np.where((first > 0) | (length == row_len), first, WHOLE)


def _step_of(line: Line, row_len: int) -> Step:
    ranges = np.array(line.packing, dtype=np.int64).reshape(-1, 2)
    start = ranges[:, 0]
    length = ranges[:, 1] - start
    span_start = np.full(len(start), WHOLE)
    if line.spans is not None:
        span_start = _cut(np.array(line.spans, dtype=np.int64)[:, 0], length, row_len)
    return Step(line.step, line.row_len or row_len, np.array(line.samples, dtype=np.int64), start, length, span_start)
