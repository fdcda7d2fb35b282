"""Some of a plan instead of all of it: steps parsed strictly, and one sample of each encoded again from the data.

Encoding is not this package's: whoever has tokenizers offers it by an entry point of the group `lazarus.lengths` named
`measure`, a `Measure`; lazarus-tokenkit does.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from lazarus_core.canonical import JSON
from lazarus_plan.errors import PlanError, StalePlan
from lazarus_plan.format.reader import PlanReader
from lazarus_plan.format.step_json import decode_line
from lazarus_plan.format.store import read_artifact
from lazarus_plan.lengths.cache import LengthRow
from lazarus_plan.packing.permutation import keyed_permutation, shuffle_key
from lazarus_plan.plan import Segment, Step

GROUP = "lazarus.lengths"


class Recipe(NamedTuple):
    """What turns the rows of a plan into tokens.

    Args:
        data: The data files, in the order in which they were encoded.
        tokenizer: Its name or path.
        fields: Names of the fields to read, by their roles: `prompt`, `completion`, `text`, `messages`.
        template: A template to use instead of the recorded one.
    """

    data: Sequence[Path]
    tokenizer: str
    fields: Mapping[str, str] = {}
    template: str | None = None


class Measure(Protocol):
    """Encodes some rows of data again."""

    def __call__(self, recipe: Recipe, encoding: JSON, positions: Sequence[int]) -> Iterator[LengthRow]:
        """The lines of a length cache at `positions`, which ascend; fewer where the data have fewer rows.

        Args:
            recipe: Data, tokenizer, fields.
            encoding: The parameters that the lengths were measured with.
            positions: 0-based, over all files.
        """
        ...


def parse_some(path: Path, count: int, seed: int = 0) -> list[Step]:
    """Parses some steps strictly, chosen by a keyed permutation.

    Raises:
        CorruptPlan: A line is not what it should be.
    """
    with PlanReader(path) as reader:
        chosen = sorted(keyed_permutation(len(reader), shuffle_key("spot", seed, 0, 0))[:count].tolist())
        for index in chosen:
            decode_line(reader.line(index), index + 1)
        return [reader.step(index) for index in chosen]


def encode_some(path: Path, steps: Sequence[Step], recipe: Recipe) -> int:
    """Encodes one sample of each step again, and holds it against the plan.

    Args:
        path: Folder of the plan.
        steps: From `parse_some`.
        recipe: Data and tokenizer.

    Returns:
        How many samples that were.

    Raises:
        StalePlan: A row, a length or the token ids are not the planned ones.
        PlanError: Nobody is installed who encodes.
    """
    artifact = read_artifact(path)
    chosen = dict(sorted(_pick(step) for step in steps))
    encoding: JSON = dict(artifact.fingerprints["lengths"]["parts"][0].get("encoding", {}))
    found = list(_measure()(recipe, encoding, list(chosen)))
    if len(found) < len(chosen):
        raise StalePlan(f"data: there is no row {list(chosen)[len(found)]}; give the data of the plan", "LP-E141")
    for (sample, segment), row in zip(chosen.items(), found, strict=True):
        prefixes = None if artifact.prefixes is None else artifact.prefixes[sample].tolist()
        _compare(segment, row, prefixes)
    return len(found)


def _measure() -> Measure:
    for point in entry_points(group=GROUP, name="measure"):
        return cast("Measure", point.load())
    raise PlanError("nobody here encodes rows: install lazarus-tokenkit, or leave `--tokenizer` out", "LP-E009")


def _pick(step: Step) -> tuple[int, Segment]:
    """One of the segments of a step, by a key of its own."""
    segments = [segment for row in step.rows for segment in row.segments]
    segment = segments[shuffle_key("spot-sample", step.index, 0, 0) % len(segments)]
    return segment.sample, segment


def _compare(segment: Segment, row: LengthRow, prefixes: list[int] | None) -> None:
    """Row, length and token ids, in the order of the chain; without prefixes, the length alone."""
    name = f"{segment.sample} (id {row.id!r})"
    content, tokens = (None, None) if prefixes is None else (f"{prefix:08x}" for prefix in prefixes)
    if None not in (content, row.row) and row.row != content:
        raise StalePlan(f"data: row {name} changed; build lengths and plan again, or restore the data", "LP-E140")
    used = segment.span[1] if segment.span else segment.end - segment.start
    if row.length < used or (segment.span is None and row.length > used):
        raise StalePlan(
            f"lengths: sample {name} has {row.length} tokens, the plan uses {used}; build lengths and plan again",
            "LP-E130",
        )
    if None not in (tokens, row.h) and row.h != tokens:
        raise StalePlan(f"tokenizer: sample {name} has other token ids; build lengths and plan again", "LP-E147")
