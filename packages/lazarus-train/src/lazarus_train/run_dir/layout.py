"""Layout of a run's folder, and the lock that admits one writing process."""

import contextlib
import fcntl
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lazarus_core.atomic import move, parents_made, remove_folder
from lazarus_core.leftovers import clear_folder
from lazarus_train.callbacks.profiling import PROFILE, TRACE
from lazarus_train.errors import SetupError

INITIAL = "initial"
"""Name of the folder of a run's initial model with random weights."""

CONTROL = "control"
"""Name of the folder of the same run with random rewards."""

_TRIES, _PAUSE_S = 10, 0.02
"""How often, and how many seconds apart, a lock is tried."""


@dataclass(frozen=True)
class RunFolder:
    """A run's folder."""

    path: Path

    @property
    def config(self) -> Path:
        """Resolved settings, with versions and fingerprints."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """Loss, learning rate and gradient norm by step; determined by data and weights."""
        return self.path / "metrics.jsonl"

    @property
    def throughput(self) -> Path:
        """Seconds and tokens per second; depends on the machine."""
        return self.path / "throughput.jsonl"

    @property
    def audit(self) -> Path:
        """Audit log: a hash chain over the rows of every step."""
        return self.path / "audit.jsonl"

    @property
    def samples(self) -> Path:
        """Sampled answers during training."""
        return self.path / "samples.jsonl"

    @property
    def images(self) -> Path:
        """Images drawn during training."""
        return self.path / "images.jsonl"

    @property
    def rollouts(self) -> Path:
        """Answers that the model drew during reinforcement learning, with their rewards."""
        return self.path / "rollouts.jsonl"

    @property
    def time_boxes(self) -> Path:
        """Time boxes of the run; they depend on the machine."""
        return self.path / "time_boxes.jsonl"

    @property
    def rewound(self) -> Path:
        """Lines that were removed from the audit log after a kill."""
        return self.path / "audit.jsonl.rewound"

    @property
    def initial(self) -> Path:
        """Initial model with random weights, if the run created one."""
        return self.path / INITIAL

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def rewound_checkpoints(self) -> Path:
        """Checkpoints that a resume from an older one left unused."""
        return self.path / "checkpoints.rewound"

    @property
    def reference(self) -> Path:
        """Cached log-probabilities of the reference model."""
        return self.path / "reference"

    @property
    def final(self) -> Path:
        """The trained model."""
        return self.path / "final"

    @property
    def profiles(self) -> tuple[Path, Path]:
        """Profile of some steps, and the same as a trace."""
        return self.path / PROFILE, self.path / TRACE

    @property
    def lock(self) -> Path:
        """File that the writing process locks."""
        return self.path / ".lock"

    def check_is_ours(self) -> None:
        """Checks that the run replaces only files of an earlier run.

        Raises:
            SetupError: The folder has a model or other files with names of a run, but no run wrote them.
        """
        taken = [path.name for path in self._written() if path.exists()]
        if taken and not self._is_run():
            raise SetupError(
                f"{self.path} has {', '.join(f'`{name}`' for name in taken)}, which no run wrote: choose another `output`",
                "LR-E108",
            )

    def clear_leftovers(self) -> None:
        """Removes incomplete files left by killed processes. The caller holds the folder's lock."""
        for folder in (self.path, self.checkpoints, self.rewound_checkpoints, self.reference):
            clear_folder(folder)

    def clear(self) -> None:
        """Removes the files of an earlier run, `config.json` last; other files are kept."""
        for path in self._written():
            if path.is_dir():
                remove_folder(path)
            else:
                path.unlink(missing_ok=True)

    def set_aside(self, checkpoints: Sequence[Path]) -> None:
        """Moves checkpoints to `rewound_checkpoints`, because the run continues from an earlier step."""
        for checkpoint in checkpoints:
            self.rewound_checkpoints.mkdir(exist_ok=True)
            aside = self.rewound_checkpoints / checkpoint.name
            if aside.exists():
                remove_folder(aside)
            move(checkpoint, aside)

    def _written(self) -> tuple[Path, ...]:
        return (
            self.final,
            self.checkpoints,
            self.rewound_checkpoints,
            self.reference,
            self.metrics,
            self.throughput,
            self.samples,
            self.images,
            self.rollouts,
            self.time_boxes,
            self.audit,
            self.rewound,
            *self.profiles,
            self.config,
        )

    def _is_run(self) -> bool:
        try:
            record = json.loads(self.config.read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(record, dict) and "plan_id" in record

    @contextlib.contextmanager
    def held(self, *, by_this: bool = True) -> Generator[None]:
        """Context manager: creates the folder and locks it. The system releases the lock when the process ends.

        A folder that was created here and is still empty is removed when the block fails.

        Args:
            by_this: False on the processes of a run that do not write.

        Raises:
            SetupError: Another process trains in this folder.
        """
        if not by_this:
            yield
            return
        str(self.path).encode()  # the record of the run names it; the console words the error
        path = self.lock
        is_new = not path.exists()
        with parents_made(path), path.open("w") as lock:
            if not _takes(lock, fcntl.LOCK_EX):
                raise SetupError(
                    f"another process trains in {self.path}: wait for it, or choose another `output`", "LR-E106"
                )
            try:
                yield
            except BaseException:
                if is_new and [each.name for each in self.path.iterdir()] == [path.name]:
                    path.unlink()  # the run was refused before it wrote anything
                raise

    @contextlib.contextmanager
    def unchanged(self) -> Generator[None]:
        """Context manager: no process can train in the folder during the block. Several readers may hold it at once.

        Raises:
            SetupError: A process trains in this folder.
        """
        try:
            lock = self.lock.open("rb")
        except OSError:  # no process has trained here
            yield
            return
        with lock:
            if not _takes(lock, fcntl.LOCK_SH):
                raise SetupError(f"a process trains in {self.path}: wait for its end, or stop it", "LR-E106")
            yield


def _takes(lock: IO[Any], how: int) -> bool:
    """Locks an open file; False if another process holds it.

    It is tried for a fifth of a second: `run_progress` holds the lock for some microseconds.
    """
    for _ in range(_TRIES):
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return True
    return False
