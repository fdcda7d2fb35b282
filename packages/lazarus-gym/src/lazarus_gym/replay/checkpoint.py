"""A buffer on disk: a folder with `state.json` and `contents.bin`. A restored buffer gives the draws that the saved one would give.

Floats are written as their shortest decimal form, which reads back to the same bits. The digest of the contents is in
`state.json`, and every number is checked when it is read.
"""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lazarus_core.atomic import whole_folder
from lazarus_core.outputs import check_names
from lazarus_gym.errors import ReplayError
from lazarus_gym.replay.buffer import SOURCES, ReplayBuffer, ReplayBufferConfig

STATE, CONTENTS = "state.json", "contents.bin"
FORMAT = 1


class _Bits(BaseModel):
    model_config = ConfigDict(extra="forbid")
    state: int = Field(ge=0, lt=2**128)
    inc: int = Field(ge=0, lt=2**128)


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: int
    config: ReplayBufferConfig
    num_added: int = Field(ge=0)
    largest: float = Field(ge=1, allow_inf_nan=False)
    bits: _Bits
    groups: dict[str, tuple[int, int, list[int]]]
    facts: list[tuple[int, str, bool | None]]
    difficulty: list[float | None]
    tree: list[float] | None
    lengths: list[int]
    sha256: str


def save_buffer(buffer: ReplayBuffer, path: Path | str) -> None:
    """Writes a buffer. An earlier checkpoint there is replaced as a whole.

    Args:
        buffer: The buffer.
        path: Folder to write.

    Raises:
        OutputTaken: The folder holds other files (LG-E163).
    """
    path = Path(path)
    check_names(path, (STATE, CONTENTS), "a replay buffer", code="LG-E163")
    state = buffer.state()
    contents: list[bytes] = state.pop("contents")
    digest = hashlib.sha256()
    with whole_folder(path) as folder:
        with (folder / CONTENTS).open("wb") as file:
            for each in contents:
                digest.update(each)
                file.write(each)
        tree = state.pop("tree")
        members: dict[str, Any] = {
            "format": FORMAT,
            "config": buffer.config.model_dump(mode="json"),
            **state,
            "bits": {name: int(value) for name, value in state["bits"].items()},
            "difficulty": [None if value != value else value for value in state["difficulty"].tolist()],
            "tree": None if tree is None else tree.tolist(),
            "lengths": [len(each) for each in contents],
            "sha256": digest.hexdigest(),
        }
        (folder / STATE).write_text(json.dumps(members, allow_nan=False, separators=(",", ":")) + "\n", "utf-8")


def load_buffer(path: Path | str) -> ReplayBuffer:
    """Reads a buffer of `save_buffer`.

    Raises:
        ReplayError: It does not exist, is of a newer format, or was changed (LG-E164).
    """
    path = Path(path)
    try:
        stored = _Stored.model_validate_json((path / STATE).read_bytes())
        content = (path / CONTENTS).read_bytes()
    except OSError as error:
        raise ReplayError(f"{error.filename}: {error.strerror}: give a folder of `save_buffer`", "LG-E164") from error
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "content"
        raise _broken(path, f"`{where}` of {STATE} is wrong") from error
    if stored.format != FORMAT:
        raise _broken(path, f"format {stored.format} is not {FORMAT}")
    if hashlib.sha256(content).hexdigest() != stored.sha256 or sum(stored.lengths) != len(content):
        raise _broken(path, f"{CONTENTS} was changed")
    _check(path, stored)
    buffer = ReplayBuffer(stored.config)
    ends = np.cumsum([0, *stored.lengths]).tolist()
    buffer.restore(
        {
            "num_added": stored.num_added,
            "largest": stored.largest,
            "bits": stored.bits.model_dump(),
            "groups": stored.groups,
            "facts": stored.facts,
            "difficulty": np.array([np.nan if each is None else each for each in stored.difficulty], np.float32),
            "tree": None if stored.tree is None else np.array(stored.tree),
            "contents": [content[a:b] for a, b in pairwise(ends)],
        }
    )
    return buffer


def _check(path: Path, stored: _Stored) -> None:
    """Counts and places that belong together."""
    size = min(stored.num_added, stored.config.max_size)
    slots = sorted(slot for _, _, members in stored.groups.values() for slot in members)
    is_whole = (
        len(stored.lengths) == len(stored.facts) == len(stored.difficulty) == size
        and all(length >= 5 for length in stored.lengths)
        and slots == list(range(size))
        and all(0 <= source < len(SOURCES) for source, _, _ in stored.facts)
        and all(stored.facts[slot][1] == name for name, (_, _, members) in stored.groups.items() for slot in members)
        and all(0 <= solved <= attempts for solved, attempts, _ in stored.groups.values())
        and (stored.tree is None) == (stored.config.sampling != "prioritized")
        and (stored.tree is None or (len(stored.tree) == size and all(0 < each < float("inf") for each in stored.tree)))
    )
    if not is_whole:
        raise _broken(path, f"the members of {STATE} contradict each other")


def _broken(path: Path, words: str) -> ReplayError:
    return ReplayError(f"{path}: {words}: restore it from a backup, or begin a new buffer", "LG-E164")
