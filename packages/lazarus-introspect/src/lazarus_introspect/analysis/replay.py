"""Whether a result that was computed again is the stored one: bit for bit, within a tolerance, or where it differs."""

from collections.abc import Iterator
from typing import Any, cast

from lazarus_introspect.analysis.settings import Frozen

_FINGERPRINTS = ("weights", "tokenizer")
_ORIGIN = {*_FINGERPRINTS, "versions"}
"""Keys by which an object is a provenance."""
_MOST_LISTED = 20
_Leaf = str | int | float | bool | None


Setting = bool | int | float | str | list[bool | int | float | str]
"""The value of an option or argument."""


class StoredCommand(Frozen):
    """The command of a stored result."""

    name: str
    """Words below `lazarus introspect`."""
    settings: dict[str, Setting]
    """Values by the long name of their option, or the name of their argument."""


class Difference(Frozen):
    """A value that differs."""

    place: str
    """Such as `heads[3].share`."""
    stored: _Leaf
    again: _Leaf


class Replay(Frozen):
    """A stored result compared with the same command now."""

    command: str
    is_equal: bool
    """Whether model, tokenizer and all values are equal, numbers within the tolerance."""
    is_bit_equal: bool
    """Whether all values are equal bit for bit."""
    tolerance: float
    """Largest difference that counts as equal, as a share of the larger number, or absolute below 1."""
    values: int
    """Values that were compared."""
    num_different: int
    """Values that differ by more than the tolerance."""
    largest: float
    """Largest difference of two numbers, in the same unit as the tolerance."""
    fingerprints: tuple[Difference, ...]
    """Fingerprints of models and tokenizers that differ."""
    versions: tuple[Difference, ...]
    """Versions and devices that differ; they alone make no result unequal."""
    differences: tuple[Difference, ...]
    """The first values that differ by more than the tolerance."""


def replayed(stored: dict[str, Any], again: dict[str, Any], *, tolerance: float = 1e-4) -> Replay:
    """Compares a stored result with the result of the same command now.

    Args:
        stored: The stored result, as `to_json` writes it.
        again: The new one.
        tolerance: Largest difference that counts as equal, relative to the larger number, or absolute below 1.
    """
    old, new = dict(_leaves(stored)), dict(_leaves(again))
    origins = {place.rpartition(".")[0] for place in old | new if place.endswith(".weights")}
    fingerprints: list[Difference] = []
    versions: list[Difference] = []
    differences: list[Difference] = []
    values, num_different, largest, is_bit_equal = 0, 0, 0.0, True
    for place in dict.fromkeys([*old, *new]):
        if place.startswith("command."):
            continue
        pair = Difference(place=place, stored=old.get(place, "(absent)"), again=new.get(place, "(absent)"))
        origin = next((each for each in origins if place.startswith(f"{each}.")), None)
        if origin is not None:
            if pair.stored != pair.again:
                is_print = place.removeprefix(f"{origin}.") in _FINGERPRINTS
                if is_print:
                    fingerprints.append(pair)
                elif not place.endswith(".model"):  # the name of a directory
                    versions.append(pair)
            continue
        values += 1
        if pair.stored == pair.again and type(pair.stored) is type(pair.again):
            continue
        is_bit_equal = False
        distance = _distance(pair.stored, pair.again)
        if distance is not None:
            largest = max(largest, distance)
        if distance is None or distance > tolerance:
            num_different += 1
            if len(differences) < _MOST_LISTED:
                differences.append(pair)
    return Replay(
        command=str(old.get("command.name", "")),
        is_equal=not fingerprints and not num_different,
        is_bit_equal=is_bit_equal and not fingerprints,
        tolerance=tolerance,
        values=values,
        num_different=num_different,
        largest=largest,
        fingerprints=tuple(fingerprints),
        versions=tuple(versions),
        differences=tuple(differences),
    )


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, _Leaf]]:
    """Every value that is not a list or an object, with its place; an empty list or object is a text."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        if not members:
            yield place, "{}"
        for name, each in members.items():
            yield from _leaves(each, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        items = cast("list[Any]", value)
        if not items:
            yield place, "[]"
        for number, each in enumerate(items):
            yield from _leaves(each, f"{place}[{number}]")
    else:
        yield place, value


def _distance(one: _Leaf, other: _Leaf) -> float | None:
    """The difference of two numbers as a share of the larger one, or absolute below 1; None for other values."""
    if isinstance(one, bool) or isinstance(other, bool):
        return None
    if not isinstance(one, int | float) or not isinstance(other, int | float):
        return None
    if isinstance(one, int) and isinstance(other, int):
        return None
    return abs(one - other) / max(1.0, abs(one), abs(other))
