"""JSON of data files, read by `lazarus_core.strict_json`; what is wrong is an error of this package."""

from pathlib import Path
from typing import Any

from lazarus_core import strict_json
from lazarus_tokenkit.errors import SampleError

NOT_UTF8, MALFORMED = "LT-E305", "LT-E306"


def parse_json(content: bytes, path: Path, line: int | None = None) -> Any:
    """A JSON value.

    >>> parse_json(b'{"id": "a", "length": 17}', Path("rows.jsonl"), 1)
    {'id': 'a', 'length': 17}

    Args:
        content: UTF-8 without a byte order mark.
        path: Where it stands, for messages.
        line: The 1-based line that it is, or None: the whole file.

    Raises:
        SampleError: It is malformed, or holds what no UTF-8 text can.
    """
    place = str(path) if line is None else f"{path}:{line}"
    try:
        return strict_json.parse_json(content, place)
    except strict_json.MalformedJson as error:
        is_text = error.fault != "encoding" and "surrogate" not in error.problem
        raise SampleError(error.message, MALFORMED if is_text else NOT_UTF8) from error
