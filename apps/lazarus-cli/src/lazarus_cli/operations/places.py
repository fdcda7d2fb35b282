"""Places of copies: a folder, `file:///FOLDER`, or `hf://OWNER/NAME[@REVISION]` on the Hugging Face hub."""

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from lazarus_cli.operations.errors import OperationError

_HUB = re.compile(
    r"hf://(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<revision>[A-Za-z0-9][\w./-]{0,199}))?"
)


class HubPlace(NamedTuple):
    """A repository on the hub.

    Args:
        repo: `OWNER/NAME`.
        revision: Branch, tag or commit; None for `main`.
    """

    repo: str
    revision: str | None


def read_place(text: str) -> Path | HubPlace:
    """The place that an argument names.

    >>> read_place("hf://ann/tiny@v1")
    HubPlace(repo='ann/tiny', revision='v1')
    >>> read_place("file:///mnt/a%20b").as_posix()
    '/mnt/a b'

    Raises:
        OperationError: It has another form.
    """
    if match := _HUB.fullmatch(text):
        return HubPlace(match["repo"], match["revision"])
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if scheme is None and text.startswith("hf:"):  # the form of data sets, which would be a folder of this name
        raise OperationError(
            f"{text[:100]!r} is no place for copies: give hf://OWNER/NAME for the hub, or ./{text[:100]} for a folder",
            "LC-E278",
        )
    if scheme is None:
        return Path(text)
    parts = urlsplit(text)
    path = unquote(parts.path)
    is_local = parts.scheme == "file" and parts.netloc in ("", "localhost") and not parts.query and not parts.fragment
    if is_local and len(path) > 1 and "\0" not in path:
        return Path(path)
    raise OperationError(
        f"{_without_secret(text)[:100]!r} is no place for copies: give a folder, file:///FOLDER or hf://OWNER/NAME",
        "LC-E278",
    )


def _without_secret(text: str) -> str:
    """An address without the name and password before its host."""
    return re.sub(r"(?<=://)[^/@]*@", "", text)
