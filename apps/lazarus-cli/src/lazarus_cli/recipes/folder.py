"""The folder of a recipe.

```
FOLDER/lazarus.lock            digests of every stage, its inputs and its output
FOLDER/stages/NAME/            what the stage made
FOLDER/.lazarus/NAME.json      record of the finished stage
FOLDER/.lazarus/NAME.begun     fingerprint of the stage that began last; it may be resumed in its folder
FOLDER/.lazarus/digests.json   cache of digests
FOLDER/.lazarus/lock           held by the process that runs the recipe
```
"""

import fcntl
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lazarus_cli.recipes.errors import RecipeError
from lazarus_core.atomic import naming, parents_made, remove_folder, whole_file
from lazarus_core.canonical import JSON
from lazarus_core.leftovers import clear_folder
from lazarus_core.outputs import check_parents
from lazarus_core.strict_json import read_object

LOCK_NAME = "lazarus.lock"
STAGES, PRIVATE = "stages", ".lazarus"
DIGESTS = "digests"
"""Name of the cache of digests beside the records; no stage can have it."""
RECORD_VERSION = 1


@dataclass(frozen=True)
class StageRecord:
    """A finished stage.

    Args:
        name: Its name in the recipe.
        type: Its type.
        fingerprint: Digest of `parts`.
        parts: Type, settings, inputs by label, and versions: all that decides what it makes.
        outputs: Digest of what it made, by the name of the part; empty for the main artifact.
        files: SHA-256 of each file that it made, by its name in the stage's folder.
        summary: What it made, in some words.
        seconds: Time that it took; after a resume, of the last part.
        record_version: Version of this form.
    """

    name: str
    type: str
    fingerprint: str
    parts: JSON
    outputs: dict[str, str]
    files: dict[str, str]
    summary: str
    seconds: float
    record_version: int = RECORD_VERSION


_RECORD = TypeAdapter(StageRecord)


@dataclass(frozen=True)
class RecipeFolder:
    """The folder of a recipe.

    Args:
        path: The folder; it may be absent.
    """

    path: Path

    @property
    def lock(self) -> Path:
        """The lock of the recipe."""
        return self.path / LOCK_NAME

    @property
    def digests(self) -> Path:
        """The cache of digests."""
        return self.path / PRIVATE / f"{DIGESTS}.json"

    def stage(self, name: str) -> Path:
        """Folder of what a stage made."""
        return self.path / STAGES / name

    def check_is_ours(self) -> None:
        """Refuses a folder with other files, before anything is written.

        Raises:
            RecipeError: `path` is a file, or a folder that no recipe made.
        """
        if not self.path.exists():
            check_parents(self.path, "a recipe", code="LC-E210")
            return
        if not self.path.is_dir():
            raise RecipeError(f"{self.path} is a file: give the name of a folder for the recipe", "LC-E210")
        others = sorted({each.name for each in self.path.iterdir()} - {LOCK_NAME})
        if others and not (self.path / PRIVATE).is_dir():
            raise RecipeError(
                f"{self.path} holds {', '.join(others[:5])} and is no folder of a recipe: give another one", "LC-E210"
            )

    @contextmanager
    def held(self) -> Generator[None]:
        """Context manager: locks the folder. The system releases the lock when the process ends.

        A folder that was created here and has no stage yet is removed when the block fails.

        Raises:
            RecipeError: Another process runs a recipe in this folder.
        """
        path = self.path / PRIVATE / "lock"
        is_new = not path.exists()
        with parents_made(path), naming(path), path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RecipeError(
                    f"another process runs a recipe in {self.path}: wait for it, or give another folder", "LC-E211"
                ) from None
            clear_folder(self.path / PRIVATE)
            try:
                yield
            except BaseException:
                if is_new and [each.name for each in path.parent.iterdir()] == [path.name]:
                    path.unlink()  # then `parents_made` removes the empty folders
                raise

    def record(self, name: str) -> StageRecord | None:
        """The record of a finished stage; None if it has not ended.

        Raises:
            RecipeError: The record is damaged or of a later version.
        """
        path = self._record(name)
        if not path.is_file():
            return None
        found = read_object(path)
        try:
            record = _RECORD.validate_python(found)
        except ValidationError as error:
            raise RecipeError(
                f"{path}: no record of a stage: remove the file, and the stage runs again", "LC-E216"
            ) from error
        if record.record_version > RECORD_VERSION:
            raise RecipeError(f"{path}: written by a later version of lazarus-cli: update it", "LC-E216")
        return record

    def records(self) -> list[StageRecord]:
        """The records of all finished stages, sorted by name."""
        names = sorted(each.stem for each in (self.path / PRIVATE).glob("*.json") if each != self.digests)
        return [record for name in names if (record := self.record(name)) is not None]

    def begin(self, name: str, fingerprint: str, *, keep: bool) -> None:
        """Removes the record, and the output unless a run of the same fingerprint can be resumed in it.

        Args:
            name: The stage.
            fingerprint: Fingerprint of the stage that begins.
            keep: Whether the output of a stage of the same fingerprint stays.
        """
        begun = self._begun(name)
        self._record(name).unlink(missing_ok=True)
        is_same = keep and begun.is_file() and begun.read_text("utf-8").strip() == fingerprint
        if not is_same:
            begun.unlink(missing_ok=True)  # before the output: a kill in between begins anew
            if self.stage(name).exists():
                remove_folder(self.stage(name))
            self.stage(name).parent.mkdir(parents=True, exist_ok=True)
            with whole_file(begun) as stream:
                stream.write(f"{fingerprint}\n".encode())

    def finish(self, record: StageRecord) -> None:
        """Writes the record of a finished stage."""
        with whole_file(self._record(record.name)) as stream:
            stream.write(indented(asdict(record)))

    def _record(self, name: str) -> Path:
        return self.path / PRIVATE / f"{name}.json"

    def _begun(self, name: str) -> Path:
        return self.path / PRIVATE / f"{name}.begun"


def indented(value: Any) -> bytes:
    """JSON for people and for version control: members sorted, a line each."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
