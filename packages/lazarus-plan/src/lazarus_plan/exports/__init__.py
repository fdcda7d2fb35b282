"""Replay a plan in someone else's trainer: a file to copy, which needs neither lazarus-plan nor a new dependency.

An exporter of another package is an entry point of the group `lazarus.exporters`, named by its target. Its object is a function from
the name of the target to the text of a Python file:

    [project.entry-points."lazarus.exporters"]
    toy = "toy_package:python_file"      # def python_file(target: str) -> str

A file of this package is made of the modules and `.txt` parts of this package: one docstring, all imports, then the code. The modules need the
standard library alone; the parts of a trainer need its framework, which is not installed here.
"""

import ast
from pathlib import Path
from typing import Literal, TypeGuard

from lazarus_core.outputs import OutputKind
from lazarus_core.plugins import PluginGroup, near_name, reason
from lazarus_core.source_files import join_sources
from lazarus_plan.errors import PlanError

Target = Literal["torch", "trl", "grain", "mlx"]
_CORE = ("steps.py", "rows.py", "encoded.py", "audit_log.py")
_PARTS: dict[Target, tuple[str, ...]] = {
    "torch": (*_CORE, "torch_loader.txt"),
    "trl": (*_CORE, "trainer_settings.py", "torch_loader.txt", "trl_trainer.txt"),
    "grain": (*_CORE, "grain_source.txt"),
    "mlx": (*_CORE, "mlx_batches.txt"),
}


EXPORTERS = PluginGroup("lazarus.exporters", "exporter", "a function of the target", callable, PlanError, "LP-E206")
"""Exporters of other packages."""


def targets() -> list[str]:
    """The targets of this package, then those of other installed packages."""
    return [*_PARTS, *(name for name in EXPORTERS.names() if name not in _PARTS)]


def export(target: str) -> str:
    """The Python file for a trainer.

    Args:
        target: torch (loader, loss and audit log for a loop), trl (a mixin for trainers of TRL and transformers), grain (a
            random-access source), mlx (a call of mlx-lm's trainer; padded and bucketed plans only), or the name of an exporter of
            another package.

    Raises:
        PlanError: No exporter has this name, or the package that provides it cannot be used.
    """
    return _own_file(target) if _is_own(target) else _outside_file(target)


def _is_own(target: str) -> TypeGuard[Target]:
    return target in _PARTS


def _outside_file(target: str) -> str:
    """The file of an exporter of another package."""
    found = EXPORTERS.load(target)
    if found is None:
        known = targets()
        raise PlanError(
            f"there is no exporter {target!r}{near_name(target, known)}; there are {', '.join(known)}. Give one of them, or install "
            "the package that provides it",
            "LP-E208",
        )
    what = f"the exporter {target!r} of the package {found.package}"
    try:
        content = found.value(target)
        if not isinstance(content, str):
            raise TypeError(f"it returned {type(content).__name__} instead of the text of a file")
        if not ast.parse(content).body:
            raise ValueError("it returned an empty file")
    except Exception as error:  # any error of another package
        raise PlanError(f"{what} failed ({reason(error)}): update or uninstall that package", "LP-E207") from error
    return content


def _own_file(target: Target) -> str:
    folder = Path(__file__).parent
    return join_sources([(folder / name).read_text("utf-8") for name in _PARTS[target]], own=["lazarus_plan"])


def _is_unchanged(path: Path) -> bool:
    """Whether a file is one of the exports as it was written: people edit theirs."""
    content = path.read_text("utf-8", errors="replace").rstrip()
    return any(content == _own_file(target).rstrip() for target in _PARTS)


LOADER = OutputKind("an unedited export", _is_unchanged)


def output_kind(content: str) -> OutputKind:
    """The files that `content` may replace: unedited exports of this package and an unedited copy of `content`."""

    def is_own(path: Path) -> bool:
        return LOADER.is_own(path) or path.read_text("utf-8", errors="replace").rstrip() == content.rstrip()

    return OutputKind(LOADER.name, is_own)
