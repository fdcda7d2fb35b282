"""A direction in the residual stream, as a file: what a probe writes and steering reads.

D = width of the site
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_core.outputs import OutputKind, begins_with, whole_output
from lazarus_core.strict_json import read_object
from lazarus_introspect.errors import RequestError

FORMAT = "lazarus-direction"
VERSION = 1
DIRECTION = OutputKind("a direction", begins_with(rf'\{{"format":"{FORMAT}"'), "LI-E086")
_MAX_WIDTH = 1 << 20
_MAX_BYTES = 64 << 20
_LARGEST = 1e18
"""Its square is finite in float32."""
_TEXTS = ("site", "method", "negative", "positive", "weights")


@dataclass(frozen=True)
class SteeringDirection:
    """A vector at a site, with its origin."""

    site: str
    """Such as `blocks.8.resid_pre`."""
    vector: NDArray[np.float32]
    """(D,)."""
    method: str
    """How it was computed, such as `mean_difference` or `lda`."""
    negative: str
    """Class from which it points."""
    positive: str
    """Class to which it points."""
    weights: str
    """Digest of the model's weights; see `Provenance`."""

    @property
    def members(self) -> dict[str, Any]:
        """The direction as members of a JSON object."""
        texts = {name: getattr(self, name) for name in _TEXTS}
        return {**texts, "vector": [float(each) for each in self.vector]}

    @property
    def name(self) -> str:
        """Such as `happy - sad at blocks.8.resid_pre (lda)`."""
        return f"{self.positive} - {self.negative} at {self.site} ({self.method})"


def save_direction(direction: SteeringDirection, path: Path, *, force: bool = False) -> None:
    """Writes a direction as one JSON object.

    Args:
        direction: The direction.
        path: The file; an earlier direction is replaced.
        force: Replace a file of another kind.

    Raises:
        OutputTaken: The file is of another kind (LI-E086).
    """
    said = {"format": FORMAT, "version": VERSION, **direction.members}
    with whole_output(path, DIRECTION, force=force) as stream:
        stream.write(json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def load_direction(path: Path | str) -> SteeringDirection:
    """Reads a direction.

    Args:
        path: A file that `save_direction` wrote.

    Raises:
        RequestError: It is no direction, or of a newer version (LI-E084).
        InputError: It is no JSON object.
    """
    said = read_object(path, max_bytes=_MAX_BYTES)
    if said.get("format") != FORMAT:
        raise RequestError(f"{path} is no direction: write one with `lazarus introspect probe -o`", "LI-E084")
    if said.get("version") != VERSION:
        raise RequestError(
            f"{path} has format version {said.get('version')}, this lazarus-introspect reads {VERSION}: upgrade it",
            "LI-E084",
        )
    found = direction_of(said)
    if found is None:
        raise RequestError(f"{path} is damaged: write the direction again", "LI-E084")
    return found


def direction_of(members: Mapping[str, Any]) -> SteeringDirection | None:
    """The direction of `SteeringDirection.members`; None if they are none."""
    vector = members.get("vector")
    numbers = cast("list[Any]", vector) if isinstance(vector, list) else []
    is_good = all(
        isinstance(each, int | float) and not isinstance(each, bool) and isfinite(each) and abs(each) < _LARGEST
        for each in numbers
    )
    texts = {name: members.get(name) for name in _TEXTS}
    if not (0 < len(numbers) <= _MAX_WIDTH and is_good and any(numbers)):
        return None
    if not all(isinstance(each, str) for each in texts.values()):
        return None
    return SteeringDirection(vector=np.array(numbers, np.float32), **{name: str(text) for name, text in texts.items()})


def check_fits(direction: SteeringDirection, weights: str, site_width: int | None = None) -> None:
    """Checks that a direction belongs to a model.

    Args:
        direction: The direction.
        weights: Digest of the model's weights.
        site_width: Width of the site; None does not check it.

    Raises:
        RequestError: It was computed from another model (LI-E085).
    """
    if direction.weights != weights:
        raise RequestError(
            f"`direction` was computed from a model with the weights {direction.weights[:16]}, this one has "
            f"{weights[:16]}: compute it again",
            "LI-E085",
        )
    if site_width is not None and direction.vector.size != site_width:
        raise RequestError(
            f"`direction` has {direction.vector.size} numbers, the site has {site_width}: compute it again", "LI-E085"
        )
