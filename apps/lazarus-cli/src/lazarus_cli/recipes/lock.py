"""The lock of a recipe: digests of every stage, of its inputs and outputs, and versions, without paths and times.

Equal data, settings and versions give equal bytes in every folder, on machines that compute the same numbers.
"""

from typing import Any, NamedTuple, cast

from lazarus_cli.recipes.errors import Drifted, RecipeError
from lazarus_cli.recipes.folder import LOCK_NAME, RecipeFolder, indented
from lazarus_cli.recipes.session import Session, parts_of
from lazarus_core.atomic import whole_file
from lazarus_core.canonical import JSON
from lazarus_core.changed_values import describe_changes
from lazarus_core.strict_json import read_object

LOCK_VERSION = 1
MAX_LOCK_BYTES = 16 << 20


class Drift(NamedTuple):
    """The first difference between a recipe and its lock."""

    stage: str
    what: str


class LockCheck(NamedTuple):
    """What was compared with a lock."""

    stages: int
    """Stages that agree with the lock."""
    absent: tuple[str, ...]
    """Stages whose output is not in the folder, so that only what decides it was compared."""


def make_lock(session: Session) -> JSON:
    """The lock of all stages that are finished and unchanged.

    Args:
        session: The stages of a recipe in a folder.
    """
    stages: JSON = {}
    for node in session.recipe.stages:
        if any(name not in stages for name in session.recipe.upstream(node.name) - {node.name}):
            continue
        assessment, _, inputs = session.assess(node)
        record = session.folder.record(node.name)
        if assessment.state == "unchanged" and record is not None:
            session.finished(node, record, inputs)
            stages[node.name] = {"fingerprint": record.fingerprint, **record.parts, "outputs": record.outputs}
    return {"lazarus_lock": LOCK_VERSION, "seed": session.recipe.seed, "stages": stages}


def make_whole_lock(session: Session) -> JSON:
    """The lock of a recipe all of whose stages are finished and unchanged.

    Args:
        session: The stages of a recipe in a folder.

    Raises:
        RecipeError: A stage is not; the message names the first one.
    """
    lock = make_lock(session)
    for node in session.recipe.stages:
        if node.name not in lock["stages"]:
            raise RecipeError(
                f"{session.folder.path}: stage `{node.name}` is not finished, or changed since: run the recipe, which writes the lock",
                "LC-E224",
            )
    return lock


def write_lock(folder: RecipeFolder, lock: JSON) -> None:
    """Writes the lock of a folder.

    Args:
        folder: Folder of the recipe.
        lock: What `make_lock` gave.
    """
    with whole_file(folder.lock) as stream:
        stream.write(indented(lock))


def read_lock(folder: RecipeFolder) -> JSON:
    """The lock of a folder.

    Raises:
        RecipeError: There is none, or it is no lock of this version.
    """
    if not folder.lock.is_file():
        raise RecipeError(f"{folder.path} has no {LOCK_NAME}: run the recipe to write one", "LC-E223")
    lock = read_object(folder.lock, max_bytes=MAX_LOCK_BYTES)
    found = lock.get("lazarus_lock")
    if isinstance(found, int) and found > LOCK_VERSION:
        raise RecipeError(f"{folder.lock}: version {found} of a later lazarus-cli: update it", "LC-E223")
    stages: Any = lock.get("stages")
    if found != LOCK_VERSION or not isinstance(stages, dict) or not all(map(_is_entry, cast("JSON", stages).values())):
        raise RecipeError(f"{folder.lock}: not a lock of a recipe: run the recipe to write one", "LC-E223")
    return lock


def check_lock(session: Session, lock: JSON, *, checks_outputs: bool = True) -> LockCheck:
    """Compares a recipe, its data and what lies in its folder with a lock.

    Args:
        session: The stages of a recipe in a folder.
        lock: What `read_lock` gave.
        checks_outputs: Whether to compare what lies in the folder as well.

    Raises:
        Drifted: The message names the first stage that differs, and what.
    """
    entries: dict[str, JSON] = lock["stages"]
    absent: list[str] = []
    for node in session.recipe.stages:
        entry = entries.get(node.name)
        if entry is None:
            raise _drifted(session, node.name, "the lock does not have it: run the recipe to add it")
        inputs: dict[str, str] = {}
        for read in node.reads:
            name, _, part = read.name.partition(".")
            is_outside = read.name in session.recipe.data
            inputs[read.place] = (
                session.outside(read.name, read.kind).digest if is_outside else str(entries[name]["outputs"].get(part))
            )
        changes = describe_changes(_decisive(entry), parts_of(node, inputs))
        if changes:
            raise _drifted(session, node.name, changes)
        record = session.folder.record(node.name)
        if record is None:
            absent.append(node.name)
        elif checks_outputs:
            changes = session.damage(node, record) or describe_changes(
                {"parts": _decisive(entry), "outputs": entry["outputs"]},
                {"parts": record.parts, "outputs": record.outputs},
            )
            if changes:
                raise _drifted(session, node.name, changes)
    for name in sorted(entries.keys() - {node.name for node in session.recipe.stages}):
        raise _drifted(session, name, "the recipe does not have it: run the recipe to write the lock anew")
    return LockCheck(len(session.recipe.stages), tuple(absent))


def check_output(session: Session, name: str, lock: JSON, outputs: dict[str, str]) -> None:
    """Refuses an output that differs from the lock.

    Args:
        session: The stages of a recipe in a folder.
        name: The stage that has just ended.
        lock: What `read_lock` gave.
        outputs: Digests of what it made.

    Raises:
        Drifted: They differ.
    """
    changes = describe_changes({"outputs": lock["stages"][name]["outputs"]}, {"outputs": outputs})
    if changes:
        raise Drifted(
            f"stage `{name}` made something else than {session.folder.lock} says: {changes}: numbers can differ between "
            "machines; run without the lock to write it anew",
            "LC-E222",
        )


def _drifted(session: Session, name: str, what: str) -> Drifted:
    return Drifted(f"{session.folder.lock}: stage `{name}`: {what}", "LC-E221")


def _decisive(entry: JSON) -> JSON:
    return {name: entry[name] for name in ("type", "settings", "inputs", "versions")}


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and all(
            isinstance(cast("JSON", entry).get(name), dict) for name in ("settings", "inputs", "versions", "outputs")
        )
        and "type" in entry
    )
