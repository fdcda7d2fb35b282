"""JSON documents of an artifact: read strictly, written in one form."""

import json
from pathlib import Path
from typing import cast

from lazarus_core.bounded import read_bytes
from lazarus_core.canonical import JSON
from lazarus_core.strict_json import MalformedJson, parse_json
from lazarus_plan.errors import CorruptPlan, PlanError
from lazarus_plan.git_damage import refuse_git_damage


def read_object(path: Path) -> JSON:
    """Read a JSON object in the form that this package writes."""
    content = read_part(path)
    refuse_git_damage(content, path)
    try:
        members = parse_json(content, str(path))
    except MalformedJson as error:
        raise CorruptPlan(error.message, "LP-E151") from error
    if not isinstance(members, dict):
        raise CorruptPlan(f"{path} is not a JSON object", "LP-E151")
    if document_bytes(cast("JSON", members)) != content:
        raise CorruptPlan(f"{path} is not in canonical form: two spaces, LF, every member once", "LP-E151")
    return cast("JSON", members)


def read_part(path: Path) -> bytes:
    """The content of a file of an artifact.

    Raises:
        CorruptPlan: It is missing.
    """
    try:
        return read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        raise CorruptPlan(f"{path} is missing: the plan is not whole", "LP-E151") from None


def document_bytes(members: JSON) -> bytes:
    """JSON for people and git: indented by two spaces, in the given order, with LF at the end."""
    return json.dumps(members, indent=2, ensure_ascii=False).encode() + b"\n"


def read_json(path: Path) -> JSON:
    """Read a JSON object from a file that the user names.

    Raises:
        PlanError: The file is missing or does not contain an object.
    """
    try:
        members = parse_json(read_bytes(path), str(path))
    except FileNotFoundError:
        raise PlanError(f"{path} does not exist: correct the path", "LP-E009") from None
    except MalformedJson as error:
        raise PlanError(error.message, "LP-E009") from error
    if not isinstance(members, dict):
        raise PlanError(f"{path} is not a JSON object", "LP-E009")
    return cast("JSON", members)
