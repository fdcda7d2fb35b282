"""Readers of other packages. They are found by the entry point group `lazarus.readers` when a file needs one.

The name of an entry point is a suffix without its dot. Its object is a function from a path to rows:

```
[project.entry-points."lazarus.readers"]
avro = "my_package:read_avro"        # def read_avro(path: Path) -> Iterable[Mapping[str, Any]]
```

The suffixes that lazarus-tokenkit reads itself cannot be replaced. Errors of a reader name its package.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from lazarus_core.plugins import package_of, reason
from lazarus_core.strict_json import kind
from lazarus_tokenkit.errors import SampleError

GROUP = "lazarus.readers"
UNUSABLE, FAILED, AMBIGUOUS = "LT-E322", "LT-E323", "LT-E324"
Read = Callable[[Path], Iterable[Mapping[str, Any]]]


def plugged_suffixes() -> list[str]:
    """Returns the suffixes that other installed packages read, sorted."""
    return sorted({f".{point.name}" for point in entry_points(group=GROUP)})


def plugged_rows(path: Path) -> Iterator[dict[str, Any]] | None:
    """Reads a file with the reader of another package. Returns None if no package reads its suffix.

    Raises:
        SampleError: Two packages read the suffix, or the reader cannot be loaded, fails, or gives an invalid row.
    """
    points = [each for each in entry_points(group=GROUP) if path.name.endswith(f".{each.name}")]
    if not points:
        return None
    longest = max(len(each.name) for each in points)  # `.tar.toy` before `.toy`
    found = [each for each in points if len(each.name) == longest]
    if len(found) > 1:
        names = " and ".join(sorted(f"package {package_of(each)}" for each in found))
        raise SampleError(f"{path}: {names} both read `.{found[0].name}`; uninstall one of them", AMBIGUOUS)
    return _rows(path, found[0])


def _rows(path: Path, point: EntryPoint) -> Iterator[dict[str, Any]]:
    read = _load(path, point)
    number = 0
    try:
        for number, row in enumerate(read(path), 1):
            yield _object(row, f"{path}:{number}", point)
    except SampleError:
        raise
    except Exception as error:  # any error of the other package
        where = f"{path}:{number + 1}" if number else str(path)
        raise SampleError(
            f"{where}: the reader of package {package_of(point)} failed: {reason(error)}", FAILED
        ) from error


def _object(row: Any, place: str, point: EntryPoint) -> dict[str, Any]:
    """Checks a row of a reader and returns it as an object."""
    if not isinstance(row, Mapping):
        raise SampleError(f"{place}: the reader of package {package_of(point)} gave {kind(row)}, not an object", FAILED)
    members = dict(cast("Mapping[Any, Any]", row))
    if strange := [name for name in members if not isinstance(name, str)]:
        raise SampleError(
            f"{place}: the reader of package {package_of(point)} gave a field name {strange[0]!r}, not a text", FAILED
        )
    return members


def _load(path: Path, point: EntryPoint) -> Read:
    try:
        read = point.load()
    except Exception as error:  # any error during the import of the other package
        raise SampleError(
            f"{path}: the reader `{point.value}` of package {package_of(point)} cannot be loaded: {reason(error)}; install it again",
            UNUSABLE,
        ) from error
    if not callable(read):
        raise SampleError(f"{path}: `{point.value}` of package {package_of(point)} is not a function", UNUSABLE)
    return cast("Read", read)
