"""Parses the JSON of data files with `lazarus_core.strict_json`, and raises this package's errors."""

from pathlib import Path
from typing import Any

from lazarus_core import strict_json
from lazarus_tokenkit.errors import SampleError

NOT_UTF8, MALFORMED = "LT-E305", "LT-E306"


def parse_json(content: bytes, path: Path, line: int | None = None) -> Any:
    """Parses a JSON value of a data file.

    >>> parse_json(b'{"id": "a", "length": 17}', Path("rows.jsonl"), 1)
    {'id': 'a', 'length': 17}

    Args:
        content: UTF-8 text without a byte order mark.
        path: The file, for messages.
        line: 1-based line of the value, or None if the value is the whole file.

    Raises:
        SampleError: The JSON is malformed, not UTF-8, or contains half a surrogate pair.
    """
    place = str(path) if line is None else f"{path}:{line}"
    try:
        return strict_json.parse_json(content, place)
    except strict_json.MalformedJson as error:
        is_text = error.fault != "encoding" and "surrogate" not in error.problem
        raise SampleError(error.message, MALFORMED if is_text else NOT_UTF8) from error
