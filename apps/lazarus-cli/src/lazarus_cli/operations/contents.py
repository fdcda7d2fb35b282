"""What a corpus, a plan, a model, a tokenizer or a recipe has, in some words, and what a quick check finds wrong."""

import fcntl
from pathlib import Path
from typing import Any, cast

from lazarus_cli.operations.artifacts import CORPUS, MAX_BYTES, MODEL, PLAN, RECIPE, RECIPE_LOCK, RECIPE_STATE
from lazarus_core.errors import LazarusError
from lazarus_core.strict_json import read_object

JSON = dict[str, Any]


def describe_content(path: Path, kind: str) -> tuple[str, str | None]:
    """Content of an artifact, and its problem or None.

    Args:
        path: Its folder.
        kind: What it is, but no run.
    """
    describe = {CORPUS: _corpus, PLAN: _plan, MODEL: _model, RECIPE: _recipe}.get(kind)
    try:
        return ("", None) if describe is None else describe(path)
    except (LazarusError, OSError, ValueError, KeyError, TypeError) as error:
        return "", str(error)


def _corpus(path: Path) -> tuple[str, str | None]:
    shards = cast("list[JSON]", read_object(path / "manifest.json", max_bytes=MAX_BYTES)["shards"])
    missing = [str(each["name"]) for each in shards if not (path / "shards" / str(each["name"])).is_file()]
    return f"{len(shards):,} shards", f"{missing[0]} is missing" if missing else None


def _plan(path: Path) -> tuple[str, str | None]:
    from lazarus_plan import PlanReader

    if not (path / "plan.jsonl").exists():
        return "lock", None
    with PlanReader(path) as plan:  # reads all documents and the index
        rebased = "" if plan.metadata.parent is None else ", rebased"
        return f"{len(plan):,} steps{rebased}", None


def _model(path: Path) -> tuple[str, str | None]:
    config = read_object(path / "config.json", max_bytes=MAX_BYTES)
    index = path / "model.safetensors.index.json"
    weights = sorted(path.glob("*.safetensors"))
    if index.is_file():
        files = set(cast("dict[str, str]", read_object(index, max_bytes=MAX_BYTES)["weight_map"]).values())
        missing = sorted(files - {each.name for each in weights})
        return str(config["model_type"]), f"{missing[0]} is missing" if missing else None
    return str(config["model_type"]), None if weights else "no weights (*.safetensors)"


def _recipe(path: Path) -> tuple[str, str | None]:
    """Finished stages, and whether a process runs the recipe. Its lock is tried and released at once."""
    state = path / RECIPE_STATE
    done = [each for each in state.glob("*.json") if each.name != "digests.json"]
    if (path / RECIPE_LOCK).is_file():
        read_object(path / RECIPE_LOCK, max_bytes=MAX_BYTES)
    return f"{'running, ' if _is_held(state / 'lock') else ''}{len(done)} stages done", None


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock yet, or a disk without locks
        return False
    return False
