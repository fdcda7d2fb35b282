"""The page of a recipe: stages with their times, curves of training, scores, answers, and the lock.

It reads the folder of the recipe alone: neither the recipe nor its data have to be there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, cast

from lazarus_cli.recipes.errors import RecipeError
from lazarus_cli.recipes.folder import PRIVATE, RecipeFolder, StageRecord
from lazarus_core.canonical import JSON
from lazarus_core.console import duration
from lazarus_core.errors import LazarusError
from lazarus_core.html import Bar, Origin, bars, facts, figures, more, page, section, table
from lazarus_core.reasons import absent_or
from lazarus_core.strict_json import read_object

MAX_REPORT_BYTES = 4 << 20
"""Largest JSON file of a stage that is read for scores."""
MAX_ANSWERS, MAX_TEXT = 20, 2000
"""Answers of a stage on the page, and characters of each."""
_DIGITS = 12
"""Digits of a digest on the page."""
_RUN_FILES = ("config.json", "metrics.jsonl")


class StageView(NamedTuple):
    """A stage as the page shows it.

    Args:
        name: Its name.
        folder: What it made.
        record: Its record; None if it began and has not ended.
    """

    name: str
    folder: Path
    record: StageRecord | None

    @property
    def is_run(self) -> bool:
        """Whether the stage is a training run."""
        return all((self.folder / name).is_file() for name in _RUN_FILES)


def recipe_page(path: Path, origin: Origin | None = None) -> str:
    """The page of a recipe, finished or not.

    Args:
        path: Folder of the recipe.
        origin: Command and time for the footer. Without it, the page of the same folder is always the same.

    Raises:
        RecipeError: `path` is no folder of a recipe, or no stage has begun.
    """
    folder = RecipeFolder(path)
    stages = stages_of(folder)
    name = path.resolve().name
    done = [each.record for each in stages if each.record is not None]
    head = f"<header><h1>Recipe {escape(name)}</h1><p>{escape(' → '.join(each.name for each in stages))}</p></header>"
    tiles = {"stages": f"{len(done)} of {len(stages)} finished", "time": duration(sum(each.seconds for each in done))}
    training, answers = _training(stages)
    parts = [
        head,
        figures(tiles),
        _stages(stages),
        training,
        _scores(stages),
        answers,
        _answers(stages),
        _lock(folder, done),
    ]
    return page(f"Recipe {name}", "\n".join(each for each in parts if each), "lazarus-cli", origin=origin)


def stages_of(folder: RecipeFolder) -> list[StageView]:
    """The stages of a recipe that have begun, each after those whose output it read.

    Args:
        folder: Folder of the recipe.

    Raises:
        RecipeError: It is no folder of a recipe, or no stage has begun.
    """
    private = folder.path / PRIVATE
    if not private.is_dir():
        found = absent_or(folder.path, "is no folder of a recipe")
        raise RecipeError(f"{found}: give the folder of `lazarus run`", "LC-E250")
    records = {each.name: each for each in folder.records()}
    begun = sorted({each.stem for each in private.glob("*.begun")} - records.keys())
    if not records and not begun:
        raise RecipeError(f"{folder.path}: no stage has begun yet; run the recipe", "LC-E250")
    ordered = [StageView(each.name, folder.stage(each.name), each) for each in _in_order(records)]
    return [*ordered, *(StageView(name, folder.stage(name), None) for name in begun)]


def _in_order(records: Mapping[str, StageRecord]) -> list[StageRecord]:
    """Records, each after those that made its inputs; stages that could run at once by their names."""
    made = {digest: record.name for record in records.values() for digest in record.outputs.values()}
    reads = {
        name: {made[each] for each in _digests(record) if each in made} - {name} for name, record in records.items()
    }
    ordered: list[str] = []
    while len(ordered) < len(records):
        ready = [name for name in sorted(records) if name not in ordered and reads[name] <= set(ordered)]
        ordered.append(
            ready[0] if ready else min(records.keys() - set(ordered))
        )  # equal outputs can look like a circle
    return [records[name] for name in ordered]


def _digests(record: StageRecord) -> list[str]:
    inputs = record.parts.get("inputs")
    return [str(each) for each in cast("JSON", inputs).values()] if isinstance(inputs, dict) else []


def _stages(stages: Sequence[StageView]) -> str:
    rows = [
        (each.name, each.record.type, "finished", duration(each.record.seconds), each.record.summary)
        if each.record is not None
        else (each.name, "", "not finished", "", "")
        for each in stages
    ]
    shown = table(("stage", "type", "state", "time", "result"), rows, numbers=(3,), long=(4,), label="Stages")
    most = max((each.record.seconds for each in stages if each.record is not None), default=0.0)
    times = [
        Bar(each.name, each.record.seconds / most, duration(each.record.seconds), is_ours=each.is_run)
        for each in stages
        if each.record is not None and most
    ]
    return section(
        "Stages", "In the order of their inputs. Time of a resumed stage is that of its last part.", shown + bars(times)
    )


def _training(stages: Sequence[StageView]) -> tuple[str, str]:
    """Figures and curves of the training stages, and their sampled answers."""
    from lazarus_train.run_dir import part_of

    rows: list[tuple[str, ...]] = []
    charts, answers, head = "", "", ("stage",)
    for each in stages:
        if not each.is_run:
            continue
        try:
            part = part_of(each.folder, each.name, len(rows))
        except LazarusError:  # no step is done yet
            continue
        head = ("stage", *part.figures)
        rows.append((each.name, *part.figures.values()))
        charts += part.charts
        answers += part.answers
    if not rows:
        return "", ""
    about = "Equivalent epochs are trained tokens by the tokens of one pass over the planned data."
    shown = table(head, rows, numbers=range(1, len(head)), label="Training")
    return section("Training", about, shown) + f'<div class="pair">{charts}</div>', answers


def _scores(stages: Sequence[StageView]) -> str:
    """Scores of all evaluation stages in one table."""
    rows = [
        (each.name, str(score["task"]), str(score["metric"]), *_values(score))
        for each in stages
        for report in _reports(each)
        for score in report
    ]
    if not rows:
        return ""
    head = ("stage", "task", "metric", "value", "95 % interval", "baseline", "items")
    about = "Each score has its interval and the value that a majority or random answer has."
    return section("Scores", about, table(head, rows, numbers=(3, 4, 5, 6), label="Scores"))


def _reports(stage: StageView) -> Iterator[list[JSON]]:
    """Scores of the JSON files directly in a stage's folder that have some."""
    for path in sorted(stage.folder.glob("*.json")):
        if not path.is_file() or path.stat().st_size > MAX_REPORT_BYTES:
            continue
        try:
            scores: Any = read_object(path).get("scores")
        except LazarusError:
            continue  # not a report
        if isinstance(scores, list) and all(_is_score(each) for each in cast("list[Any]", scores)):
            yield scores


def _is_score(value: Any) -> bool:
    return isinstance(value, dict) and {"task", "metric", "value"} <= cast("JSON", value).keys()


def _values(score: JSON) -> tuple[str, str, str, str]:
    low, high = score.get("low"), score.get("high")
    interval = "" if low is None or high is None else f"{_number(low)} to {_number(high)}"
    return _number(score["value"]), interval, _number(score.get("baseline")), _number(score.get("count"))


def _number(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool() | int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def _answers(stages: Sequence[StageView]) -> str:
    """Answers of stages that asked a model."""
    shown = ""
    for each in stages:
        path = each.folder / "answers.jsonl"
        if not path.is_file() or path.stat().st_size > MAX_REPORT_BYTES:
            continue
        lines: list[Any] = []
        for line in path.read_text("utf-8").splitlines()[:MAX_ANSWERS]:
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        rows = [(str(line["prompt"])[:MAX_TEXT], str(line["answer"])[:MAX_TEXT]) for line in lines if _is_answer(line)]
        if rows:
            shown += section(
                f"Answers of {each.name}",
                "",
                table(("prompt", "answer"), rows, long=(0, 1), label=f"Answers of {each.name}"),
            )
    return shown


def _is_answer(line: Any) -> bool:
    return isinstance(line, dict) and {"prompt", "answer"} <= cast("JSON", line).keys()


def _lock(folder: RecipeFolder, done: Sequence[StageRecord]) -> str:
    """Fingerprints and outputs of the stages, and versions of packages."""
    rows = [
        (each.name, _short(each.fingerprint), ", ".join(_short(digest) for digest in each.outputs.values()))
        for each in done
    ]
    if not rows:
        return ""
    versions: dict[str, str] = {}
    for each in done:
        found = each.parts.get("versions")
        versions |= {name: str(value) for name, value in cast("JSON", found).items()} if isinstance(found, dict) else {}
    where = f"All digits are in {folder.lock.name}." if folder.lock.is_file() else "The recipe has no lock yet."
    shown = table(("stage", "fingerprint", "output"), rows, label="Lock")
    return section("Lock", f"First {_DIGITS} digits of the digests. {where}", shown + more("Versions", facts(versions)))


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_DIGITS]
