"""Spot checks: parse some steps strictly, and encode one sample of each again from the data.

This package has no tokenizers. Another package provides a `Measure` by the entry point `measure` of the group
`lazarus.lengths`; lazarus-tokenkit does.
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
from lazarus_plan.numbering import Numbering
from lazarus_plan.packing.permutation import keyed_permutation, shuffle_key
from lazarus_plan.plan import Segment, Step

GROUP = "lazarus.lengths"


class Recipe(NamedTuple):
    """Inputs to encode the rows of a plan.

    Args:
        data: The data files, in the order in which they were encoded.
        tokenizer: Name or path of the tokenizer.
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
        """Measure the rows at `positions`.

        Args:
            recipe: Data, tokenizer, fields.
            encoding: Parameters that the lengths were measured with.
            positions: 0-based positions over all files, ascending.

        Returns:
            Lines of a length cache; fewer than positions if the data has fewer rows.
        """
        ...


def parse_some(path: Path, count: int, seed: int = 0) -> list[Step]:
    """Parse some steps strictly.

    Args:
        path: Folder of the plan.
        count: Number of steps.
        seed: Seed of the keyed permutation that chooses them.

    Raises:
        CorruptPlan: A line is damaged.
    """
    with PlanReader(path) as reader:
        chosen = sorted(keyed_permutation(len(reader), shuffle_key("spot", seed, 0, 0))[:count].tolist())
        for index in chosen:
            decode_line(reader.line(index), index + 1)
        return [reader.step(index) for index in chosen]


def encode_some(path: Path, steps: Sequence[Step], recipe: Recipe) -> int:
    """Encode one sample of each step again and compare it with the plan.

    Args:
        path: Folder of the plan.
        steps: Result of `parse_some`.
        recipe: Data and tokenizer.

    Returns:
        Number of samples.

    Raises:
        StalePlan: A row, a length or the token ids differ from the plan.
        PlanError: No installed package can encode.
    """
    artifact = read_artifact(path)
    chosen = dict(map(_pick, steps))
    # The measure reads the rows in the order of the data, which is not that of the sample numbers in every plan.
    places = sorted(zip(Numbering.of_plan(artifact.metadata).indices(list(chosen)), chosen, strict=True))
    chosen = {sample: chosen[sample] for _, sample in places}
    encoding: JSON = dict(artifact.fingerprints["lengths"]["parts"][0].get("encoding", {}))
    found = list(_measure()(recipe, encoding, [place for place, _ in places]))
    if len(found) < len(chosen):
        missing = places[len(found)][0]
        raise StalePlan(f"data: there is no row {missing}; give the data of the plan", "LP-E141")
    for (sample, segment), row in zip(chosen.items(), found, strict=True):
        prefixes = None if artifact.prefixes is None else artifact.prefixes[sample].tolist()
        _compare(segment, row, prefixes)
    return len(found)


def _measure() -> Measure:
    for point in entry_points(group=GROUP, name="measure"):
        return cast("Measure", point.load())
    raise PlanError("no installed package encodes rows: install lazarus-tokenkit, or leave `recipe` out", "LP-E009")


def _pick(step: Step) -> tuple[int, Segment]:
    """Choose one segment of a step by key."""
    segments = [segment for row in step.rows for segment in row.segments]
    segment = segments[shuffle_key("spot-sample", step.index, 0, 0) % len(segments)]
    return segment.sample, segment


def _compare(segment: Segment, row: LengthRow, prefixes: list[int] | None) -> None:
    """Compare row, length and token ids, in the order of the chain; without prefixes, only the length."""
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
