"""Objects that other installed packages provide by entry points.

Nothing is imported until a name is asked for, so a broken package affects only those who ask for its name.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from lazarus_core.errors import LazarusError

_REASON_CHARS = 300


class Plugin(NamedTuple):
    """An object of another package."""

    value: Any
    """The object that the entry point names."""
    package: str
    """Name and version of its package."""


@dataclass(frozen=True)
class PluginGroup:
    """A group of entry points whose objects have one form.

    Args:
        group: Name of the group, such as `lazarus.families`.
        noun: What an object of the group is, for messages, such as "family".
        must_be: The form of the objects, for messages, such as "a `Family`".
        is_right: Whether an object has that form.
        error: Class of the errors.
        code: Code of the errors.
    """

    group: str
    noun: str
    must_be: str
    is_right: Callable[[Any], bool]
    error: type[LazarusError]
    code: str

    def names(self) -> list[str]:
        """The names that installed packages provide, sorted."""
        return sorted({entry.name for entry in entry_points(group=self.group)})

    def load(self, name: str) -> Plugin | None:
        """The object of a name; None if no package provides it.

        Raises:
            LazarusError: Several packages provide it, or it cannot be imported, or it has another form. The message names the package.
        """
        found = list(entry_points(group=self.group, name=name))
        if not found:
            return None
        if len(found) > 1:
            packages = ", ".join(sorted(map(package_of, found)))
            raise self.error(
                f"the {self.noun} {name!r} is provided by {packages}: uninstall all but one of them", self.code
            )
        entry = found[0]
        what = f"the {self.noun} {name!r} of the package {package_of(entry)}"
        try:
            value = entry.load()
            is_right = self.is_right(value)
        except Exception as error:  # any error while another package is imported
            raise self.error(
                f"{what} cannot be loaded ({reason(error)}): update or uninstall that package", self.code
            ) from error
        if not is_right:
            raise self.error(
                f"{what} cannot be used: `{entry.value}` must be {self.must_be}; update or uninstall that package",
                self.code,
            )
        return Plugin(value, package_of(entry))


def reason(error: Exception) -> str:
    """Class and message of an error of another package, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_REASON_CHARS]}"


def near_name(name: str, known: Iterable[str]) -> str:
    """The question whether a similar name was meant, with a space before it; empty if no name is similar.

    Args:
        name: The unknown name.
        known: The known names.
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def package_of(entry: EntryPoint) -> str:
    """Name and version of the package that an entry point is from."""
    return entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
