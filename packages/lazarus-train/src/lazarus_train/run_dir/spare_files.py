"""Finds and removes files of a run that neither `verify`, a resume nor another run needs.

| file | spare unless |
|---|---|
| checkpoint | among the newest `keep`, the newest undamaged one, the best one, the source of `final`, a link's target, the step at which a plan was rebased, or of a run that draws answers (`verify --replay`) |
| `checkpoints.rewound` | never: a resume from an earlier step left it unused |
| temporary file of a killed process | a process writes it, or it is the only copy of a folder that was moved aside |

A file that another run or a link uses stays, too. Links are never followed.
"""

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lazarus_core.atomic import remove_folder
from lazarus_core.leftovers import abandoned
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.checkpoint import checkpoint_step, checkpoints, find_damage
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.metrics import held_out_losses, read_lines
from lazarus_train.run_dir.progress import run_record
from lazarus_train.run_dir.retention import BEST, LATEST, best_checkpoint

JSON = dict[str, Any]
_FINAL = re.compile(rb'\{"step":(\d+),"bind":"final"')


class SpareFile(NamedTuple):
    """A file or folder that nothing needs.

    Args:
        path: Where it is.
        bytes: Size of its files.
        reason: Why it is not needed.
    """

    path: Path
    bytes: int
    reason: str


def list_spare_files(
    path: Path, *, keep: int | None = None, used: Collection[Path] = (), rebased: Iterable[int] = ()
) -> list[SpareFile]:
    """Lists what can be removed from a run's folder. Nothing is changed.

    Args:
        path: The run's folder.
        keep: Number of newest checkpoints to keep, at least 1; None takes the run's `keep_checkpoints`, which by default
            keeps all.
        used: Files and folders, as absolute paths without links, that others use.
        rebased: Steps at which plans were rebased.

    Raises:
        SetupError: The folder is not a run, or `keep` is below 1.
    """
    if keep is not None and keep < 1:
        raise SetupError(f"`keep` {keep}: a run needs its newest checkpoint; give 1 or more", "LR-E290")
    record, folder = run_record(path), RunFolder(path)
    found = [*_leftovers(folder), *_old_checkpoints(folder, record["config"], keep, frozenset(rebased))]
    if folder.rewound_checkpoints.is_dir() and not folder.rewound_checkpoints.is_symlink():
        found += [
            SpareFile(each, tree_bytes(each), "unused since the run was resumed from an earlier step")
            for each in checkpoints(folder.rewound_checkpoints)
        ]
    return [each for each in found if not _is_used(each.path, path, used) and not _is_behind_a_link(each.path, path)]


def remove_spare_files(
    path: Path, *, keep: int | None = None, used: Collection[Path] = (), rebased: Iterable[int] = ()
) -> list[SpareFile]:
    """Removes what `list_spare_files` lists, and returns it. The run's lock is held from the listing to the end.

    Args:
        path: The run's folder.
        keep: As for `list_spare_files`.
        used: As for `list_spare_files`.
        rebased: As for `list_spare_files`.

    Raises:
        SetupError: The folder is not a run, a process trains in it, or `keep` is below 1.
        OSError: The system refuses; what was removed before stays removed.
    """
    run_record(path)
    folder = RunFolder(path)
    with folder.held():
        spare = list_spare_files(path, keep=keep, used=used, rebased=rebased)
        for each in spare:
            if each.path.is_dir():
                remove_folder(each.path)
            else:
                each.path.unlink(missing_ok=True)
        if not folder.rewound_checkpoints.is_symlink():
            with contextlib.suppress(OSError):  # absent, or it has other files
                folder.rewound_checkpoints.rmdir()
    return spare


def tree_bytes(path: Path) -> int:
    """Size in bytes of a file, or of all files below a folder. Links are not followed."""
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(OSError):
            return path.lstat().st_size
        return 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 (a million files: paths are slow)
    return total


def _leftovers(folder: RunFolder) -> Iterator[SpareFile]:
    for place in (folder.path, folder.checkpoints, folder.rewound_checkpoints, folder.reference):
        if not place.is_symlink():
            for each in abandoned(place):
                yield SpareFile(each, tree_bytes(each), "left by a process that was killed")


def _old_checkpoints(folder: RunFolder, config: JSON, keep: int | None, rebased: frozenset[int]) -> list[SpareFile]:
    found, most = checkpoints(folder.checkpoints), keep or config.get("keep_checkpoints")
    if not isinstance(most, int) or len(found) <= most or folder.rollouts.exists():
        return []
    losses = held_out_losses(read_lines(folder.metrics), next(iter(config.get("eval_data") or ()), None))
    linked = {(folder.checkpoints / name).resolve().name for name in (LATEST, BEST)}
    intact = next((each for each in reversed(found) if find_damage(each) is None), None)
    needed = {*found[-most:], best_checkpoint(folder.checkpoints, losses), intact}
    steps = rebased | _final_steps(folder.audit)
    return [
        SpareFile(each, tree_bytes(each), f"older than the newest {most}, and not the best")
        for each in found
        if each not in needed and each.name not in linked and checkpoint_step(each) not in steps
    ]


def _final_steps(audit: Path) -> frozenset[int]:
    """Steps after which a final model was written."""
    with contextlib.suppress(OSError), audit.open("rb") as lines:
        return frozenset(int(match[1]) for line in lines if (match := _FINAL.match(line)))
    return frozenset()


def _is_used(path: Path, root: Path, used: Collection[Path]) -> bool:
    """Whether something in a path, the path, or a folder between it and its run is used. A link to a run uses no part."""
    place, run = path.resolve(), root.resolve()
    between = {place, *place.parents} - {run, *run.parents}
    return any(each in between or each.is_relative_to(place) for each in used)


def _is_behind_a_link(path: Path, root: Path) -> bool:
    """Whether a path below a run's folder is a link, or leads through one."""
    inner = path.relative_to(root).parts
    return any(root.joinpath(*inner[: number + 1]).is_symlink() for number in range(len(inner)))
