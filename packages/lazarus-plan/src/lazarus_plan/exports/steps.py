"""The steps of a batch plan, from its files alone."""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast


class PlanRefused(ValueError):
    """The plan, the data, a setting or the order of batches does not fit.

    Args:
        code: Stable code; the table in FORMAT.md of lazarus-plan explains it.
        problem: What is wrong and how to mend it.
    """

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(code, problem)
        self.code, self.problem = code, problem

    def __str__(self) -> str:
        return f"{self.code}: {self.problem}"


class Place(NamedTuple):
    """Where one sample lies in a share of a step.

    Args:
        sample: Number of the sample in the data, from 0.
        row: Row of the share, from 0.
        start: First token in the row.
        end: One past its last token in the row.
        first: Which token of the sample comes first: above 0 for a later piece of a sample that was cut.
        is_whole: Whether all tokens of the sample lie here.
    """

    sample: int
    row: int
    start: int
    end: int
    first: int
    is_whole: bool


class Share(NamedTuple):
    """The rows of one step that one process computes at once.

    Args:
        step: Number of the step, from 0.
        row_len: Tokens a row.
        rows: Number of each row in the whole step; empty where this process has none.
        places: The samples in these rows.
    """

    step: int
    row_len: int
    rows: tuple[int, ...]
    places: tuple[Place, ...]


class PlanSteps:
    """The steps of a plan for one process of any number.

    Rows are dealt to processes back and forth (the plan's rule "snake"); together they are always the same step. The rows
    of a process are cut into `micro_batches` shares, for trainers that accumulate gradients. Element i is share
    `i % micro_batches` of step `i // micro_batches`. Every process has the same number of shares; some may be empty.

    Args:
        path: Folder of the plan.
        rank: Number of this process, from 0.
        world_size: Number of processes.
        micro_batches: Shares a step, at least 1.
        expect: The plan_id that was pinned, or its first 16 or more digits; None skips the comparison.

    Raises:
        PlanRefused: The files are damaged (LP-E196), or the plan is not the expected one.
    """

    def __init__(
        self, path: str, rank: int = 0, world_size: int = 1, micro_batches: int = 1, expect: str | None = None
    ) -> None:
        if not 0 <= rank < world_size or micro_batches < 1:
            raise PlanRefused(
                "LP-E194", f"rank {rank} of world_size {world_size} with micro_batches {micro_batches}: out of range"
            )
        self.path, self.rank, self.world_size, self.micro_batches = path, rank, world_size, micro_batches
        self.metadata = _document(path, "metadata.json")
        self.fingerprints = _document(path, "fingerprints.json")
        self.config: dict[str, Any] = self.metadata["config"]
        self.plan_id: str = self.fingerprints["plan_id"]
        self._check(expect)

    def __len__(self) -> int:
        return len(self.lines) * self.micro_batches

    def __iter__(self) -> Iterator[Share]:
        return map(self.share, range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        # A worker process reads the lines again: a plan of a million steps would travel to each of them.
        left_out = ("lines", "prefixes", "positions", "_numbers")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines of `plan.jsonl`, one a step, without line feeds."""
        return _content(self.path, "plan.jsonl").splitlines()

    @cached_property
    def prefixes(self) -> bytes | None:
        """`plan.rows`: of each sample 4 bytes of its row's digest and 4 of its tokens'; None where there is no such file."""
        return _content(self.path, "plan.rows") if (Path(self.path) / "plan.rows").is_file() else None

    @cached_property
    def positions(self) -> list[int] | None:
        """Position in the data of each sample number of the plan; None where they are the same.

        A plan that was rebased with rows appended to a source before the last one lists the ranges of its numbers.
        """
        ranges: list[list[int]] | None = self.metadata.get("numbering")
        if ranges is None:
            return None
        counts: list[int] = [source["count"] for source in self.metadata["sources"]]
        following = [sum(counts[:source]) for source in range(len(counts))]
        positions: list[int] = []
        for source, count in ranges:
            positions += range(following[source], following[source] + count)
            following[source] += count
        return positions

    @cached_property
    def _numbers(self) -> list[int] | None:
        """Sample number of each position in the data; None where they are the same."""
        positions = self.positions
        return None if positions is None else sorted(range(len(positions)), key=positions.__getitem__)

    @property
    def steps(self) -> int:
        """Steps of the plan."""
        return len(self.lines)

    @property
    def samples(self) -> int:
        """Samples that the plan was built from, whether it uses them or not."""
        return sum(source["count"] for source in self.metadata["sources"])

    def share(self, index: int) -> Share:
        """What this process computes at once.

        Args:
            index: `step * micro_batches + number of the share`.
        """
        step, part = divmod(index, self.micro_batches)
        line = json.loads(self.lines[step])
        row_len = line.get("row_len", self.config["row_len"])
        spans = line.get("spans")
        rows = sorted({start // row_len for start, _ in line["packing"]})
        lap = [*range(self.world_size), *reversed(range(self.world_size))]
        mine = [place for place in range(len(rows)) if lap[place % len(lap)] == self.rank]
        most = -(-len(rows) // self.world_size)  # rows of the process that has most of them
        size = -(-most // self.micro_batches)
        mine = mine[part * size : (part + 1) * size]
        number = {rows[row]: place for place, row in enumerate(mine)}
        places: list[Place] = []
        samples: list[int] = line["samples"]
        for at, (sample, (start, end)) in enumerate(zip(samples, line["packing"], strict=True)):
            row = start // row_len
            if row in number:
                first, last = spans[at] if spans else (0, 0)
                is_whole = first == 0 and last < self.config["row_len"]
                place = sample if self.positions is None else self.positions[sample]
                places.append(Place(place, number[row], start - row * row_len, end - row * row_len, first, is_whole))
        return Share(step, row_len, tuple(mine), tuple(places))

    def rows_of(self, step: int) -> int:
        """Rows of a whole step, over all processes."""
        line = json.loads(self.lines[step])
        row_len = line.get("row_len", self.config["row_len"])
        return len({start // row_len for start, _ in line["packing"]})

    def check_sample(self, sample: int, ids: Iterable[int]) -> None:
        """Refuses a sample with other tokens than the plan's, where `plan.rows` has their digests.

        Args:
            sample: Its position in the data.
            ids: All of its token ids.

        Raises:
            PlanRefused: LP-E193.
        """
        if self.prefixes is None:
            return
        number = sample if self._numbers is None else self._numbers[sample]
        expected = struct.unpack_from("<I", self.prefixes, 8 * number + 4)[0]
        if hashlib.sha256(packed(ids)).hexdigest()[:8] != f"{expected:08x}":
            raise PlanRefused(
                "LP-E193",
                f"sample {sample} has other tokens than the plan was built from: encode the data as the length cache did",
            )

    def check_count(self, count: int) -> None:
        """Refuses data with another number of samples than the plan's.

        Args:
            count: Samples of the data.

        Raises:
            PlanRefused: LP-E193.
        """
        if count != self.samples:
            raise PlanRefused(
                "LP-E193",
                f"the data have {count} samples, the plan was built from {self.samples}: give all of them in their order",
            )

    @property
    def identity(self) -> dict[str, Any]:
        """The object whose digest is `plan_id` (FORMAT.md)."""
        prints, lengths = self.fingerprints, self.fingerprints["lengths"]
        about = lengths["parts"]
        identity: dict[str, Any] = {
            "plan_format_version": self.metadata["plan_format_version"],
            "config": self.config,
            **{link: prints[link]["sources"] for link in ("data", "template", "tokenizer", "lengths")},
            "encoding": [digest_of(canonical(parts.get("encoding", {}))) for parts in about],
            "files": [[file["sha256"] for file in parts.get("files", [])] for parts in prints["data"]["parts"]],
            "rows": [parts.get("rows", "absent") for parts in about],
            "counts": [source["count"] for source in self.metadata["sources"]],
            "merkle_root": prints["merkle_root"],
            "steps": len(self.lines),
        }
        rebased = {name: self.metadata[name] for name in ("parent", "numbering") if name in self.metadata}
        return identity | rebased

    def _check(self, expect: str | None) -> None:
        """Compares lines, documents and `plan.rows` with `plan_id`, and `plan_id` with the expected one."""
        try:
            is_whole = (
                self.fingerprints["merkle_root"] == merkle_root(map(leaf_hash, self.lines)).hex()
                and self.plan_id == digest_of(canonical(self.identity))
                and self._has_its_prefixes()
            )
        except (KeyError, TypeError, AttributeError):
            is_whole = False
        if not is_whole:
            raise PlanRefused(
                "LP-E196", f"{self.path} is damaged or was edited: run `lazarus-plan validate -p {self.path}`"
            )
        wanted = (expect or "").removeprefix("sha256:")
        if expect is not None and (len(wanted) < 16 or not self.plan_id.removeprefix("sha256:").startswith(wanted)):
            raise PlanRefused("LP-E196", f"{self.path} is plan {self.plan_id}, not the expected {expect}")

    def _has_its_prefixes(self) -> bool:
        if self.prefixes is None:
            return True
        sources, about = self.metadata["sources"], self.fingerprints["lengths"]["parts"]
        ranges = self.metadata.get("numbering") or list(enumerate(source["count"] for source in sources))
        content, first = [b""] * len(sources), 0
        for source, count in ranges:
            content[source] += self.prefixes[8 * first : 8 * (first + count)]
            first += count
        return all(parts.get("rows") == digest_of(rows) for rows, parts in zip(content, about, strict=True))


def packed(numbers: Iterable[int]) -> bytes:
    """Numbers as unsigned integers of 32 bits, little-endian."""
    listed = list(numbers)
    return struct.pack(f"<{len(listed)}I", *listed)


def canonical(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON (RFC 8785): members sorted, no spaces, UTF-8."""
    return json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":")).encode()


def digest_of(content: bytes) -> str:
    """SHA-256 in the form of the plan's files."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of a leaf of a Merkle tree (RFC 6962): SHA-256(0x00 || leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def merkle_root(hashes: Iterable[bytes]) -> bytes:
    """Root of a Merkle tree (RFC 6962) over the hashes of its leaves."""
    complete: list[bytes] = []  # roots of the complete subtrees so far, the widest first
    for size, node in enumerate(hashes):
        while size & 1:
            node = hashlib.sha256(b"\x01" + complete.pop() + node).digest()
            size >>= 1
        complete.append(node)
    if not complete:
        return hashlib.sha256(b"").digest()
    root = complete.pop()
    while complete:
        root = hashlib.sha256(b"\x01" + complete.pop() + root).digest()
    return root


def _sorted(value: Any) -> Any:
    """A JSON value with the members of every object in the order of UTF-16."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {name: _sorted(members[name]) for name in sorted(members, key=lambda name: name.encode("utf-16-be"))}
    if isinstance(value, list):
        return [_sorted(element) for element in cast("list[Any]", value)]
    return value


def _content(path: str, name: str) -> bytes:
    file = Path(path) / name
    if not file.is_file():
        raise PlanRefused("LP-E196", f"{file} does not exist: give the folder that `lazarus-plan build` wrote")
    return file.read_bytes()


def _document(path: str, name: str) -> dict[str, Any]:
    try:
        document = json.loads(_content(path, name))
    except ValueError as error:
        if isinstance(error, PlanRefused):
            raise
        raise PlanRefused("LP-E196", f"{Path(path) / name} is no JSON: build the plan again") from error
    if not isinstance(document, dict):
        raise PlanRefused("LP-E196", f"{Path(path) / name} is no JSON object: build the plan again")
    return cast("dict[str, Any]", document)
