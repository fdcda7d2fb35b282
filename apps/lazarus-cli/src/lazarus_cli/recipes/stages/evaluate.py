"""`evaluate`: scores a model on tasks, with intervals and baselines."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import BaseModel, Field, PositiveInt, create_model
from pydantic.fields import FieldInfo

from lazarus_cli.recipes.errors import RecipeError
from lazarus_cli.recipes.settings_of import fields_of, members_of
from lazarus_cli.recipes.stage import MADE, Artifact, Context, Inputs, Reads, Stage, StageSettings
from lazarus_core.canonical import canonical_digest
from lazarus_models.evaluation import evaluate, load_report, load_task, task_kinds

REPORT = "report.json"
_Read = Annotated[str, Reads("rows")]
SHOWN_SCORES = 3


class EvaluateStage(Stage[Any]):
    """A model to a report of scores."""

    kind = "scores"
    packages = ("lazarus-models", "lazarus-tokenkit", "mlx", "tokenizers")

    @classmethod
    def settings_type(cls) -> type[Any]:
        """The settings: the tasks of `lazarus eval`, with names of data for paths."""
        return _settings_type()

    def check(self, settings: Any) -> None:
        """Refuses two tasks of one name, and a reference that is missing or not used."""
        names = [_name(each) for each in settings.tasks]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two `tasks` have the name {twice!r}: set `name` of one of them")
        needs = {each.kind: load_task(each.kind).reference for each in settings.tasks}
        if settings.reference is None:
            for kind, need in needs.items():
                if need == "needed":
                    raise ValueError(f"the task {kind} needs `reference`: name a model")
        elif set(needs.values()) == {"none"}:
            raise ValueError("`reference` has no effect: none of the `tasks` compares models; omit it")

    def run(self, settings: Any, inputs: Inputs, folder: Path, context: Context) -> None:
        """Evaluates the model, and writes the report."""
        from lazarus_models import load

        tasks = [_task(number, each, inputs) for number, each in enumerate(settings.tasks)]
        reference = [load(each.path, hashed=True) for each in inputs.get("reference", ())]
        report = evaluate(
            load(inputs["model"][0].path, hashed=True),
            tasks,
            reference=reference[0] if reference else None,
            batch_size=settings.batch_size,
            on_progress=lambda task, done, total: context.report(done, total, "items", task),
        )
        (folder / REPORT).write_bytes(report.to_bytes())

    def paths(self, folder: Path, part: str = "") -> tuple[Path, ...]:
        """The report."""
        return (folder / REPORT,)

    def identity(self, folder: Path, digests: Mapping[str, str], part: str = "") -> str:
        """Digest of the scores; the report has names of tasks and paths of data as well."""
        report = load_report(folder / REPORT).model_dump(mode="json")
        places = {task["name"]: number for number, task in enumerate(report["tasks"])}
        scores: list[dict[str, Any]] = [{**score, "task": places[score["task"]]} for score in report["scores"]]
        return canonical_digest([{name: _text(each) for name, each in score.items()} for score in scores])

    def summary(self, folder: Path) -> str:
        """The first scores."""
        scores = load_report(folder / REPORT).scores
        shown = [f"{each.task} {each.metric} {each.value:.4g}" for each in scores[:SHOWN_SCORES]]
        more = f", and {len(scores) - SHOWN_SCORES} more" if len(scores) > SHOWN_SCORES else ""
        return ", ".join(shown) + more


@cache
def _settings_type() -> Any:
    tables: Any = Union[tuple(_table(kind) for kind in task_kinds())]  # noqa: UP007 (made at run time)
    task: Any = Annotated[tables, Field(discriminator="kind")]
    listed: Any = Annotated[tuple[task, ...], Field(min_length=1)]
    return create_model(
        "EvaluateSettings",
        __base__=StageSettings,
        type=(Literal["evaluate"], "evaluate"),
        model=(Annotated[str, Reads("model")], Field(description="Model to evaluate.")),
        reference=(
            Annotated[str | None, Reads("model")],
            Field(default=None, description="Model that `preference` and `forgetting` compare with. Default: none."),
        ),
        batch_size=(
            PositiveInt,
            Field(default=8, description="Largest number of answers that are generated together."),
        ),
        tasks=(
            listed,
            Field(description="Tasks: `kind`, `data` and further settings of each."),
        ),
    )


def _table(kind: str) -> type[BaseModel]:
    """The settings of a kind of task, with names for its paths."""
    model = load_task(kind).settings
    fields: dict[str, Any] = fields_of(model, without=("kind",))
    for name, info in model.model_fields.items():
        if _is_path(info):
            is_optional = not info.is_required()
            words = (
                Field(default=None, description=info.description)
                if is_optional
                else Field(description=info.description)
            )
            fields[name] = (Annotated[str | None, Reads("rows")] if is_optional else _Read, words)
    tag: Any = Literal[kind]
    return create_model(model.__name__, __config__=MADE, kind=(tag, ...), **fields)


def _task(number: int, settings: Any, inputs: Inputs) -> Any:
    """The settings of a task, with the paths of what it reads. Without a name it is called after its kind and the name of its data."""
    model = load_task(settings.kind).settings
    given = members_of(settings, model)
    for name, info in model.model_fields.items():
        if _is_path(info) and given[name] is not None:
            given[name] = _one_file(inputs[f"tasks.{number}.{name}"][0])
    given["name"] = _name(settings)
    return model.model_validate(given)


def _name(settings: Any) -> str:
    return settings.name or f"{settings.kind}:{settings.data}"


def _one_file(rows: Artifact) -> Path:
    if len(rows.paths) != 1:
        raise RecipeError(
            f"{rows.name} has {len(rows.paths)} files, and a task of an evaluation reads one: join them, or raise "
            "`shards.characters` or `split.validation` of the corpus",
            "LC-E217",
        )
    return rows.path


def _is_path(info: FieldInfo) -> bool:
    """Whether a field is a path, or a path or nothing."""
    return Path in (info.annotation, *get_args(info.annotation))


def _text(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value
