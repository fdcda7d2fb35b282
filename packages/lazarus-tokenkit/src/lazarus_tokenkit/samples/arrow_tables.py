"""Rows of Parquet files, saved data sets and data sets of the hub: all are Arrow tables."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from lazarus_core.bounded import open_file
from lazarus_core.errors import InputError
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.placed_row import JSON, PlacedRow, bounded_row, out_of_bounds, refuse_repeated_names

HUB = "hf:"
"""Prefix of a data set on the hub: `hf:owner/name`, `hf:owner/name:config`, `hf:owner/name:config:split`."""
PARQUET_ROWS = 100
"""Rows decoded at a time. With dictionary encoding, one text of `MAX_ROW_BYTES` can occur in all of them."""


def parquet_rows(path: Path) -> Iterator[PlacedRow]:
    """Yields the rows of a Parquet file."""
    parquet = optional_module("pyarrow.parquet", "parquet", str(path))
    arrow_error = optional_module("pyarrow", "parquet", str(path)).ArrowException
    number = 0
    try:
        open_file(path).close()  # refuses anything but a regular file
        file = parquet.ParquetFile(path)
        refuse_repeated_names(file.schema_arrow.names, path)
        for batch in file.iter_batches(batch_size=PARQUET_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield PlacedRow(_arrow_row(row, f"{path}:{number}"), path, number)
    except InputError as error:
        raise out_of_bounds(error) from error
    except OverflowError as error:
        raise SampleError(
            f"{path}: after row {number}: {error}; remove the column with that date", "LT-E308"
        ) from error
    except (arrow_error, ArithmeticError, LookupError, MemoryError, OSError, TypeError, ValueError) as error:
        raise SampleError(f"{path} is not Parquet: {_one_line(error)}", "LT-E308") from error


def _arrow_row(row: Mapping[str, Any], place: str) -> JSON:
    """Removes the null members that Arrow added to a row.

    All structs of a column share one type, and Arrow fills absent members with null. With `{"day": 3}` in another row,
    a call `{"city": "Bern"}` is stored as `{"city": "Bern", "day": null}`.
    """
    return {name: _without_null(value) for name, value in bounded_row(row, place).items()}


def _without_null(value: Any) -> Any:
    match value:
        case dict():
            members = cast("JSON", value)
            return {name: _without_null(member) for name, member in members.items() if member is not None}
        case list():
            return [_without_null(element) for element in cast("list[Any]", value)]
        case _:
            return value


def saved_rows(path: Path) -> Iterator[PlacedRow]:
    """Yields the rows of a data set that `save_to_disk` wrote."""
    datasets = optional_module("datasets", "datasets", str(path))
    try:
        dataset = datasets.load_from_disk(str(path))
        if hasattr(dataset, "keys"):
            split, *others = dataset
            if others:
                raise SampleError(
                    f"{path} has the splits {', '.join(dataset)}: give one, such as {path / split}", "LT-E302"
                )
            dataset = dataset[split]
        for number, row in enumerate(dataset, 1):
            yield PlacedRow(_arrow_row(row, f"{path}:{number}"), path, number)
    except (
        AttributeError,
        MemoryError,
        ArithmeticError,
        LookupError,
        OSError,
        TypeError,
        ValueError,
    ) as error:  # the folder is incomplete
        raise SampleError(
            f"{path} is not a complete saved data set: {_one_line(error)}; save it again", "LT-E308"
        ) from error


def hub_rows(path: Path) -> Iterator[PlacedRow]:
    """Yields the rows of a data set of the hub, named as `HUB` says."""
    name, *rest = path.as_posix().removeprefix(HUB).split(":")
    config = rest[0] if rest and rest[0] else None
    split = rest[1] if len(rest) > 1 else "train"
    try:
        datasets = optional_module("datasets", "datasets", name)
        # The hub is streamed. With `HF_HUB_OFFLINE=1` the rows are those of the local cache, which is not streamed.
        is_streamed = not datasets.config.HF_HUB_OFFLINE
        dataset = datasets.load_dataset(name, config, split=split, streaming=is_streamed)
        for number, row in enumerate(dataset, 1):
            yield PlacedRow(_arrow_row(row, f"{name}:{number}"), path, number)
    except (OSError, ValueError) as error:
        raise SampleError(f"data set `{name}`: {_one_line(error)}", "LT-E309") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def optional_module(name: str, extra: str, what: str) -> Any:
    """Imports a module of an optional dependency.

    Args:
        name: Name of the module.
        extra: Name of the extra that installs it.
        what: The data that needs it, for the message.

    Raises:
        SampleError: The module is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise SampleError(f"{what}: to read it, install lazarus-tokenkit[{extra}]", "LT-E309") from error
