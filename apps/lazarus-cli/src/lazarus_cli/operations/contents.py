"""What a corpus, a plan, a model, a tokenizer or a recipe has, in some words, and what a quick check finds wrong."""

import tomllib
from pathlib import Path
from typing import Any, cast

from lazarus_cli.operations.artifacts import CORPUS, MAX_BYTES, MODEL, PLAN, RECIPE, RECIPE_LOCK
from lazarus_core.bounded import read_bytes
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
    content = tomllib.loads(read_bytes(path / RECIPE_LOCK, MAX_BYTES).decode())
    stages = content.get("stages", content.get("stage", ()))
    return f"{len(stages)} stages" if stages else "", None
