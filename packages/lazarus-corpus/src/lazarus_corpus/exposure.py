"""Which steps of a run saw a document: found through the run's audit log and its plan.

The log proves which lines of the plan the run followed; the lines name samples by their position in the data. So a
document of the data leads to steps, rows and tokens. The weights are not read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from lazarus_core.reasons import absent_or
from lazarus_core.strict_json import read_object
from lazarus_corpus.contamination import EvaluationItems
from lazarus_corpus.documents import Removal
from lazarus_corpus.engine.work import read_removals
from lazarus_corpus.errors import SettingError
from lazarus_plan import BatchPlan, check_audit, load_plan
from lazarus_plan.checks import check_files
from lazarus_plan.errors import CorruptPlan, StalePlan
from lazarus_plan.numbering import Numbering

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lazarus_tokenkit.samples import Sample

CONFIG, AUDIT = "config.json", "audit.jsonl"
_FIELDS = ("text", "messages", "prompt", "completion", "label")


class Exposure(NamedTuple):
    """A part of a document in a step.

    Args:
        step: 0-based step of the plan.
        row: 0-based row of the step.
        tokens: Half-open range of the document's tokens.
    """

    step: int
    row: int
    tokens: tuple[int, int]


class Contaminated(NamedTuple):
    """A document with an evaluation item, and where the run saw it.

    Args:
        id: Id of the document.
        place: `file:line`.
        source: Its source, if the row names one.
        item: The evaluation item.
        coverage: Share of the item's n-grams in the document; None for a document that the build flagged.
        seen: Where the run saw it; empty if it did not.
    """

    id: str
    place: str
    source: str
    item: str
    coverage: float | None
    seen: tuple[Exposure, ...]


class AuditedRun(NamedTuple):
    """What a run was trained on.

    Args:
        path: Its folder.
        plan: The plan that it followed.
        steps: Number of steps done.
        data: One file for each source of the plan.
        fields: Names of the fields of the rows that the run read.
    """

    path: Path
    plan: BatchPlan
    steps: int
    data: tuple[Path, ...]
    fields: Mapping[str, str]


def read_run(run: Path, data: Sequence[Path] = (), batch_plan: Path | None = None) -> AuditedRun:
    """Reads the records of a run, and checks its audit log against its plan and the plan against the data.

    Args:
        run: The run's folder.
        data: Present locations of its data files; empty for the recorded ones.
        batch_plan: Present location of its plan; None for the recorded one.

    Raises:
        SettingError: The folder is not a run, or a file is missing.
        CorruptPlan: The run did not follow the plan.
        StalePlan: The data are not those of the plan.
    """
    if not (run / CONFIG).is_file() or not (run / AUDIT).is_file():
        found = absent_or(run, f"is not the folder of a run, which has {CONFIG} and {AUDIT}")
        raise SettingError(f"{found}: give the folder of a run", "LD-E149")
    about = read_object(run / CONFIG)
    config = about.get("config")
    if not isinstance(config, dict) or not {"data", "batch_plan"} <= cast("dict[str, Any]", config).keys():
        raise SettingError(f"{run / CONFIG} is not the record of a run: give the folder of a run", "LD-E149")
    settings = cast("dict[str, Any]", config)
    data_setting: Any = settings["data"]
    recorded: list[Any] = data_setting if isinstance(data_setting, list) else [data_setting]  # pyright: ignore[reportUnknownVariableType] (JSON)
    present = _present(run, Path(str(about.get("folder", ""))), str(settings.get("output", "")))
    files = tuple(data) or tuple(present(str(path)) for path in recorded)
    plan_path = batch_plan or present(str(settings["batch_plan"]))
    for name, path in (*(("data", path) for path in files), ("batch_plan", plan_path)):
        if not path.exists():
            raise SettingError(f"{path} does not exist: give its present location as `{name}`", "LD-E150")
    plan = load_plan(plan_path)
    audit = check_audit(run / AUDIT, plan)
    for finding in audit.findings:
        raise CorruptPlan(f"{run / AUDIT}: {finding.message}", finding.code)
    if len(files) != len(plan.metadata.sources):
        raise SettingError(
            f"the plan has {len(plan.metadata.sources)} sources: give `data` once for each; {len(files)} given",
            "LD-E150",
        )
    if any(part.get("files") for part in plan.fingerprints["data"]["parts"]):
        check_files(plan, files)
    names = {name: settings.get(f"{name}_field") for name in _FIELDS}
    return AuditedRun(run, plan, audit.steps, files, {name: value for name, value in names.items() if value})


def _present(run: Path, folder: Path, output: str) -> Callable[[str], Path]:
    """A function from a recorded path to the present one: paths inside the run's folder moved with it."""

    def present(name: str) -> Path:
        own, path = folder / output, folder / name
        return run / path.relative_to(own) if output and path.is_relative_to(own) else path

    return present


def contaminated_rows(run: AuditedRun, items: EvaluationItems | None) -> Iterator[Contaminated]:
    """The documents of a run's data with evaluation items, in the order of the data, and where the run saw them.

    Args:
        run: The run.
        items: Evaluation items to look for; None for none. Documents that their corpus flagged are listed in any case.

    Raises:
        StalePlan: A row is not the one that was planned.
    """
    from lazarus_tokenkit.samples import FieldNames, read_rows, sample_text

    places, numbers = _places(run), Numbering.of_plan(run.plan.metadata)
    position = 0
    for path in run.data:
        flagged = _flagged(path)
        sources = _sources(path)
        for row in read_rows(path, FieldNames(**run.fields)):
            source = next(sources)
            hit = None if items is None else items.find(sample_text(row.sample))
            item = _witness(flagged, row.sample, source) if hit is None else hit.item
            if item:
                number = int(numbers.numbers(np.array([position]))[0])
                _check_row(run.plan, number, row.sample.digest, row.place)
                seen = places(number)
                share = None if hit is None else hit.coverage
                yield Contaminated(row.sample.id, row.place, source, item, share, seen)
            position += 1


def _check_row(plan: BatchPlan, number: int, digest: bytes, place: str) -> None:
    if plan.prefixes is not None and int.from_bytes(digest[:4], "big") != int(plan.prefixes[number, 0]):
        raise StalePlan(f"data: {place} is not sample {number} of the plan: restore the data", "LP-E140")


def _places(run: AuditedRun) -> Callable[[int], tuple[Exposure, ...]]:
    """A function from the number of a sample to where the run saw it."""
    plan = run.plan.steps(0, run.steps)
    order: NDArray[np.int64] = np.argsort(plan.sample, kind="stable")
    samples = plan.sample[order]

    def places(number: int) -> tuple[Exposure, ...]:
        first, last = np.searchsorted(samples, [number, number + 1]).tolist()
        found: list[Exposure] = []
        own = order[first:last]
        steps: list[int] = np.searchsorted(plan.step_splits, own, "right").tolist()
        for place, after in zip(own.tolist(), steps, strict=True):
            step = after - 1
            start = max(int(plan.span_start[place]), 0)  # a whole sample has -1
            row = int(plan.start[place]) // int(plan.row_lens[step])
            found.append(Exposure(step, row, (start, start + int(plan.length[place]))))
        return tuple(found)

    return places


def _sources(path: Path) -> Iterator[str]:
    """The member `source` of each row, if it is a text."""
    from lazarus_tokenkit.samples import read_objects

    for row in read_objects(path):
        source = row.members.get("source")
        yield source if isinstance(source, str) else ""


Flagged = Mapping[tuple[str, str], Sequence[Removal]]
"""Flagged documents by id and source; several documents may have both."""


def _witness(flagged: Flagged, sample: "Sample", source: str) -> str:
    """The evaluation item of a flagged document; empty for none.

    Args:
        flagged: Of `_flagged`.
        sample: The document; its id in a shard has a dash and 16 digits of the digest if several documents have the id.
        source: Its source.
    """
    from lazarus_tokenkit.samples import sample_text

    for name in (sample.id, sample.id[:-17]):
        for each in flagged.get((name, source), ()):
            if sample_text(sample).startswith(each.example):
                return each.witness
    return ""


def _flagged(path: Path) -> Flagged:
    """The documents that the corpus of a shard flagged."""
    flagged = path.parent.parent / "flagged.jsonl"
    found: dict[tuple[str, str], list[Removal]] = {}
    if path.parent.name == "shards" and flagged.is_file():
        for each in read_removals(flagged):
            found.setdefault((each.id, each.source), []).append(each)
    return found
