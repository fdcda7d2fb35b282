"""The door to mlx-lm: its caches, experts, adapters and server are used, and cost an import of over a second."""

import resource
from importlib import import_module
from typing import Any


def _leave_limit(resource: int, limits: tuple[int, int]) -> None:
    """Stands in for `resource.setrlimit`."""


def import_mlx_lm(module: str) -> Any:
    """Imports a module of mlx-lm, which takes over a second: it brings transformers.

    mlx-lm sets the process's limit on open files to 2048 of 4096 as it is imported, which fails where the limit is
    lower and cannot be undone where it was higher; here the limit stays as it is.
    """
    set_limit = resource.setrlimit
    resource.setrlimit = _leave_limit
    try:
        return import_module(f"mlx_lm.{module}")
    finally:
        resource.setrlimit = set_limit
