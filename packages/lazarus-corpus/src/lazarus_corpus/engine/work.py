"""The work folder of a build: what the tasks of a stage hand to the next one.

```
spec.json                settings and input files; a folder of another spec or version is not used
ingest/00000/            one task: documents.jsonl, index.bin, removed.jsonl, report.json
decide/                  order.bin, removed.jsonl, shards.json, report.json
write/00000.jsonl.gz     one shard
```

A task writes a folder or file under a temporary name and renames it at its end, so what exists is whole.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lazarus_core.atomic import whole_folder
from lazarus_corpus._version import __version__
from lazarus_corpus.documents import Removal, stable_json
from lazarus_corpus.errors import OutputError
from lazarus_corpus.settings import CorpusSettings

SPEC = "spec.json"


class Spec(NamedTuple):
    """What a build does.

    Args:
        settings: The settings.
        files: For each task of the first stage its files, as (number of the source, path).
        output: The folder of the corpus; None for an analysis, which writes no shards.
    """

    settings: CorpusSettings
    files: tuple[tuple[tuple[int, str], ...], ...]
    output: str | None


def index_type(bands: int) -> np.dtype[Any]:
    """The record of a kept document in `index.bin`.

    Args:
        bands: Bands of the MinHash signature; 0 without near duplicates.
    """
    fields: list[Any] = [
        ("digest", ">u8", (2,)),  # content digest; compared from its first byte on
        ("key", "<u8"),  # place in the order: hash of seed and id
        ("offset", "<u8"),  # of the line in documents.jsonl
        ("bytes", "<u4"),  # of the line
        ("characters", "<u4"),
        ("source", "<u2"),
        ("validation", "u1"),
        ("flag", "u1"),  # contaminated, where that is only flagged
    ]
    if bands:
        fields.append(("bands", "<u8", (bands,)))
    return np.dtype(fields)


ORDER = np.dtype(
    [
        *((name, index_type(0)[name]) for name in index_type(0).names or ()),
        ("task", "<u4"),
        ("suffix", "u1"),  # the digest is added to the id, since another document has it too
    ]
)
"""The record of a kept document in `order.bin`."""


def start_work(folder: Path, spec: Spec, inputs: list[list[str]]) -> None:
    """Makes the work folder, or keeps that of an interrupted build with the same settings and input files.

    Args:
        folder: The work folder.
        spec: What the build does.
        inputs: Path and SHA-256 of each input file.
    """
    content = {
        "settings": spec.settings.model_dump(mode="json"),
        "files": spec.files,
        "output": spec.output,
        "inputs": inputs,
        "version": __version__,
    }
    spec_bytes = stable_json({**content, "digest": hashlib.sha256(stable_json(content)).hexdigest()})
    if (folder / SPEC).exists() and (folder / SPEC).read_bytes() == spec_bytes:
        return
    with whole_folder(folder) as made:
        (made / SPEC).write_bytes(spec_bytes)


def read_spec(folder: Path) -> Spec:
    """The spec of a work folder.

    Args:
        folder: The work folder.
    """
    content = json.loads((folder / SPEC).read_bytes())
    files = tuple(tuple((int(source), str(path)) for source, path in task) for task in content["files"])
    return Spec(CorpusSettings.model_validate_json(json.dumps(content["settings"])), files, content["output"])


def task_folder(folder: Path, task: int) -> Path:
    """The folder of one task of the first stage.

    Args:
        folder: The work folder.
        task: Its number.
    """
    return folder / "ingest" / f"{task:05d}"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def removal_line(removal: Removal) -> bytes:
    """The line of a removal in JSON Lines."""
    return stable_json(removal._asdict()) + b"\n"


def read_removals(path: Path) -> Iterator[Removal]:
    """Reads lines of `removal_line`.

    Args:
        path: The file.
    """
    with path.open("rb") as stream:
        for line in stream:
            yield Removal(**json.loads(line))


class Texts:
    """The kept documents of all tasks, by task and offset.

    Args:
        folder: The work folder.
        tasks: Number of tasks.
    """

    def __init__(self, folder: Path, tasks: int) -> None:
        self._paths = [task_folder(folder, task) / "documents.jsonl" for task in range(tasks)]
        self._open: dict[int, Any] = {}

    def read(self, task: int, offset: int, size: int) -> dict[str, str]:
        """The line of a document: `id`, `text`, `source`, and `group` if it has one.

        Args:
            task: Its task.
            offset: First byte of its line.
            size: Bytes of the line.

        Raises:
            OutputError: The file is shorter than it was.
        """
        stream = self._open.get(task)
        if stream is None:
            if len(self._open) >= 64:
                self.close()
            stream = self._open[task] = self._paths[task].open("rb")
        stream.seek(offset)
        line = stream.read(size)
        if len(line) != size:
            raise OutputError(f"{self._paths[task]}: cut off; remove the work folder and build again", "LD-E140")
        return json.loads(line)

    def close(self) -> None:
        """Close the files."""
        for stream in self._open.values():
            stream.close()
        self._open.clear()
