"""The steps of a batch plan, from its files alone. Standard library only."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Place(NamedTuple):
    """Where one sample stands in a step: row, half-open range of tokens in it, and which of its own tokens."""

    sample: int
    row: int
    start: int
    end: int
    first: int
    rows: int
    row_len: int


class PlanSteps:
    """The places of each step for one rank, dealt back and forth (the plan's rule "snake").

    Args:
        path: Folder of the plan.
        rank: 0-based.
        world_size: Number of ranks.
        first_step: Where to begin; resuming costs nothing.
    """

    def __init__(self, path: str, rank: int = 0, world_size: int = 1, first_step: int = 0) -> None:
        self.lines = (Path(path) / "plan.jsonl").read_bytes().splitlines()
        self.config: dict[str, Any] = json.loads((Path(path) / "metadata.json").read_bytes())["config"]
        self.rank, self.world_size, self.first_step = rank, world_size, first_step

    def __len__(self) -> int:
        return len(self.lines) - self.first_step

    def __iter__(self) -> Iterator[list[Place]]:
        return map(self.step, range(self.first_step, len(self.lines)))

    def step(self, index: int) -> list[Place]:
        """The places of one step; none where the rank has no row."""
        line = json.loads(self.lines[index])
        row_len = line.get("row_len", self.config["row_len"])
        spans = line.get("spans") or [[0, 0]] * len(line["samples"])
        rows = sorted({start // row_len for start, _ in line["packing"]})
        lap = [*range(self.world_size), *reversed(range(self.world_size))]
        mine = [row for place, row in enumerate(rows) if lap[place % len(lap)] == self.rank]
        number = {row: place for place, row in enumerate(mine)}
        return [
            Place(sample, number[row], start - row * row_len, end - row * row_len, span[0], len(mine), row_len)
            for sample, (start, end), span in zip(line["samples"], line["packing"], spans, strict=True)
            if (row := start // row_len) in number
        ]


def fill_rows(places: Sequence[Place], tokens: Sequence[Sequence[int]]) -> dict[str, list[list[int]]]:
    """Rows of ids, positions and segments (0 is padding), with labels of -100 where nothing is predicted.

    Args:
        places: Of one step.
        tokens: All token ids of each place's sample.
    """
    shape = (places[0].rows, places[0].row_len) if places else (0, 0)
    names = {"input_ids": 0, "position_ids": 0, "segment_ids": 0, "labels": -100}
    batch = {name: [[value] * shape[1] for _ in range(shape[0])] for name, value in names.items()}
    segments = [0] * shape[0]
    for place, ids in zip(places, tokens, strict=True):
        size = place.end - place.start
        ids = list(ids[place.first : place.first + size])
        if len(ids) != size:
            raise ValueError(f"sample {place.sample} has other tokens than the plan: {len(ids)} of {size}")
        segments[place.row] += 1
        where = slice(place.start, place.end)
        batch["input_ids"][place.row][where] = ids
        batch["position_ids"][place.row][where] = range(size)
        batch["segment_ids"][place.row][where] = [segments[place.row]] * size
        batch["labels"][place.row][where] = [-100, *ids[1:]]
    return batch
