"""Pins: the `plan_id` that a plan must have, as text or as the folder of a lock or plan."""

import re
from pathlib import Path

from lazarus_plan.checks.documents import load_documents
from lazarus_plan.errors import PlanError, StalePlan
from lazarus_plan.format.fingerprint import SHORT, short

_HEX = re.compile(r"(sha256:)?[0-9a-f]*")


def resolve_pin(pin: Path | str) -> str:
    """The hexadecimal digits of a pinned `plan_id`.

    Args:
        pin: A `plan_id` with or without `sha256:`, whole or its first 16 or more digits; or the folder of a lock or plan,
            whose documents are checked against each other.

    Returns:
        16 to 64 hexadecimal digits.

    Raises:
        PlanError: The pin is neither an identifier nor a folder, or has fewer than 16 digits.
        CorruptPlan: The lock contradicts itself.
    """
    text = str(pin).strip().lower()
    digits = text.removeprefix("sha256:")
    if not digits or not _HEX.fullmatch(text) or len(digits) > 64:
        return _id_of_lock(pin)
    if len(digits) < SHORT:
        raise PlanError(
            f"the plan_id {digits!r} has {len(digits)} digits: give at least {SHORT}, fewer are too easy to match",
            "LP-E008",
        )
    return digits


def _id_of_lock(pin: Path | str) -> str:
    try:
        is_folder = bool(str(pin)) and Path(pin).is_dir()
    except (OSError, ValueError):  # too long for a name, or a null character
        is_folder = False
    if not is_folder:
        raise PlanError(
            f"{str(pin)[:100]!r} is no plan_id and no folder of a lock: give 16 to 64 hexadecimal digits, or the lock",
            "LP-E008",
        )
    return str(load_documents(pin).fingerprints["plan_id"]).removeprefix("sha256:")


def check_pin(identity: str, pin: Path | str, what: str = "this") -> None:
    """Refuse a plan that is not the pinned one.

    Args:
        identity: Recomputed `plan_id` of the plan.
        pin: Pin in the form of `resolve_pin`.
        what: Name of the plan, for the message.

    Raises:
        PlanError: The pin cannot be read.
        StalePlan: The plan is another one.
    """
    digits = resolve_pin(pin)
    if not identity.removeprefix("sha256:").startswith(digits):
        raise StalePlan(
            f"{what} is plan {short(identity)}, the pinned one is {digits[:SHORT]}: it was edited or built from other inputs",
            "LP-E150",
        )
