"""Third stage: each task writes one shard."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from lazarus_core.atomic import whole_file
from lazarus_corpus.engine.partitions import read_records
from lazarus_corpus.engine.work import ORDER, Texts, file_sha256, read_spec

COMPRESSION = 6
"""Level of gzip; part of the bytes of a shard."""


def shards_of(folder: Path) -> list[tuple[str, int, int]]:
    """Name, first and last place of each shard.

    Args:
        folder: The work folder.
    """
    return [
        (str(name), int(start), int(end))
        for name, start, end in json.loads((folder / "decide/shards.json").read_bytes())
    ]


def shard_report(folder: Path, task: int) -> Path:
    """The report of a shard, which is written last.

    Args:
        folder: The work folder.
        task: Number of the shard.
    """
    return folder / "write" / f"{shards_of(folder)[task][0]}.json"


def write_shard(folder: Path, task: int) -> None:
    """Writes a shard and its report; nothing if they exist.

    Args:
        folder: The work folder.
        task: Number of the shard.
    """
    name, start, end = shards_of(folder)[task]
    report = shard_report(folder, task)
    if report.exists():
        return
    report.parent.mkdir(exist_ok=True)
    texts = Texts(folder, len(read_spec(folder).files))
    content, characters = hashlib.sha256(), 0
    target = folder / "write" / name
    with whole_file(target) as stream, gzip.GzipFile("", "wb", COMPRESSION, stream, mtime=0) as packed:  # pyright: ignore[reportArgumentType] (a stream of bytes)
        for chunk in read_records(folder / "decide" / "order.bin", ORDER, start, end):
            characters += int(chunk["characters"].sum(dtype=np.int64))
            for record in chunk:
                line = _line(texts, record)
                packed.write(line)
                content.update(line)
    texts.close()
    found = {
        "name": name,
        "documents": end - start,
        "characters": characters,
        "sha256": file_sha256(target),
        "content_sha256": content.hexdigest(),
    }
    with whole_file(report) as stream:
        stream.write(json.dumps(found, sort_keys=True).encode())


def _line(texts: Texts, record: Any) -> bytes:
    """The line of a document in a shard: `id`, `text`, `source`, and `group` if it has one."""
    members = texts.read(int(record["task"]), int(record["offset"]), int(record["bytes"]))
    name = members["id"]
    if record["suffix"]:
        name = f"{name}-{int(record['digest'][0]):016x}"
    line = {"id": name, "text": members["text"], "source": members["source"]}
    if "group" in members:
        line["group"] = members["group"]
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
