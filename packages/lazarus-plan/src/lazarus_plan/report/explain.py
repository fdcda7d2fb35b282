"""Explain the position of a sample and the content of a step."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from lazarus_core.bounded import open_file, read_lines
from lazarus_core.canonical import JSON
from lazarus_core.strict_json import BOM, MalformedJson, parse_json
from lazarus_plan.checks.against_data import check_files, knows_files
from lazarus_plan.errors import PlanError, StalePlan
from lazarus_plan.numbering import Numbering
from lazarus_plan.plan import BatchPlan, Step
from lazarus_plan.shard import Policy, assign

LINES = (".jsonl", ".ndjson")
"""Suffixes of files whose rows are lines."""


def explain_sample(plan: BatchPlan, sample: int, world_size: int = 1, policy: Policy = "snake") -> JSON:
    """All positions of a sample: step, row, neighbours, rank; or the reason why it has none.

    Args:
        plan: The plan.
        sample: Sample number.
        world_size: Number of ranks.
        policy: Policy that assigns rows to ranks.

    Raises:
        PlanError: The plan has no such sample.
    """
    count = sum(source.count for source in plan.metadata.sources)
    if not 0 <= sample < count:
        raise PlanError(f"sample {sample} is outside 0..{count - 1}", "LP-E008")
    source, position = Numbering.of_plan(plan.metadata).place(sample)
    steps = np.unique(np.searchsorted(plan.step_splits, np.flatnonzero(plan.sample == sample), side="right") - 1)
    places = [place for step in steps.tolist() for place in _places(plan.step(step), sample, world_size, policy)]
    return {
        "sample": sample,
        "source": plan.metadata.sources[source].name,
        "position": position,
        "places": places,
        "why": _why(plan) if places else _why_nowhere(plan, source),
    }


def explain_step(plan: BatchPlan, index: int, world_size: int = 1, policy: Policy = "snake") -> JSON:
    """The rows of a step and their ranks.

    Args:
        plan: The plan.
        index: 0-based step.
        world_size: Number of ranks.
        policy: Policy that assigns rows to ranks.

    Raises:
        PlanError: The plan has no such step.
    """
    if not 0 <= index < len(plan):
        raise PlanError(f"step {index} is outside 0..{len(plan) - 1}", "LP-E008")
    step = plan.step(index)
    ranks = _ranks(step, world_size, policy)
    epoch = next(each for each in plan.metadata.epochs if each.first_step + each.steps > index)
    return {
        "step": index,
        "epoch": epoch.epoch,
        "row_len": step.row_len,
        "tokens": step.tokens,
        "rows": [
            {
                "row": number,
                "rank": ranks[number],
                "tokens": row.tokens,
                "samples": [segment.sample for segment in row.segments],
                "packing": [[segment.start, segment.end] for segment in row.segments],
            }
            for number, row in enumerate(step.rows)
        ],
    }


def plan_rows(plan: BatchPlan, paths: Sequence[Path], samples: Sequence[int]) -> dict[int, str]:
    """The text of some samples, from files that are the plan's data byte by byte.

    Args:
        plan: The plan. Without digests of its files (`knows_files`), nothing is compared.
        paths: Its data files, in the order in which they were encoded.
        samples: Sample numbers.

    Raises:
        PlanError: A file is missing, or is not the plan's data.
    """
    try:
        if knows_files(plan):
            check_files(plan, paths)
    except StalePlan as error:
        raise PlanError(f"{error.message}: its rows are not the plan's samples", error.code) from error
    except FileNotFoundError as error:
        raise PlanError(f"{error.filename} does not exist: give the data files of the plan", "LP-E009") from error
    places = Numbering.of_plan(plan.metadata).indices(samples)
    rows = raw_rows(paths, places)
    return {sample: rows[place] for sample, place in zip(samples, places, strict=True)}


def raw_rows(paths: Sequence[Path], positions: Sequence[int]) -> dict[int, str]:
    """The lines of JSON Lines files at some positions; blank lines are not counted.

    Args:
        paths: The files, in order.
        positions: 0-based, over all files.

    Raises:
        PlanError: A file is missing or of another format, or the files have fewer rows.
    """
    other = next((path for path in paths if path.suffix not in LINES), None)
    if other is not None:
        raise PlanError(
            f"{other} is not JSON Lines ({', '.join(LINES)}), where each row is a line: its rows cannot be shown",
            "LP-E009",
        )
    wanted, found = set(positions), dict[int, str]()

    def rows() -> Iterator[str]:
        for path in paths:
            try:
                with open_file(path) as stream:
                    read = enumerate(read_lines(stream, path))
                    lines = ((line if number else line.removeprefix(BOM)).decode() for number, line in read)
                    yield from (line.rstrip("\r\n") for line in lines if line.strip())
            except (FileNotFoundError, UnicodeDecodeError) as error:
                raise PlanError(f"{path} cannot be read as JSON Lines: {error}", "LP-E009") from error

    for position, row in enumerate(islice(rows(), max(wanted, default=-1) + 1)):
        if position in wanted:
            found[position] = _text(row)
    if len(found) < len(wanted):
        raise PlanError(f"the data have no row {min(wanted - found.keys())}: not the data of this plan?", "LP-E009")
    return found


def _places(step: Step, sample: int, world_size: int, policy: Policy) -> Iterator[JSON]:
    ranks = _ranks(step, world_size, policy)
    for number, row in enumerate(step.rows):
        for segment in row.segments:
            if segment.sample == sample:
                yield {
                    "step": step.index,
                    "row": number,
                    "rank": ranks[number],
                    "tokens": [segment.start, segment.end],
                    "span": list(segment.span) if segment.span else None,
                    "shares_row_with": [each.sample for each in row.segments if each is not segment],
                }


def _ranks(step: Step, world_size: int, policy: Policy) -> dict[int, int]:
    shares = assign(step.rows, world_size, policy)
    return {row: rank for rank, share in enumerate(shares) for row in share}


def _why(plan: BatchPlan) -> str:
    config = plan.metadata.config
    how = {
        "packed": "best fit chose lengths that fill the row, the keyed order of seed {seed} chose the sample of that "
        "length, and strata of attention cost chose the step",
        "stable": "a hash of its content and of seed {seed} chose the chunk, best fit the row in it, and strata of attention "
        "cost the step",
        "padded": "the keyed order of seed {seed} chose the window, the length chose the step in it",
        "bucketed": "its length chose the bucket, the keyed order of seed {seed} the step",
    }[config.mode]
    return how.format(seed=config.seed)


def _why_nowhere(plan: BatchPlan, source: int) -> str:
    """The possible reasons why a sample of a source has no position."""
    left_out = [f"{count:,} {reason}" for reason, count in plan.metadata.excluded.model_dump().items() if count]
    stages = [each for epoch in plan.metadata.epochs for each in epoch.stages if source in each.sources]
    reasons = [f"excluded by policy: {', '.join(left_out)}"] if left_out else []
    if not any(each.passes[each.sources.index(source)][0] for each in stages):
        reasons.append("the mixture takes a part of its source only")
    return ", or ".join(reasons) or "added to the data during the run, after its epoch began"


def _text(row: str) -> str:
    """The values of a row for people, without JSON syntax if possible."""
    try:
        members = parse_json(row)
    except MalformedJson:
        return row
    if not isinstance(members, dict):
        return row
    return "\n".join(f"{name}: {value}" for name, value in members.items())  # pyright: ignore[reportUnknownVariableType] # any JSON
