"""The door to mlx-lm: its caches, experts and adapters are used, without what it would load and change besides.

`import mlx_lm` takes over a second, since it brings transformers, and sets the process's limit on open files to 2048 of
4096, which fails where the limit is lower and cannot be undone where it was higher. None of its layers need either, so
the code of its packages is postponed until something asks for a name that only it gives.
"""

import resource
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


class _Postponed(ModuleType):
    """A package whose submodules can be imported; its own code runs when a name is missing."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # pyright: ignore[reportAttributeAccessIssue] (a package like others again)
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _leave_limit(resource: int, limits: tuple[int, int]) -> None:
    """Stands in for `resource.setrlimit`."""


def import_mlx_lm(module: str) -> Any:
    """Imports a module of mlx-lm by its name in there, such as `models.cache`."""
    set_limit = resource.setrlimit
    resource.setrlimit = _leave_limit
    try:
        package = "mlx_lm"
        for name in module.split("."):
            _postpone(package)
            package = f"{package}.{name}"
        return import_module(package)
    finally:
        resource.setrlimit = set_limit


def _postpone(package: str) -> None:
    if package not in sys.modules:
        spec = find_spec(package)
        assert spec is not None, "mlx-lm is a dependency"
        sys.modules[package] = module_from_spec(spec)
        sys.modules[package].__class__ = _Postponed
