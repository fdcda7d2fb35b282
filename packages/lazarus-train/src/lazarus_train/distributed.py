"""The processes of one run: started by `mlx.launch` or MPI, they share the work of every step.

R = number of processes. A run of one process is rank 0 of 1 and sends nothing.
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
"""Seconds to wait for the other processes; the backend itself would wait for ever."""
_WORD = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32, 8: mx.uint64}
"""Whole numbers of so many bytes."""
_LAUNCHED = ("MLX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Variables by which a launcher tells a process its rank."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run, as one of them sees them.

    Args:
        rank: Of this process, from 0.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes what the run writes, and speaks for it."""
        return self.rank == 0

    def sum(self, tensors: Mapping[str, mx.array]) -> dict[str, mx.array]:
        """Sums of arrays that every process has by the same names; the same bits on all of them.

        Arrays travel end to end in one message a type, in the order of their names.

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
        """Arrays of which every process has some, as all of them everywhere, to the bit.

        Args:
            mine: What this process has; no two processes have the same.
            like: Shape and type of all, by name, the same everywhere; their values are not computed.
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
        """Sums of a few numbers, in single precision."""
        if self.size == 1:
            return numbers
        return tuple(np.array(self._all_sum(mx.array(numbers, dtype=mx.float32))).tolist())

    def any(self, mine: bool) -> bool:
        """Whether it is so on any process."""
        return mine if self.size == 1 else self.sum_numbers(float(mine))[0] > 0

    def join_bytes(self, mine: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Arrays of the same shape in which every process filled other places, and zero elsewhere, as one."""
        return mine if self.size == 1 else np.array(self._all_sum(mx.array(mine)), dtype=np.uint8)

    def check_same(self, **things: object) -> None:
        """Makes sure that all processes mean the same run; none goes on before all came here.

        Args:
            things: What must be equal everywhere, by name; compared by their text.

        Raises:
            SetupError: Something differs; names it.
        """
        for name, thing in things.items() if self.size > 1 else ():
            digest = np.frombuffer(hashlib.sha256(repr(thing).encode()).digest(), dtype=np.uint8)
            table = np.zeros((self.size, len(digest)), dtype=np.uint8)
            table[self.rank] = digest
            if len(np.unique(self.join_bytes(table), axis=0)) > 1:
                raise SetupError(f"the run's processes do not agree on `{name}`: here it is {thing}", "LR-E114")

    def _all_sum(self, tensor: mx.array) -> mx.array:
        try:
            summed: mx.array = mx.distributed.all_sum(tensor)
            evaluate([summed])
        except RuntimeError as error:  # what the ring raises when a connection breaks
            raise PeerLost(
                "another process of this run ended; what was saved is whole: the same command goes on from the newest "
                "checkpoint, with any number of processes",
                "LR-E240",
            ) from error
        return summed


SINGLE = ProcessGroup()
"""A run of one process."""


@functools.cache
def init() -> ProcessGroup:
    """The processes this one was launched with; joins them at the first call.

    Raises:
        SetupError: They cannot be joined.
    """
    if not any(name in os.environ for name in _LAUNCHED):
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
