"""The kinds of output files of this package, with a test for existing files of each kind."""

import json
from pathlib import Path
from typing import Any

from lazarus_core.outputs import OutputKind, begins_with

MAX_FINGERPRINT_BYTES = 1 << 22
"""A saved fingerprint has a few kilobytes. A larger file is not one and is not read."""


def _is_fingerprint(path: Path) -> bool:
    if path.stat().st_size > MAX_FINGERPRINT_BYTES:
        return False
    try:
        members: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    match members:
        case {"version": int(), "components": dict(), "special_ids": dict(), "library": str()}:
            return True
        case _:
            return False


LENGTHS = OutputKind("a length cache", begins_with(r'\{"lazarus_lengths":'), "LT-E503")
FINGERPRINT = OutputKind("a saved fingerprint", _is_fingerprint, "LT-E503")
SAMPLES = OutputKind("a file of prepared samples", code="LT-E503")
