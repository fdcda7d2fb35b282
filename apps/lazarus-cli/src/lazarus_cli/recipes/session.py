"""What decides the output of each stage of a recipe: settings, contents of inputs, and versions of packages."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

from lazarus_cli.recipes.digests import Digests
from lazarus_cli.recipes.errors import RecipeError
from lazarus_cli.recipes.folder import RecipeFolder, StageRecord
from lazarus_cli.recipes.recipe import Recipe, StageNode
from lazarus_cli.recipes.stage import Artifact, Inputs, decisive_settings
from lazarus_core.canonical import JSON, canonical_digest
from lazarus_core.changed_values import describe_changes
from lazarus_core.reasons import absent_or

State = Literal["unchanged", "new", "changed", "damaged"]


class Assessment(NamedTuple):
    """Whether a stage has to run."""

    state: State
    why: str
    """What changed, or which file is damaged; empty where nothing is to say."""


class Session:
    """The stages of a recipe in a folder.

    Args:
        recipe: The recipe.
        folder: Its folder; it may be absent.
    """

    def __init__(self, recipe: Recipe, folder: RecipeFolder) -> None:
        self.recipe, self.folder = recipe, folder
        self.digests = Digests(folder.digests)
        self._done: dict[str, tuple[StageRecord, Inputs]] = {}
        self._outside: dict[tuple[str, str], Artifact] = {}

    def inputs(self, node: StageNode) -> Inputs:
        """What a stage reads; stages that it reads must be `finished`.

        Raises:
            RecipeError: A file from outside does not exist.
        """
        found: dict[str, tuple[Artifact, ...]] = {}
        for read in node.reads:
            name, _, part = read.name.partition(".")
            made = read.name not in self.recipe.data
            artifact = self._made(name, part) if made else self.outside(read.name, read.kind)
            found[read.label] = (*found.get(read.label, ()), artifact)
        return found

    def outside(self, name: str, kind: str) -> Artifact:
        """Files of a name of `data`.

        Args:
            name: The name.
            kind: How they are read: names and order of files with rows make no difference.

        Raises:
            RecipeError: A file does not exist.
        """
        known = self._outside.get((name, kind))
        if known is not None:
            return known
        given = self.recipe.data[name]
        first = given[0]
        for path in given:
            if not path.exists():
                raise RecipeError(f"`data.{name}`: {absent_or(path, 'cannot be read')}: correct the path", "LC-E205")
        if kind == "rows":
            digest, paths = self.digests.rows(given)
        elif len(given) > 1:
            raise RecipeError(f"`data.{name}` has {len(given)} files, and a {kind} is one file or folder", "LC-E205")
        else:
            digest, paths = self.digests.any(first), given
        if not paths:
            raise RecipeError(f"`data.{name}`: {first} has no files: give a folder with files", "LC-E205")
        artifact = Artifact("", name, paths, digest)
        self._outside[name, kind] = artifact
        return artifact

    def assess(self, node: StageNode) -> tuple[Assessment, JSON, Inputs]:
        """Whether a stage has to run, what decides its output, and what it reads."""
        inputs = self.inputs(node)
        parts = parts_of(node, {place: artifact.digest for place, artifact in _placed(node, inputs)})
        record = self.folder.record(node.name)
        if record is None:
            return Assessment("new", ""), parts, inputs
        if record.fingerprint != canonical_digest(parts):
            return Assessment("changed", describe_changes(record.parts, parts)), parts, inputs
        damage = self.damage(node, record)
        return Assessment("damaged" if damage else "unchanged", damage), parts, inputs

    def damage(self, node: StageNode, record: StageRecord) -> str:
        """The first file of a stage that is not as it was recorded; empty if there is none."""
        folder = self.folder.stage(node.name)
        for name, digest in record.files.items():
            path = folder / name
            if not path.is_file():
                return f"{path} is missing"
            if self.digests.file(path) != digest:
                return f"{path} was changed"
        for path in node.type.files(folder):
            if path.relative_to(folder).as_posix() not in record.files:
                return f"{path} was added"
        return ""

    def finished(self, node: StageNode, record: StageRecord, inputs: Inputs) -> None:
        """Lets later stages read what a stage made."""
        self._done[node.name] = (record, inputs)

    def _made(self, name: str, part: str) -> Artifact:
        record, inputs = self._done[name]
        node = next(each for each in self.recipe.stages if each.name == name)
        paths = node.type.paths(self.folder.stage(name), part)
        kind = node.type.parts[part] if part else node.type.kind
        return Artifact(kind, name, paths, record.outputs[part], node.settings, inputs)


def record_of(node: StageNode, parts: JSON, folder: Path, digests: Digests, seconds: float) -> StageRecord:
    """The record of a stage that has just ended.

    Args:
        node: The stage.
        parts: What decided its output.
        folder: Its output.
        digests: Digests of files.
        seconds: Time that it took.
    """
    files = {each.relative_to(folder).as_posix(): digests.file(each) for each in node.type.files(folder)}
    names = ("", *node.type.parts)
    return StageRecord(
        name=node.name,
        type=str(node.settings.type),
        fingerprint=canonical_digest(parts),
        parts=parts,
        outputs={part: node.type.identity(folder, files, part) for part in names},
        files=files,
        summary=node.type.summary(folder),
        seconds=round(seconds, 3),
    )


def parts_of(node: StageNode, inputs: Mapping[str, str]) -> JSON:
    """All that decides what a stage makes.

    Args:
        node: The stage.
        inputs: Digest of each input, by its place in the settings.
    """
    return {
        "type": node.settings.type,
        "settings": {name: each for name, each in decisive_settings(node.settings).items() if name != "type"},
        "inputs": dict(inputs),
        "versions": {name: version(name) for name in node.type.packages},
    }


def _placed(node: StageNode, inputs: Inputs) -> list[tuple[str, Artifact]]:
    seen: dict[str, int] = {}
    found: list[tuple[str, Artifact]] = []
    for read in node.reads:
        number = seen.get(read.label, 0)
        seen[read.label] = number + 1
        found.append((read.place, inputs[read.label][number]))
    return found
