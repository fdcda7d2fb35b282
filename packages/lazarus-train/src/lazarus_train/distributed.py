"""The processes of one run, started by `mlx.launch` or MPI. They share the work of every step.

R = number of processes. A run of one process is rank 0 of 1 and sends no messages.
"""

import functools
import hashlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_core.console import say
from lazarus_models.backend import mx
from lazarus_models.trees import evaluate
from lazarus_train.errors import PeerLost, SetupError

JOIN_WITHIN_S = 60
"""Seconds to wait for the other processes. The backend has no timeout of its own."""
_WORD = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32, 8: mx.uint64}
"""Integer types by size in bytes."""
_LAUNCHED = ("MLX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Environment variables with which a launcher sets the rank of a process."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run, seen from one of them.

    Args:
        rank: Rank of this process, from 0.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def sum(self, tensors: Mapping[str, mx.array]) -> dict[str, mx.array]:
        """Sums of arrays that every process has under the same names; bitwise equal on all processes.

        Arrays of one type are sent in one message, in the order of their names.

        Raises:
            PeerLost: A process ended.
        """
        if self.size == 1:
            return dict(tensors)
        summed: dict[str, mx.array] = {}
        for dtype in sorted({tensor.dtype for tensor in tensors.values()}, key=str):
            mine = {name: tensors[name] for name in sorted(tensors) if tensors[name].dtype == dtype}
            flat = self._all_sum(mx.concatenate([mx.flatten(tensor) for tensor in mine.values()]))
            ends = np.cumsum([tensor.size for tensor in mine.values()]).tolist()
            parts = mx.split(flat, ends[:-1])
            summed |= {name: mx.reshape(part, mine[name].shape) for name, part in zip(mine, parts, strict=True)}
        return {name: summed[name] for name in tensors}

    def join(self, mine: Mapping[str, mx.array], like: Mapping[str, mx.array]) -> dict[str, mx.array]:
        """Collects arrays that are distributed over the processes: every process gets all of them, bit for bit.

        Args:
            mine: Arrays of this process; no two processes have the same name.
            like: Shape and type of all arrays, by name, the same on every process; their values are not computed.
        """
        if self.size == 1:
            return dict(mine)
        # Summed as whole numbers: what a process lacks is zero, and no sign of a zero is lost.
        words = {name: _WORD[each.dtype.size] for name, each in like.items()}
        own = {
            name: mx.view(mine[name], words[name]) if name in mine else mx.zeros(each.shape, words[name])
            for name, each in like.items()
        }
        return {name: mx.view(each, like[name].dtype) for name, each in self.sum(own).items()}

    def sum_numbers(self, *numbers: float) -> tuple[float, ...]:
        """Sums of a few numbers over all processes, in single precision."""
        if self.size == 1:
            return numbers
        return tuple(np.array(self._all_sum(mx.array(numbers, dtype=mx.float32))).tolist())

    def any(self, mine: bool) -> bool:
        """Whether the value is true on any process."""
        return mine if self.size == 1 else self.sum_numbers(float(mine))[0] > 0

    def join_bytes(self, mine: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Combines arrays of equal shape that each process filled at different positions, with zeros elsewhere."""
        return mine if self.size == 1 else np.array(self._all_sum(mx.array(mine)), dtype=np.uint8)

    def gather(self, mine: bytes) -> list[bytes]:
        """The bytes of every process, in the order of ranks, on every process.

        Args:
            mine: Bytes of this process, of any length.
        """
        if self.size == 1:
            return [mine]
        sizes = np.zeros((self.size, 8), dtype=np.uint8)
        sizes[self.rank] = np.frombuffer(len(mine).to_bytes(8, "little"), dtype=np.uint8)
        ends = np.cumsum([int.from_bytes(each.tobytes(), "little") for each in self.join_bytes(sizes)]).tolist()
        whole = np.zeros(max(1, ends[-1]), dtype=np.uint8)
        starts = [0, *ends[:-1]]
        whole[starts[self.rank] : ends[self.rank]] = np.frombuffer(mine, dtype=np.uint8)
        joined = self.join_bytes(whole).tobytes()
        return [joined[start:end] for start, end in zip(starts, ends, strict=True)]

    def check_same(self, **things: object) -> None:
        """Checks that all processes have the same settings. It is also a barrier.

        Args:
            things: Values that must be equal on all processes, by name; compared as text.

        Raises:
            SetupError: A value differs; the message names it.
        """
        for name, thing in things.items() if self.size > 1 else ():
            digest = np.frombuffer(hashlib.sha256(repr(thing).encode()).digest(), dtype=np.uint8)
            table = np.zeros((self.size, len(digest)), dtype=np.uint8)
            table[self.rank] = digest
            if len(np.unique(self.join_bytes(table), axis=0)) > 1:
                raise SetupError(
                    f"the run's processes do not agree on `{name}`: in process {self.rank} it is {thing}", "LR-E114"
                )

    def _all_sum(self, tensor: mx.array) -> mx.array:
        try:
            summed: mx.array = mx.distributed.all_sum(tensor)
            evaluate([summed])
        except RuntimeError as error:  # what the ring raises when a connection breaks
            raise PeerLost(
                "another process of this run ended; the saved files are complete: run the same command, with any number of "
                "processes, to continue from the newest checkpoint",
                "LR-E240",
            ) from error
        return summed


SINGLE = ProcessGroup()
"""A run of one process."""


def is_launched() -> bool:
    """Whether a launcher started this process as one of a group."""
    return any(name in os.environ for name in _LAUNCHED)


@functools.cache
def init() -> ProcessGroup:
    """The process group of this process; the first call connects to the other processes.

    Raises:
        SetupError: The connection failed.
    """
    if not is_launched():
        return ProcessGroup()
    rank = next(os.environ[name] for name in _LAUNCHED if name in os.environ)
    say(f"rank {rank}: joining the other processes of the run; gives up after {JOIN_WITHIN_S} s")
    signal.alarm(JOIN_WITHIN_S)  # its default ends the process: the backend waits without letting Python run
    try:
        group: Any = mx.distributed.init()
    except RuntimeError as error:
        raise SetupError(
            f"rank {rank} cannot join the run's processes ({error}); one process alone needs no launcher", "LR-E115"
        ) from error
    finally:
        signal.alarm(0)
    return ProcessGroup(group.rank(), group.size())
