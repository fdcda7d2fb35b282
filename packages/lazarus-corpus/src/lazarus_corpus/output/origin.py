"""The way from data files that are shards of a corpus back to the corpus's sources, for the verification of a run.

lazarus-train finds `check_origin` by the entry point group `lazarus.origins`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lazarus_corpus.errors import OutputError, SettingError
from lazarus_corpus.output.manifest import MANIFEST, read_manifest
from lazarus_corpus.output.verify import verify_corpus
from lazarus_corpus.settings import CorpusSettings, SourceSettings
from lazarus_corpus.sources_file import read_sources_file


def check_origin(files: Sequence[Path], sources: Sequence[Path] = ()) -> Iterator[tuple[str, bool | None, str]]:
    """Checks the corpora that data files are shards of.

    Args:
        files: The data files; those of no corpus are left out.
        sources: `SOURCES.toml`, or the files and folders of a corpus of one source; empty if they are not known.

    Yields:
        Name of a link, whether it is valid (None if it was not compared), and what was found.

    Raises:
        SourceError: A source cannot be read.
        SettingError: The sources are those of several corpora, or of another kind.
    """
    folders = {path.parent.parent for path in files if path.parent.name == "shards"}
    corpora = sorted(folder for folder in folders if (folder / MANIFEST).is_file())
    if sources and len(corpora) > 1:
        raise SettingError(
            f"`sources` can be compared with one corpus, and the data are of {len(corpora)}: check each by"
            " `lazarus data corpus verify`",
            "LD-E147",
        )
    for folder in corpora:
        yield from _corpus(folder, sources)


def _corpus(folder: Path, sources: Sequence[Path]) -> Iterator[tuple[str, bool | None, str]]:
    try:
        manifest = read_manifest(folder)
    except OutputError as error:
        yield "manifest", False, error.message
        return
    checks = list(verify_corpus(folder))
    bad = next((check for check in checks if not check.ok), None)
    if bad is not None:
        yield f"shard {bad.name.removeprefix('shards/')}", False, f"{folder / bad.name}: {bad.found}"
        return
    yield "corpus", True, f"{folder}: digest {manifest['digest'][:16]}, {len(checks)} shards"
    if not sources:
        names = ", ".join(source["name"] for source in manifest["sources"])
        yield "sources", None, f"{names}: not compared: the source files were not given"
        return
    for check in list(verify_corpus(folder, source_settings(folder, sources)))[len(checks) :]:
        yield check.name, check.ok, check.found


def source_settings(folder: Path, sources: Sequence[Path]) -> CorpusSettings:
    """Settings with the present paths of a corpus's sources.

    Args:
        folder: The corpus.
        sources: One `SOURCES.toml`, or the files and folders of the only source.

    Raises:
        SettingError: Several sources, and no `SOURCES.toml`.
    """
    if len(sources) == 1 and sources[0].suffix == ".toml":
        return read_sources_file(sources[0])
    recorded = read_manifest(folder)["settings"]["sources"]
    if len(recorded) != 1:
        raise SettingError(f"{folder} has {len(recorded)} sources: give their SOURCES.toml", "LD-E147")
    return CorpusSettings(sources=(SourceSettings(**recorded[0], path=tuple(sources)),))
