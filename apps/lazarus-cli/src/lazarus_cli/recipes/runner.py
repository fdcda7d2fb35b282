"""Runs the stages of a recipe in order: unchanged ones are skipped, killed ones resume.

A kill at any moment leaves each stage finished or not: a stage counts as finished when its record is written, which is last.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

from lazarus_cli.recipes.errors import RecipeError
from lazarus_cli.recipes.folder import RecipeFolder, StageRecord
from lazarus_cli.recipes.lock import check_lock, check_output, make_lock, read_lock, write_lock
from lazarus_cli.recipes.recipe import Recipe, StageNode
from lazarus_cli.recipes.session import Assessment, Session, record_of
from lazarus_cli.recipes.stage import Context, Inputs
from lazarus_core.atomic import whole_folder
from lazarus_core.canonical import JSON
from lazarus_train.errors import TimeIsUp

Done = Literal["run", "unchanged", "would run"]


@dataclass(frozen=True)
class StageOutcome:
    """What became of a stage.

    Args:
        name: Its name.
        type: Its type.
        done: Whether it ran, was unchanged, or would run.
        why: Why it runs, in words.
        summary: What it made; empty where it did not run yet.
        seconds: Time that it took when it ran.
    """

    name: str
    type: str
    done: Done
    why: str
    summary: str
    seconds: float


@dataclass(frozen=True)
class Progress:
    """Callbacks of a run; the default of each does nothing.

    Args:
        on_begin: Called with the stage's name, its number from 1, the number of stages, and why it runs.
        on_end: Called with what became of a stage.
        context: Gives the context of a stage by its name.
    """

    on_begin: Callable[[str, int, int, str], object] = lambda name, number, total, why: None
    on_end: Callable[[StageOutcome], object] = lambda outcome: None
    context: Callable[[str], Context] = lambda name: Context()


SILENT = Progress()


def run_recipe(
    recipe: Recipe,
    folder: RecipeFolder,
    *,
    until: str | None = None,
    begin: str | None = None,
    force: Collection[str] = (),
    locked: bool = False,
    progress: Progress = SILENT,
) -> list[StageOutcome]:
    """Runs the stages of a recipe that are new or changed, and writes the lock.

    Args:
        recipe: The recipe.
        folder: Its folder; absent, empty, or of a recipe.
        until: Only this stage and what it needs; None for all.
        begin: Only this stage and what follows from it; None for all.
        force: Stages that run again even if they are unchanged.
        locked: Refuse what differs from the lock, and do not write it.
        progress: Callbacks.

    Raises:
        RecipeError: A stage or the folder cannot be used.
        Drifted: `locked`, and something differs from the lock.
        TimeIsUp: The time box of the stages' contexts ended; the same call continues.
        LazarusError: A stage failed; earlier ones stay finished.
    """
    folder.check_is_ours()
    wanted = wanted_stages(recipe, until, begin, force)
    with folder.held():
        session = Session(recipe, folder)
        lock = read_lock(folder) if locked else None
        if lock is not None:
            check_lock(session, lock, checks_outputs=False)
        outcomes: list[StageOutcome] = []
        try:
            for node in recipe.stages:
                if node.name in wanted or _is_needed(recipe, node.name, wanted):
                    outcomes.append(_one(session, node, wanted, force, lock, progress, len(outcomes) + 1))
        finally:
            if outcomes:
                session.digests.save()
        if lock is None:
            write_lock(folder, make_lock(Session(recipe, folder)))
        return outcomes


def plan_recipe(
    recipe: Recipe,
    folder: RecipeFolder,
    *,
    until: str | None = None,
    begin: str | None = None,
    force: Collection[str] = (),
) -> list[StageOutcome]:
    """What `run_recipe` would do. Nothing is written.

    Args:
        recipe: The recipe.
        folder: Its folder.
        until: Only this stage and what it needs; None for all.
        begin: Only this stage and what follows from it; None for all.
        force: Stages that would run again even if they are unchanged.
    """
    folder.check_is_ours()
    wanted = wanted_stages(recipe, until, begin, force)
    session = Session(recipe, folder)
    runs: list[str] = []
    found: list[StageOutcome] = []
    for node in recipe.stages:
        if node.name not in wanted and not _is_needed(recipe, node.name, wanted):
            continue
        waits = [name for name in runs if name in recipe.upstream(node.name)]
        if waits:
            runs.append(node.name)
            found.append(_outcome(node, "would run", f"after {waits[-1]}"))
            continue
        assessment, _, inputs = session.assess(node)
        record = folder.record(node.name)
        if node.name in force or record is None or assessment.state != "unchanged":
            _require(node, assessment, wanted, force)
            runs.append(node.name)
            found.append(_outcome(node, "would run", _why(node, assessment, force)))
        else:
            session.finished(node, record, inputs)
            found.append(_outcome(node, "unchanged", "", record))
    return found


def _one(
    session: Session,
    node: StageNode,
    wanted: Collection[str],
    force: Collection[str],
    lock: JSON | None,
    progress: Progress,
    number: int,
) -> StageOutcome:
    assessment, parts, inputs = session.assess(node)
    record = session.folder.record(node.name)
    if node.name not in force and record is not None and assessment.state == "unchanged":
        session.finished(node, record, inputs)
        outcome = _outcome(node, "unchanged", "", record)
    else:
        _require(node, assessment, wanted, force)
        why = _why(node, assessment, force)
        context = progress.context(node.name)
        if context.time_box is not None and context.time_box.left_s <= 0:
            raise TimeIsUp(f"the time box ended before stage `{node.name}`; run the same command to continue")
        progress.on_begin(node.name, number, len(session.recipe.stages), why)
        made = _run(session, node, parts, inputs, context, is_forced=node.name in force)
        if lock is not None:
            check_output(session, node.name, lock, made.outputs)
        session.folder.finish(made)
        session.finished(node, made, inputs)
        session.digests.save()
        outcome = _outcome(node, "run", why, made)
    progress.on_end(outcome)
    return outcome


def _run(
    session: Session, node: StageNode, parts: JSON, inputs: Inputs, context: Context, *, is_forced: bool
) -> StageRecord:
    from lazarus_core.canonical import canonical_digest

    began = time.monotonic()
    session.folder.begin(node.name, canonical_digest(parts), keep=node.type.is_resumable and not is_forced)
    target = session.folder.stage(node.name)
    if node.type.is_resumable:
        node.type.run(node.settings, inputs, target, context)
    else:
        with whole_folder(target) as folder:
            node.type.run(node.settings, inputs, folder, context)
    return record_of(node, parts, target, session.digests, time.monotonic() - began)


def wanted_stages(recipe: Recipe, until: str | None, begin: str | None, force: Collection[str]) -> set[str]:
    """Names of the stages that may run.

    Args:
        recipe: The recipe.
        until: Only this stage and what it needs; None for all.
        begin: Only this stage and what follows from it; None for all.
        force: Stages that run again even if they are unchanged.

    Raises:
        RecipeError: There is no such stage, or none that may run.
    """
    names = {each.name for each in recipe.stages}
    if until is not None:
        names &= recipe.upstream(recipe.stage(until, "`until`").name)
    if begin is not None:
        start = recipe.stage(begin, "`begin`").name
        names = {name for name in names if start in recipe.upstream(name)}
        if not names:
            raise RecipeError(
                f"`until` {until} does not need `begin` {begin}: give stages that follow each other", "LC-E214"
            )
    for name in force:
        if recipe.stage(name, "`force`").name not in names:
            raise RecipeError(f"`force` {name}: the stage is not among those that run: give other limits", "LC-E214")
    return names


def _is_needed(recipe: Recipe, name: str, wanted: Collection[str]) -> bool:
    """Whether a stage that must not run is read by one that may."""
    return any(name in recipe.upstream(each) for each in wanted)


def _require(node: StageNode, assessment: Assessment, wanted: Collection[str], force: Collection[str]) -> None:
    if node.name not in wanted:
        why = {"new": "has not been run", "damaged": assessment.why}.get(assessment.state, f"changed: {assessment.why}")
        raise RecipeError(
            f"stage `{node.name}` comes before the first one asked for and {why}: begin with it", "LC-E213"
        )
    if assessment.state == "damaged" and node.name not in force:
        raise RecipeError(
            f"stage `{node.name}`: {assessment.why} since it was made: put it back, or force the stage to make it again",
            "LC-E212",
        )


def _why(node: StageNode, assessment: Assessment, force: Collection[str]) -> str:
    if assessment.state in ("new", "damaged"):
        return assessment.why or "not made yet"
    return assessment.why or ("asked for" if node.name in force else "")


def _outcome(node: StageNode, done: Done, why: str, record: StageRecord | None = None) -> StageOutcome:
    kind: Any = node.settings.type
    summary, seconds = (record.summary, record.seconds) if record is not None else ("", 0.0)
    return StageOutcome(node.name, kind, done, why, summary, seconds)
