"""A bounded buffer of samples to draw from: uniformly, by priority, or by how much a group of tasks teaches.

- *uniform*: each sample is equally likely.
- *prioritized*: a sample is drawn in proportion to priority ** alpha, and weighted by (size * probability) ** -beta, divided by
  the largest weight (prioritised replay, arXiv 1511.05952). A new sample has the largest priority so far.
- *curriculum*: a group is drawn in proportion to the probability that `group_size` attempts are neither all solved nor all
  failed, 1 - p**G - (1 - p)**G for its success rate p; then a sample of it uniformly. A floor keeps every group reachable.

A full buffer replaces its oldest sample. Draws are with replacement. They come from the raw bits of PCG64, whose stream NumPy
does not change, so a seed gives the same draws in every version.

A million samples of 64 tokens take 0.46 GB: 4.1 bytes a token, and about 190 bytes a sample.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lazarus_gym.errors import ReplayError
from lazarus_gym.replay.sample import SampleSource, StreamSample
from lazarus_gym.replay.sum_tree import Floats, Ints, SumTree

SOURCES = tuple(SampleSource)


class ReplayBufferConfig(BaseModel):
    """Settings of a buffer."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_size: int = Field(default=10_000, ge=1, le=100_000_000)
    """Samples at most."""
    sampling: Literal["uniform", "prioritized", "curriculum"] = "uniform"
    seed: int = Field(default=0, ge=0, lt=2**64)
    alpha: float = Field(default=0.6, ge=0, le=4)
    """Exponent of priorities; 0 draws uniformly."""
    beta: float = Field(default=0.4, ge=0, le=1)
    """Exponent of the weights that correct for unequal draws; 1 corrects fully."""
    epsilon: float = Field(default=1e-6, gt=0)
    """Added to priorities, so that none is 0."""
    group_size: int = Field(default=8, ge=2, le=1024)
    """Attempts at one task that are compared with each other."""
    floor: float = Field(default=0.05, gt=0, le=1)
    """Smallest weight of a group, of 1."""


class Drawn(NamedTuple):
    """Samples that were drawn.

    Args:
        ids: Their numbers, for `update_priorities`.
        samples: The samples.
        weights: Weights of their losses, at most 1.
    """

    ids: Ints
    samples: list[StreamSample]
    weights: Floats


@dataclass
class Group:
    """Success of a task.

    Args:
        solved: Attempts that were solved.
        attempts: All attempts with a known outcome.
        slots: Places of the group's samples.
    """

    solved: int = 0
    attempts: int = 0
    slots: list[int] = field(default_factory=list[int])

    @property
    def success_rate(self) -> float:
        """Estimated probability of success; 0.5 before the first attempt (Laplace)."""
        return (self.solved + 1) / (self.attempts + 2)


class ReplayBuffer:
    """A bounded, seeded buffer.

    Args:
        config: Settings; None for the defaults.
    """

    def __init__(self, config: ReplayBufferConfig | None = None) -> None:
        self.config = config or ReplayBufferConfig()
        self.bits = np.random.PCG64(self.config.seed)
        self.num_added = 0
        """Samples that were ever added; the id of the next one."""
        self.groups: dict[str, Group] = {}
        self._largest = 1.0
        self._contents: list[bytes] = []
        self._difficulty: NDArray[np.float32] = np.empty(0, np.float32)
        self._facts: list[tuple[int, str, bool | None]] = []
        self._places: list[int] = []  # place of each slot in the list of its group
        self._tree = SumTree(self.config.max_size) if self.config.sampling == "prioritized" else None

    def __len__(self) -> int:
        return len(self._contents)

    def add(self, sample: StreamSample, priority: float | None = None) -> int:
        """Adds a sample and returns its id; a full buffer replaces its oldest one.

        Args:
            sample: The sample.
            priority: Its priority; None for the largest so far.

        Raises:
            ReplayError: The priority is negative, infinite or no number (LG-E160).
        """
        number = self.num_added
        slot = number % self.config.max_size
        if priority is not None:
            _check_priorities(np.array([priority], np.float64))
        content = _packed(sample)
        facts = (SOURCES.index(sample.source), sample.group, sample.success)
        if slot < len(self._contents):
            self._leave_group(slot)
            self._contents[slot], self._facts[slot] = content, facts
        else:
            self._contents.append(content)
            self._facts.append(facts)
            self._places.append(0)
            if slot >= len(self._difficulty):
                size = min(self.config.max_size, max(1024, 2 * len(self._difficulty)))
                self._difficulty = np.concatenate(
                    [self._difficulty, np.full(size - len(self._difficulty), np.nan, np.float32)]
                )
        self._difficulty[slot] = np.nan if sample.difficulty is None else sample.difficulty
        self._join_group(slot, sample.group)
        if sample.success is not None:
            self._count(sample.group, success=sample.success)
        if self._tree is not None:
            self._largest = max(self._largest, priority or 0.0)
            chosen = self._largest if priority is None else priority
            self._tree.set_one(slot, float((chosen + self.config.epsilon) ** self.config.alpha))
        self.num_added += 1
        return number

    def sample(self, count: int) -> Drawn:
        """Draws samples, with replacement.

        Args:
            count: Number of draws, at least 1.

        Raises:
            ReplayError: The buffer is empty, or `count` is below 1 (LG-E161).
        """
        slots, weights = self.draw(count)
        return Drawn(self._ids(slots), [self._unpacked(int(slot)) for slot in slots], weights)

    def draw(self, count: int) -> tuple[Ints, Floats]:
        """Draws slots and weights alone, for callers that keep the samples themselves.

        Args:
            count: Number of draws, at least 1.

        Raises:
            ReplayError: The buffer is empty, or `count` is below 1 (LG-E161).
        """
        if count < 1 or not self._contents:
            raise ReplayError(
                f"cannot draw {count} from a buffer of {len(self)}: add samples first, and draw at least 1", "LG-E161"
            )
        ones = np.ones(count)
        if self._tree is not None:
            slots = self._tree.find(self._fractions(count))
            weights = (self._tree.weights(slots) * (len(self) / self._tree.total)) ** -self.config.beta
            return slots, weights / weights.max()
        if self.config.sampling == "curriculum":
            return self._by_group(count), ones
        return (self._fractions(count) * len(self)).astype(np.int64), ones

    def update_priorities(self, ids: Ints, priorities: Floats) -> None:
        """Changes the priorities of samples, such as to the sizes of their errors. Ids of replaced samples are skipped.

        Args:
            ids: Ids of `add` or `sample`.
            priorities: New priorities, at least 0.

        Raises:
            ReplayError: A priority is negative, infinite or no number (LG-E160), or the buffer has none (LG-E162).
        """
        if self._tree is None:
            raise ReplayError("`update_priorities` needs a buffer with `sampling` prioritized", "LG-E162")
        numbers, values = np.asarray(ids, np.int64), np.asarray(priorities, np.float64)
        _check_priorities(values)
        present = (numbers >= self.num_added - len(self)) & (numbers < self.num_added)
        if present.any():
            self._largest = max(self._largest, float(values[present].max()))
            self._weigh(numbers[present] % self.config.max_size, values[present])

    def record(self, group: str, *, success: bool) -> None:
        """Counts an attempt at a task whose trace is not kept.

        Args:
            group: The task.
            success: Whether it was solved.
        """
        self._count(group, success=success)

    def success_rates(self) -> dict[str, float]:
        """Estimated success rate of every group."""
        return {name: group.success_rate for name, group in sorted(self.groups.items())}

    def signals(self) -> dict[str, float]:
        """By group, the probability that `group_size` attempts are neither all solved nor all failed."""
        size = self.config.group_size
        return {name: 1 - p**size - (1 - p) ** size for name, p in self.success_rates().items()}

    def difficulties(self) -> NDArray[np.float32]:
        """Difficulty of every sample, in the order of slots; not a number where it is not known."""
        return self._difficulty[: len(self)].copy()

    def _fractions(self, count: int) -> Floats:
        """Uniform numbers of [0, 1) with 53 bits."""
        raw: NDArray[np.uint64] = self.bits.random_raw(count)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def _by_group(self, count: int) -> Ints:
        names = [name for name, group in sorted(self.groups.items()) if group.slots]
        signals = self.signals()
        weights: Floats = np.cumsum(np.array([max(self.config.floor, signals[name]) for name in names]))
        places: Floats = self._fractions(count) * weights[-1]
        chosen: list[int] = np.searchsorted(weights, places, side="right").tolist()
        within = self._fractions(count)
        slots = [self.groups[names[min(index, len(names) - 1)]].slots for index in chosen]
        return np.array([of[int(part * len(of))] for of, part in zip(slots, within, strict=True)], np.int64)

    def _weigh(self, slots: Ints, priorities: Floats) -> None:
        assert self._tree is not None
        self._tree.set(slots, (priorities + self.config.epsilon) ** self.config.alpha)

    def _ids(self, slots: Ints) -> Ints:
        """Ids of the samples in slots: the newest of each."""
        last = self.num_added - 1
        return last - (last - slots) % self.config.max_size

    def _count(self, name: str, *, success: bool) -> None:
        group = self.groups.setdefault(name, Group())
        group.attempts += 1
        group.solved += success

    def _join_group(self, slot: int, name: str) -> None:
        slots = self.groups.setdefault(name, Group()).slots
        self._places[slot] = len(slots)
        slots.append(slot)

    def _leave_group(self, slot: int) -> None:
        slots = self.groups[self._facts[slot][1]].slots
        place, last = self._places[slot], slots.pop()
        if last != slot:
            slots[place] = last
            self._places[last] = place

    def _unpacked(self, slot: int) -> StreamSample:
        source, group, success = self._facts[slot]
        ids, mask = unpack(self._contents[slot])
        difficulty = float(self._difficulty[slot])
        return StreamSample.model_construct(
            input_ids=ids,
            loss_mask=mask,
            source=SOURCES[source],
            difficulty=None if difficulty != difficulty else difficulty,
            group=group,
            success=success,
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps apart from the contents of samples, as JSON values and arrays."""
        slots = np.arange(len(self))
        return {
            "num_added": self.num_added,
            "largest": self._largest,
            "bits": self.bits.state["state"],
            "groups": {
                name: [group.solved, group.attempts, group.slots] for name, group in sorted(self.groups.items())
            },
            "facts": [list(each) for each in self._facts],
            "difficulty": self.difficulties(),
            "tree": None if self._tree is None else self._tree.weights(slots),
            "contents": list(self._contents),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes a state of `state`, of a buffer with the same settings.

        Args:
            state: The state, checked by the caller.
        """
        self.num_added, self._largest = state["num_added"], state["largest"]
        whole = self.bits.state
        whole["state"] = state["bits"]
        self.bits.state = whole
        self._contents = state["contents"]
        self._facts = [(source, group, success) for source, group, success in state["facts"]]
        self._difficulty = state["difficulty"]
        self._places = [0] * len(self._contents)
        self.groups = {name: Group(solved, tried, slots) for name, (solved, tried, slots) in state["groups"].items()}
        for group in self.groups.values():
            for place, slot in enumerate(group.slots):
                self._places[slot] = place
        if self._tree is not None and len(self):
            self._tree.set(np.arange(len(self)), state["tree"])


def _check_priorities(priorities: Floats) -> None:
    if not bool(np.all(np.isfinite(priorities) & (priorities >= 0))):
        raise ReplayError("a priority is negative, infinite or no number: give numbers of at least 0", "LG-E160")


def _packed(sample: StreamSample) -> bytes:
    """Token ids as 32-bit numbers, then the mask as bits; without a mask, the ids alone and a last byte 0."""
    ids = np.array(sample.input_ids, "<i4").tobytes()
    if not sample.loss_mask:
        return ids + b"\0"
    return ids + np.packbits(np.array(sample.loss_mask, np.uint8)).tobytes() + b"\1"


def unpack(content: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Token ids and loss mask of a packed sample.

    Raises:
        ValueError: The content is none.
    """
    if content[-1:] == b"\0":
        return tuple(np.frombuffer(content, "<i4", (len(content) - 1) // 4).tolist()), ()
    count = (len(content) - 1) * 8 // 33
    while 4 * count + (count + 7) // 8 + 1 > len(content):
        count -= 1
    while 4 * count + (count + 7) // 8 + 1 < len(content):
        count += 1
    ids = np.frombuffer(content, "<i4", count)
    bits = np.frombuffer(content, np.uint8, offset=4 * count)[:-1]
    return tuple(ids.tolist()), tuple(np.unpackbits(bits, count=count).tolist())
