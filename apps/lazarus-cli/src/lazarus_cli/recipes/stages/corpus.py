"""`corpus`: documents are cleaned, filtered, deduplicated and split."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field

from lazarus_cli.recipes.settings_of import members_of, stage_settings, table
from lazarus_cli.recipes.stage import Context, Inputs, Reads, Stage, StageSettings
from lazarus_core.canonical import canonical_digest
from lazarus_corpus import CorpusSettings, SourceSettings, build_corpus

_CONTAMINATION: Any = CorpusSettings.model_fields["contamination"].annotation
_SOURCE = table(
    SourceSettings, without=("path",), data=(Annotated[str, Reads("rows")], Field(description="Documents."))
)
_AGAINST = table(
    _CONTAMINATION,
    without=("against",),
    against=(Annotated[tuple[str, ...], Reads("rows")], Field(default=(), description="Evaluation sets.")),
)


_NAMED: Any = {
    "sources": (
        Annotated[tuple[_SOURCE, ...], Field(min_length=1)],
        Field(description="Sources: `name`, `data` and further settings of each."),
    ),
    "contamination": (_AGAINST, Field(default=_AGAINST(), description="Comparison with evaluation sets.")),
}


class CorpusStage(Stage[Any]):
    """Documents to shards of rows. `NAME.validation` is the held-out part."""

    kind = "rows"
    parts: ClassVar[Mapping[str, str]] = {"validation": "rows"}
    packages = ("lazarus-corpus", "lazarus-tokenkit")
    is_resumable = True

    @classmethod
    def settings_type(cls) -> type[Any]:
        """The settings of `lazarus_corpus.CorpusSettings`, with names of data for paths."""
        return stage_settings("corpus", StageSettings, CorpusSettings, **_NAMED)

    def check(self, settings: Any) -> None:
        """Refuses what `CorpusSettings` refuses."""
        _settings(settings)

    def run(self, settings: Any, inputs: Inputs, folder: Path, context: Context) -> None:
        """Builds the corpus."""
        build_corpus(_settings(settings, inputs), folder)

    def paths(self, folder: Path, part: str = "") -> tuple[Path, ...]:
        """Shards of the training or of the validation part."""
        return tuple(sorted((folder / "shards").glob(f"{part or 'train'}-*")))

    def identity(self, folder: Path, digests: Mapping[str, str], part: str = "") -> str:
        """Digest of the shards of a part."""
        begin = f"shards/{part or 'train'}-"
        return canonical_digest({name: digest for name, digest in digests.items() if name.startswith(begin)})

    def summary(self, folder: Path) -> str:
        """Documents and characters."""
        shards = cast("list[dict[str, int]]", json.loads((folder / "manifest.json").read_bytes())["shards"])
        count = sum(each["documents"] for each in shards)
        return f"{count:,} document{'' if count == 1 else 's'}"


def _settings(settings: Any, inputs: Inputs | None = None) -> CorpusSettings:
    """The settings of the package.

    Args:
        settings: Settings of the stage.
        inputs: Where the documents are; None for any place, where only the rest is checked.
    """

    def paths_of(label: str) -> tuple[Path, ...]:
        return (Path(),) if inputs is None else tuple(path for each in inputs[label] for path in each.paths)

    sources = tuple(
        SourceSettings(path=paths_of(f"sources.{number}.data"), **members_of(source, SourceSettings))
        for number, source in enumerate(settings.sources)
    )
    against = paths_of("contamination.against") if settings.contamination.against else ()
    members = {
        **members_of(settings, CorpusSettings),
        "sources": sources,
        "contamination": _CONTAMINATION(**{**members_of(settings.contamination, _CONTAMINATION), "against": against}),
    }
    return CorpusSettings.model_validate(members)
