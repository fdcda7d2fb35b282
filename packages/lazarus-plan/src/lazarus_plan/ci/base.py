"""The base of a review: a git revision, copied into a temporary folder, or a folder with a lock."""

import os
import subprocess
from pathlib import Path
from typing import IO

from lazarus_plan.errors import PlanError

_FROM_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""Variables that git sets for hooks. They would override the repository that `git -C` finds."""


class Revision:
    """Reads files as they were at a git revision.

    Args:
        ref: A commit, branch or tag.
        folder: A folder inside the repository.

    Raises:
        PlanError: git is missing, there is no repository, or no such revision.
    """

    def __init__(self, ref: str, folder: Path) -> None:
        self.ref, self._folder = ref, folder
        self.is_unborn = False
        if _git(folder, "rev-parse", "--git-dir") is None:
            raise PlanError(f"{folder} is in no git repository: give the folder of a lock as the base", "LP-E009")
        commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        if commit is None and ref == "HEAD":
            self.is_unborn = True  # the first commit is still to come
        elif commit is None:
            raise PlanError(
                f"git finds no commit {ref!r}: fetch it first (`git fetch origin`; actions/checkout with `fetch-depth: 0`)",
                "LP-E009",
            )
        self._commit = (commit or b"").decode().strip()

    def copy(self, path: Path, target: Path) -> bool:
        """Copy one file of the revision.

        Args:
            path: Path of the file in the work tree.
            target: Output path.

        Returns:
            False if the revision has no such file.
        """
        if self.is_unborn or not path.parent.is_dir():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            found = _git(path.parent, "cat-file", "blob", f"{self._commit}:./{path.name}", stdout=stream)
        if found is None:
            target.unlink()
        return found is not None


def _git(folder: Path, *arguments: str, stdout: IO[bytes] | int = subprocess.PIPE) -> bytes | None:
    """Output of a git command, or None if it fails.

    Raises:
        PlanError: git is not installed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _FROM_HOOKS}
    command = ["git", "-C", str(folder), *arguments]
    try:
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            command, env=environment, stdout=stdout, stderr=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError:
        raise PlanError("git is not installed: give the folder of a lock as the base", "LP-E009") from None
    return None if done.returncode else (done.stdout or b"")
