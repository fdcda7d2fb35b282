"""JSON as data files have to hold it: a strict parser decides, the standard library says what is wrong and where.

Refused is what readers understand differently or not at all: a member that stands twice, NaN and Infinity, half of a
surrogate pair, an integer of more digits than Python reads, more than 200 levels.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jiter

from lazarus_tokenkit.errors import SampleError

NOT_UTF8, MALFORMED = "LT-E305", "LT-E306"
MAX_DIGITS = sys.get_int_max_str_digits()


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
    try:
        return jiter.from_json(content, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise _refusal(content, str(path) if line is None else f"{path}:{line}", str(error)) from error


def _refusal(content: bytes, place: str, reason: str) -> SampleError:
    words, _, position = reason.partition(" at line ")
    if "recursion" in words:
        return SampleError(f"{place}: JSON nested too deeply", MALFORMED)
    try:
        value = json.loads(content.decode().rstrip("\r\n"))
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        return SampleError(f"{place}: byte {error.start + 1} of the line is not UTF-8; convert the file", NOT_UTF8)
    except UnicodeEncodeError:
        return SampleError(f"{place}: half a surrogate pair, which no UTF-8 text can hold", NOT_UTF8)
    except json.JSONDecodeError as error:
        return _malformed(place, error.lineno, error.colno, error.msg)
    except ValueError:  # Python reads no longer integers, for the time that it would take
        words = f"an integer of more digits than {MAX_DIGITS:,}; write it as a text"
        return SampleError(f"{place}: {words}", MALFORMED)
    line, _, column = position.partition(" column ")
    return _malformed(place, int(line), int(column), words)


def _malformed(place: str, line: int, column: int, words: str) -> SampleError:
    where = f"{place}:{column}" if line == 1 else f"{place}: line {line}"
    return SampleError(f"{where}: malformed JSON: {words}", MALFORMED)
