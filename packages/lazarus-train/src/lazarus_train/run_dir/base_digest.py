"""Digests of the initial model of a run. They cover every file that is loaded."""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lazarus_core.changed_values import describe_changes
from lazarus_train.errors import ForeignCheckpoint
from lazarus_train.run_dir.sealed_read import file_digest

if TYPE_CHECKING:
    from lazarus_models import LoadedModel
    from lazarus_tokenkit import Tokenizer

TOKENIZER = "tokenizer/"
"""File name prefixes of a tokenizer."""


@dataclass(frozen=True)
class Base:
    """A model, identified by digests.

    Args:
        files: SHA-256, 64 hex, by file name: config, weights, index and generation config as they were loaded, and
            the files that the tokenizer writes.
    """

    files: Mapping[str, str]

    @classmethod
    def of(cls, lm: "LoadedModel", tokenizer: "Tokenizer") -> "Base":
        """Digests of a loaded model and its tokenizer.

        Args:
            lm: The model, loaded with `hashed=True`, so that the digests cover the bytes that were loaded.
            tokenizer: The tokenizer that encoded the rows; it is saved to a temporary folder and hashed.
        """
        assert lm.digests, "loaded with `hashed`"
        return cls(dict(sorted({**lm.digests, **tokenizer_digests(tokenizer)}.items())))

    @classmethod
    def on_disk(cls, model: Path) -> "Base":
        """Digests of a directory in its current state."""
        from lazarus_models.loading import loaded_files
        from lazarus_tokenkit import load_tokenizer

        files = {file.name: file_digest(file) for file in loaded_files(model)}
        return cls(dict(sorted({**files, **tokenizer_digests(load_tokenizer(model))}.items())))

    @property
    def digest(self) -> str:
        """One digest of all files, as `sha256:` and 64 hex."""
        lines = "".join(f"{name} {digest}\n" for name, digest in self.files.items())
        return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"

    def check(self, initial: "Base", model: Path) -> None:
        """Checks that this is the initial model of the run.

        Args:
            initial: Digests of the initial model.
            model: Path of this model, for the message.

        Raises:
            ForeignCheckpoint: It is another model; the message names the first file that differs.
        """
        names = sorted({*self.files, *initial.files})
        differ = [name for name in names if self.files.get(name) != initial.files.get(name)]
        if differ:
            before, now = (
                {name.removeprefix(TOKENIZER): each.files.get(name) for name in names} for each in (initial, self)
            )
            raise ForeignCheckpoint(
                f"{model}: the run started from another model, {initial.digest[:19]}, this one is {self.digest[:19]}: "
                f"{describe_changes(before, now)}; restore it, or give its current location as `model`",
                "LR-E211",
            )


def model_digest(model: Path) -> str:
    """One digest of all files of a model directory that are loaded."""
    return Base.on_disk(model).digest


def tokenizer_digests(tokenizer: "Tokenizer") -> dict[str, str]:
    """SHA-256 of the files that a tokenizer saves."""
    with tempfile.TemporaryDirectory() as name:
        tokenizer.save(Path(name))
        return {f"{TOKENIZER}{file.name}": file_digest(file) for file in Path(name).iterdir()}
