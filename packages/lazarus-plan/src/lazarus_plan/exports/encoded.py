"""Files of `lazarus-tokenkit encode`, as samples of a plan."""

import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from lazarus_plan.exports.steps import PlanRefused, PlanSteps

ENCODED_VERSION = 1
"""Newest version of the files that is read."""


class EncodedSamples(Sequence[Mapping[str, Any]]):
    """The samples of files that `lazarus-tokenkit encode` wrote; sample i is that of the plan.

    No file stays open, and none is read whole but Parquet: copies in worker processes cost little.

    Args:
        paths: One file (`.jsonl` or `.parquet`) for each data source of the plan, in their order.
        plan: The steps.

    Raises:
        PlanRefused: A file is of other data, another template, tokenizer or encoding than the plan; the message names the
            component (LP-E192).
    """

    def __init__(self, paths: str | Sequence[str], plan: PlanSteps) -> None:
        self.paths = [paths] if isinstance(paths, str) else list(paths)
        sources = plan.metadata["sources"]
        if len(self.paths) != len(sources):
            raise PlanRefused(
                "LP-E192",
                f"{len(self.paths)} encoded file(s) for {len(sources)} data source(s) of the plan: give one each",
            )
        self.counts = [source["count"] for source in sources]
        for number, path in enumerate(self.paths):
            _check_header(path, _header(path), plan, number)
        for path, count, offsets in zip(self.paths, self.counts, self._offsets, strict=True):
            if offsets is not None and len(offsets) != count:
                raise PlanRefused(
                    "LP-E192", f"{path} has {len(offsets)} samples, its header says {count}: encode again"
                )

    def __len__(self) -> int:
        return sum(self.counts)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return map(self.__getitem__, range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_offsets", "_tables")}

    def __getitem__(self, index: Any) -> Any:  # a slice gives a list
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        number = operator.index(index)
        number += len(self) if number < 0 else 0
        if number < 0:
            raise IndexError(index)
        for source, count in enumerate(self.counts):
            if number < count:
                return self._row(source, number)
            number -= count
        raise IndexError(index)

    def _row(self, source: int, number: int) -> dict[str, Any]:
        offsets, table = self._offsets[source], self._tables[source]
        if table is not None:
            return {name: table[name][number].as_py() for name in table.column_names if name != "row"}
        assert offsets is not None
        with Path(self.paths[source]).open("rb") as lines:
            lines.seek(offsets[number])
            row = json.loads(lines.readline())
        return {name: value for name, value in row.items() if name != "row"}

    @cached_property
    def _offsets(self) -> list[list[int] | None]:
        """Where the rows of each file of JSON Lines begin."""
        return [None if _is_parquet(path) else _line_offsets(path) for path in self.paths]

    @cached_property
    def _tables(self) -> list[Any]:
        return [_parquet_table(path) if _is_parquet(path) else None for path in self.paths]


def _is_parquet(path: str) -> bool:
    return path.endswith(".parquet")


def _line_offsets(path: str) -> list[int]:
    with Path(path).open("rb") as lines:
        at, offsets = len(lines.readline()), list[int]()
        for line in lines:
            offsets.append(at)
            at += len(line)
    return offsets


def _parquet_table(path: str) -> Any:
    return import_module("pyarrow.parquet").read_table(path)  # needed only where such a file is given


def _header(path: str) -> dict[str, Any]:
    """The header of an encoded file.

    Raises:
        PlanRefused: There is none.
    """
    if not Path(path).is_file():
        raise PlanRefused("LP-E192", f"{path} does not exist: `lazarus-tokenkit encode` writes it")
    if _is_parquet(path):
        schema: Any = import_module("pyarrow.parquet").read_schema(path)
        metadata: dict[bytes, bytes] = schema.metadata or {}
        line = metadata.get(b"lazarus", b"")
    else:
        with Path(path).open("rb") as lines:
            line = lines.readline()
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or "lazarus_encoded" not in header:
        raise PlanRefused("LP-E192", f"{path} has no header (`lazarus_encoded`): `lazarus-tokenkit encode` writes one")
    members = cast("dict[str, Any]", header)
    if members["lazarus_encoded"] != ENCODED_VERSION:
        raise PlanRefused(
            "LP-E192",
            f"{path} has format {members['lazarus_encoded']}, this file reads {ENCODED_VERSION}: export the loader again",
        )
    return members


def _check_header(path: str, header: Mapping[str, Any], plan: PlanSteps, source: int) -> None:
    """Compares the fingerprints of an encoded file with those of a data source of the plan.

    A component that the plan does not know (`absent`) is not compared.
    """
    prints = plan.fingerprints
    expected = {name: prints[name]["sources"][source] for name in ("data", "template", "tokenizer")}
    expected["encoding"] = prints["lengths"]["parts"][source].get("encoding", {})
    expected["count"] = plan.metadata["sources"][source]["count"]
    is_known = expected["tokenizer"] != "absent"
    for name, value in expected.items():
        if value == "absent" or (name == "encoding" and not is_known) or header.get(name) == value:
            continue
        raise PlanRefused(
            "LP-E192",
            f"{path}: `{name}` is {_shown(header.get(name))}, the plan has {_shown(value)}: encode the plan's data with its "
            "tokenizer and template",
        )


def _shown(value: object) -> str:
    text = value.removeprefix("sha256:")[:16] if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:120]}..."
