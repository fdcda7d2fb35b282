"""Division of rows into training and validation, by the hash of a stable id."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lazarus_core.outputs import OutputKind, whole_output
from lazarus_corpus.documents import content_digest, is_held_out, json_line
from lazarus_corpus.errors import SettingError

logger = logging.getLogger(__name__)

ROWS = OutputKind("rows of a split", code="LD-E131")


def split_rows(
    paths: Sequence[Path | str],
    train: Path | str,
    validation: Path | str,
    *,
    share: float,
    seed: int = 0,
    id_field: str = "id",
    group_field: str = "group",
    force: bool = False,
) -> tuple[int, int]:
    """Divides rows into two JSON Lines files.

    A row goes by its group, else by its id, else by the digest of its other fields. A row whose content is in the other file
    already is left out, so no content is in both; a warning counts such rows. Id and group are no content.

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
        SourceError: A value cannot be written as JSON.
        OutputTaken: An output would replace another file.
        SettingError: Both outputs are one file, or the share is not from 0 to 1.
    """
    from lazarus_tokenkit.samples import read_objects

    paths, train, validation = [Path(path) for path in paths], Path(train), Path(validation)
    if not 0 <= share <= 1:
        raise SettingError(f"`share` is {share}: give a number from 0 to 1", "LD-E127")
    if train.resolve() == validation.resolve():
        raise SettingError(f"{train}: training and validation rows need two files", "LD-E128")
    seen: dict[bytes, bool] = {}
    counts = [0, 0]
    left_out = 0
    with ExitStack() as stack:
        streams = [
            stack.enter_context(whole_output(path, ROWS, inputs=paths, force=force)) for path in (train, validation)
        ]
        for path in paths:
            for row in read_objects(path):
                content = {name: value for name, value in row.members.items() if name not in (id_field, group_field)}
                digest = content_digest(json_line(content, row.place, is_compact=True, is_sorted=True)[:-1].decode())
                name = _name(row.members, group_field) or _name(row.members, id_field) or digest.hex()
                held_out = is_held_out(name, share, seed)
                if seen.setdefault(digest, held_out) != held_out:
                    left_out += 1
                    continue
                streams[held_out].write(json_line(row.members, row.place))
                counts[held_out] += 1
    if left_out:
        logger.warning("%d rows were left out: the other file has their content", left_out)
    return counts[0], counts[1]


def _name(members: dict[str, Any], field: str) -> str:
    """The value of a field as a text; empty if there is none."""
    value = members.get(field)
    return "" if value is None or isinstance(value, bool) else str(value)
