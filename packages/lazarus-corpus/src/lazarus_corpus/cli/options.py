"""Options that several commands have, and the settings that they give."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

SourcesFile = Annotated[
    Path | None, typer.Argument(metavar="SOURCES.toml", help="Sources and settings; or give files with -d.")
]
Data = Annotated[list[Path] | None, typer.Option("-d", "--data", help="A file or folder of documents; again for more.")]
TextField = Annotated[str, typer.Option("--text-field", help="Field of a row with the text; for files of -d.")]
IdField = Annotated[str, typer.Option("--id-field", help="Field of a row with a stable id; for files of -d.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting by its name, as dedup.threshold=0.7; again for more."),
]
Rules = Annotated[
    str | None,
    typer.Option("--rules", help="Rules of published corpora: gopher, c4, fineweb, repetition; comma-separated."),
]
Languages = Annotated[str | None, typer.Option("--languages", help="Languages to keep, as en,de.")]
PersonalData = Annotated[
    str | None, typer.Option("--personal-data", help="E-mail, telephone, IP addresses: keep, mask or drop.")
]
Against = Annotated[
    list[Path] | None, typer.Option("--against", help="Evaluation set that no document may contain; again for more.")
]
Validation = Annotated[float | None, typer.Option("--validation", help="Share of validation documents.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of the order and of the split.")]
Threshold = Annotated[
    float | None, typer.Option("--threshold", help="Smallest Jaccard similarity of near duplicates, 0 to 1.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Read data sets of the hub from the local cache, without a network.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, max=1024, help="Processes at a time.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


_OPTIONS = {
    "seed": "--seed",
    "filters.rules": "--rules",
    "filters.languages": "--languages",
    "cleaning.personal_data": "--personal-data",
    "dedup.threshold": "--threshold",
    "contamination.against": "--against",
    "split.validation": "--validation",
}
"""Setting -> its option."""


def settings_of(
    sources: Path | None,
    data: list[Path] | None,
    sets: list[str] | None,
    fields: tuple[str, str] = ("text", "id"),
    **flags: Any,
) -> Any:
    """The settings of a file, of `--set` and of options, the later ones first.

    Args:
        sources: `SOURCES.toml`; None for none.
        data: Files and folders of one source, `data`.
        sets: `NAME=VALUE`.
        fields: Names of the fields with text and id in the rows of `data`.
        flags: Values by dotted key with `__` for the dot; None for an option that was not given.

    Raises:
        SettingError: Neither a file nor data is given, or both; or names of fields beside a file.
        SettingsError: A setting cannot be used.
    """
    from pydantic import ValidationError

    from lazarus_core.settings import load_settings
    from lazarus_corpus.errors import SettingError
    from lazarus_corpus.settings import CorpusSettings, SourceSettings
    from lazarus_corpus.sources_file import refused, with_paths_of

    if (sources is None) == (not data):
        raise SettingError(f"give SOURCES.toml or files with -d{', not both' if data else ''}", "LD-E126")
    if sources is not None and fields != ("text", "id"):
        raise SettingError(
            f"--text-field and --id-field are for files of -d: set `text_field` and `id_field` of a source in {sources}",
            "LD-E126",
        )
    given: dict[tuple[str, ...], Any] = {tuple(key.split("__")): value for key, value in flags.items()}
    if data:
        given["sources",] = (SourceSettings(name="data", path=tuple(data), text_field=fields[0], id_field=fields[1]),)
    try:
        settings, _ = load_settings(CorpusSettings, sources, sets or (), given)
    except ValidationError as error:

        def option_of(place: str) -> str:
            return _OPTIONS.get(place, place) if flags.get(place.replace(".", "__")) is not None else place

        raise refused(error, option_of) from error
    return settings if sources is None else with_paths_of(settings, sources)


def words(text: str | None) -> tuple[str, ...] | None:
    """Comma-separated words; None for none given."""
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


def corpus_settings(
    sources: SourcesFile = None,
    data: Data = None,
    text_field: TextField = "text",
    id_field: IdField = "id",
    rules: Rules = None,
    languages: Languages = None,
    personal_data: PersonalData = None,
    threshold: Threshold = None,
    against: Against = None,
    validation: Validation = None,
    seed: Seed = None,
    offline: Offline = False,
    sets: Sets = None,
) -> Any:
    """The settings that options ask for; the options are the parameters. See `settings_of`."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # also for the processes of the build
    return settings_of(
        sources,
        data,
        sets,
        (text_field, id_field),
        seed=seed,
        filters__rules=words(rules),
        filters__languages=words(languages),
        cleaning__personal_data=personal_data,
        dedup__threshold=threshold,
        contamination__against=tuple(against) if against else None,
        split__validation=validation,
    )
