"""Lazy public names: a package imports the module behind a name when the name is first used.

The stub beside the package's `__init__.py` (`__init__.pyi`) is the only list of names. Type checkers read it too.
"""

from collections.abc import Callable
from typing import Any

import lazy_loader

Exports = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def lazy_exports(package: str, file: str) -> Exports:
    """The `__getattr__`, `__dir__` and `__all__` of a package, from the stub beside its `__init__.py`.

    Args:
        package: The package's `__name__`.
        file: The package's `__file__`.
    """
    return lazy_loader.attach_stub(package, file)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
