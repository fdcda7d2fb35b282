"""`plan`: decides which samples every step sees. Phases mix several sources one after the other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveInt

from lazarus_cli.recipes.settings_of import members_of, stage_settings
from lazarus_cli.recipes.stage import STRICT, Artifact, Context, Inputs, Reads, Stage, StageSettings
from lazarus_core.canonical import MAX_INTEGER
from lazarus_plan import LengthCache, PlanConfig, build_plan, load_plan, read_lengths
from lazarus_plan import Stage as PlanPhase

MANY_EPOCHS = 4
"""Up to four passes over the same data are nearly as good as new data (Muennighoff et al. 2023, arXiv 2305.16264)."""
TOO_MANY = 1.5
"""A pass over the data of more than so many times `target_tokens` is warned of: a plan has whole passes."""
SCALE = 1_000_000
"""Weight of a source of several files is shared among them by their numbers of samples, in millionths."""


class Phase(BaseModel):
    """One part of an epoch and the sources that it mixes."""

    model_config = STRICT

    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names out of `lengths`."""
    weights: tuple[PositiveInt, ...] = ()
    """Rows of each source as ratios. Default: in proportion to the rows."""
    until: Literal["all", "first"] = "all"
    """With weights: end when all sources are exhausted, repeating early ones, or when the first one is."""


class _Plan(StageSettings, frozen=True):
    lengths: Annotated[tuple[str, ...], Reads("lengths"), Field(min_length=1)]
    """Length caches to plan, one for each source."""
    repeats: tuple[PositiveInt, ...] = ()
    """Passes over each of `lengths` an epoch. Default: one each."""
    target_tokens: PositiveInt | None = None
    """Tokens to train on: `epochs` becomes the number of passes whose tokens are nearest to it, one or more. Default: `epochs`
    decides."""
    phases: tuple[Phase, ...] = ()
    """Parts of an epoch, one after the other: `sources`, `weights` and `until` of each. Default: one part of all sources."""


class PlanStage(Stage[Any]):
    """Length caches to a batch plan."""

    kind = "plan"
    packages = ("lazarus-plan",)

    @classmethod
    def settings_type(cls) -> type[Any]:
        """The settings of `lazarus_plan.PlanConfig`, with `phases` of named sources."""
        return stage_settings("plan", _Plan, PlanConfig, without=("stages",))

    def check(self, settings: Any) -> None:
        """Refuses phases with unknown sources, and what `PlanConfig` refuses."""
        for phase in settings.phases:
            for name in phase.sources:
                if name not in settings.lengths:
                    raise ValueError(f"`phases` has the source {name!r}: give names out of `lengths`")
        if settings.repeats and len(settings.repeats) != len(settings.lengths):
            raise ValueError(
                f"{len(settings.repeats)} `repeats` for {len(settings.lengths)} `lengths`: give one for each"
            )
        if settings.target_tokens is not None and settings.epochs != 1:
            raise ValueError("`epochs` has no effect with `target_tokens`: give one of them")
        _config(settings, [[1]] * len(settings.lengths))

    def run(self, settings: Any, inputs: Inputs, folder: Path, context: Context) -> None:
        """Builds the plan."""
        caches = [[read_lengths(path) for path in each.paths] for each in inputs["lengths"]]
        config = _config(settings, [[len(cache) for cache in each] for each in caches])
        flat: list[LengthCache] = [cache for each in caches for cache in each]
        if settings.target_tokens is not None:
            # Of a plan, for `repeats`, `phases` and samples that are cut or excluded decide how many tokens an epoch has.
            once = build_plan(flat, config).metadata.epochs[0].tokens
            epochs = max(1, round(settings.target_tokens / once))
            if epochs > MANY_EPOCHS:
                context.warn(
                    f"warning: `target_tokens` needs {epochs} passes over the data; more than {MANY_EPOCHS} teach little"
                )
            elif once > TOO_MANY * settings.target_tokens:
                context.warn(
                    f"warning: one pass over the data has {once:,} tokens, and `target_tokens` is {settings.target_tokens:,}: "
                    "limit the sources of the corpus by `max_characters`, or the training by `max_steps`"
                )
            config = config.model_copy(update={"epochs": epochs})
        build_plan(flat, config, folder)

    def paths(self, folder: Path, part: str = "") -> tuple[Path, ...]:
        """The folder."""
        return (folder,)

    def identity(self, folder: Path, digests: Mapping[str, str], part: str = "") -> str:
        """The plan_id; the metadata have the time."""
        return load_plan(folder).plan_id

    def summary(self, folder: Path) -> str:
        """Steps and plan_id."""
        plan = load_plan(folder)
        return f"{len(plan):,} steps, plan_id {plan.plan_id.removeprefix('sha256:')[:16]}"


def source_files(plan: Artifact) -> list[tuple[Path, Any]]:
    """The data file of each source of a plan, with the settings of its lengths.

    Args:
        plan: What a stage of this type made.
    """
    return [
        (path, lengths.settings)
        for lengths in plan.all("lengths")
        for rows in lengths.all("data")
        for path in rows.paths
    ]


def _config(settings: Any, counts: Sequence[Sequence[int]]) -> PlanConfig:
    """The configuration, where each of `lengths` may have several files.

    Args:
        settings: Settings of the stage.
        counts: Samples of each file of each of `lengths`.
    """
    lengths: tuple[str, ...] = settings.lengths
    first = [sum(map(len, counts[:number])) for number in range(len(counts))]
    places = {
        name: [first[number] + file for file in range(len(counts[number]))] for number, name in enumerate(lengths)
    }
    phases: list[PlanPhase] = []
    for phase in settings.phases:
        weights: list[int] = []
        if phase.weights and len(phase.weights) == len(phase.sources):
            for name, weight in zip(phase.sources, phase.weights, strict=True):
                weights += _shares(weight, counts[lengths.index(name)])
        elif phase.weights:
            raise ValueError(f"{len(phase.weights)} `weights` for {len(phase.sources)} `sources` of a phase")
        positions = tuple(place for name in phase.sources for place in places[name])
        phases.append(PlanPhase(sources=positions, weights=_reduced(weights, counts), until=phase.until))
    repeats = tuple(passes for number, passes in enumerate(settings.repeats) for _ in range(len(counts[number])))
    members = members_of(settings, PlanConfig)
    return PlanConfig.model_validate({**members, "repeats": repeats, "stages": tuple(phases)})


def _shares(weight: int, counts: Sequence[int]) -> list[int]:
    """A weight, shared among the files of a source by their numbers of samples."""
    total = max(1, sum(counts))
    return [max(1, weight * SCALE * count // total) for count in counts]


def _reduced(weights: Sequence[int], counts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Weights of one file each as they were given; others as millionths."""
    if all(len(each) == 1 for each in counts):
        return tuple(weight // SCALE for weight in weights)
    if any(weight > MAX_INTEGER for weight in weights):
        raise ValueError("`weights` must stay below 2^53 / 1,000,000 for sources of several files")
    return tuple(weights)
