"""Division of rows into training and validation, by the hash of a stable id."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lazarus_core.outputs import OutputKind, whole_output
from lazarus_corpus.documents import content_digest, is_held_out, stable_json
from lazarus_corpus.errors import SettingError

ROWS = OutputKind("rows of a split", code="LD-E131")


def split_rows(
    paths: Sequence[Path],
    train: Path,
    validation: Path,
    *,
    share: float,
    seed: int = 0,
    id_field: str = "id",
    group_field: str = "group",
    force: bool = False,
) -> tuple[int, int]:
    """Divides rows into two JSON Lines files.

    A row goes by its group, else by its id, else by the digest of its other fields. A row whose content is in the other file
    already is left out, so no content is in both.

    Args:
        paths: Data files in any form that lazarus-tokenkit reads.
        train: File of the training rows.
        validation: File of the validation rows.
        share: Share of validation rows, from 0 to 1.
        seed: Seed.
        id_field: Field with a stable id.
        group_field: Field that names what stays in one split.
        force: Replace files of another kind.

    Returns:
        Numbers of training and validation rows.

    Raises:
        SampleError: A file is malformed.
        OutputTaken: An output would replace another file.
        SettingError: Both outputs are one file.
    """
    from lazarus_tokenkit.samples import read_objects

    if train.resolve() == validation.resolve():
        raise SettingError(f"{train}: training and validation rows need two files", "LD-E128")
    seen: dict[bytes, bool] = {}
    counts = [0, 0]
    with ExitStack() as stack:
        streams = [
            stack.enter_context(whole_output(path, ROWS, inputs=paths, force=force)) for path in (train, validation)
        ]
        for path in paths:
            for row in read_objects(path):
                content = {name: value for name, value in row.members.items() if name != id_field}
                digest = content_digest(stable_json(content).decode())
                name = row.members.get(group_field) or row.members.get(id_field) or digest.hex()
                held_out = is_held_out(str(name), share, seed)
                if seen.setdefault(digest, held_out) != held_out:
                    continue
                streams[held_out].write(json.dumps(row.members, ensure_ascii=False).encode() + b"\n")
                counts[held_out] += 1
    return counts[0], counts[1]
