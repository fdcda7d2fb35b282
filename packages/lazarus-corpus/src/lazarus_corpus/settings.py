"""Settings of a corpus, as in `sources.toml`. The manifest contains all of them but the paths."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

_STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=64)]
"""Name of a source: letters, digits, `_`, `.`, `-`."""
Share = Annotated[float, Field(ge=0, le=1)]
Rule = Literal["gopher", "c4", "fineweb", "repetition"]


class SourceSettings(BaseModel):
    """One source of documents."""

    model_config = _STRICT

    name: Name
    """Name in the documents, the manifest and the card."""
    path: tuple[Path, ...] = Field(min_length=1)
    """Files or folders, or one data set `hf:owner/name`. Their order and division have no influence on the result."""
    format: Literal["auto", "rows", "text", "markdown", "html", "warc"] = "auto"
    """Format. `auto` chooses by the ending of each file."""
    text_field: str = "text"
    """Field of a row with the text."""
    id_field: str = "id"
    """Field of a row with a stable id. A row without it gets the digest of its text."""
    group_field: str = "group"
    """Field of a row that names what must stay in one split, such as the id of a conversation tree."""
    license: str = ""
    """Licence, for the card."""
    max_characters: PositiveInt | None = None
    """Budget: at most this many characters are kept, chosen by the hash of the ids."""
    weight: PositiveFloat = 1.0
    """Weight of the source in a plan, for the manifest."""
    front_matter: Literal["keep", "strip"] = "strip"
    """YAML or TOML between lines of `---` or `+++` at the start of a Markdown file."""
    headings: Literal["keep", "strip"] = "keep"
    """Headings of a Markdown file."""


class CleaningSettings(BaseModel):
    """How the text of each document is changed. Each part can be switched off."""

    model_config = _STRICT

    unicode: bool = True
    """Normalization Form C; control characters and invisible characters are removed."""
    newlines: bool = True
    """One kind of line end, no spaces at line ends, at most two empty lines."""
    boilerplate: bool = False
    """Remove lines of cookie notices, navigation and copyright."""
    personal_data: Literal["keep", "mask", "drop"] = "keep"
    """E-mail addresses, telephone numbers and IP addresses: keep, replace by a mask, or drop the document."""


class FilterSettings(BaseModel):
    """Which documents are removed."""

    model_config = _STRICT

    min_characters: PositiveInt = 1
    """Shortest document."""
    max_characters: PositiveInt = 10_000_000
    """Longest document."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes of the languages that are kept; empty for all. Needs the extra `language`."""
    min_language_score: Share = 0.65
    """Smallest probability of the language."""
    rules: tuple[Rule, ...] = ()
    """Rules of published corpora, in their order: Gopher quality, C4, FineWeb, Gopher repetition. Need the extra `rules`."""


class DedupSettings(BaseModel):
    """Removal of equal and nearly equal documents, across all sources."""

    model_config = _STRICT

    near: bool = True
    """Remove near duplicates too. Equal documents are always removed."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Smallest Jaccard similarity of the sets of word n-grams of two near duplicates. Smaller ones than 0.75 need more bands of
    fewer rows."""
    ngram: Annotated[int, Field(ge=1, le=50)] = 5
    """Words of an n-gram."""
    bands: Annotated[int, Field(ge=1, le=256)] = 16
    """Bands of the MinHash signature: documents with an equal band are compared."""
    rows: Annotated[int, Field(ge=1, le=64)] = 8
    """Values of a band. Bands times rows is the number of permutations."""
    units: Literal["none", "line", "paragraph"] = "none"
    """Also remove lines or paragraphs that another document has."""
    min_unit_characters: PositiveInt = 40
    """Shorter lines or paragraphs are kept."""


class ContaminationSettings(BaseModel):
    """Comparison with evaluation sets."""

    model_config = _STRICT

    against: tuple[Path, ...] = ()
    """Evaluation sets, in any form that lazarus-tokenkit reads."""
    action: Literal["drop", "flag"] = "drop"
    """Drop a document with an evaluation item, or flag it in `flagged.jsonl`."""
    ngram: Annotated[int, Field(ge=2, le=30)] = 5
    """Words of an n-gram."""
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.35
    """Share of an item's n-grams in a document from which the document counts as contaminated."""


class SplitSettings(BaseModel):
    """Division into training and validation documents, by the hash of the id or group."""

    model_config = _STRICT

    validation: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of validation documents."""


class ShardSettings(BaseModel):
    """Files of the corpus."""

    model_config = _STRICT

    characters: PositiveInt = 100_000_000
    """Characters of a shard, before compression."""


class CorpusSettings(BaseModel):
    """All settings of a corpus: its sources, and how their documents are processed."""

    model_config = _STRICT

    sources: tuple[SourceSettings, ...] = Field(min_length=1)
    """Sources."""
    seed: NonNegativeInt = 0
    """Seed of the order and of the split."""
    cleaning: CleaningSettings = CleaningSettings()
    filters: FilterSettings = FilterSettings()
    dedup: DedupSettings = DedupSettings()
    contamination: ContaminationSettings = ContaminationSettings()
    split: SplitSettings = SplitSettings()
    shards: ShardSettings = ShardSettings()

    @model_validator(mode="after")
    def _names_differ(self) -> "CorpusSettings":
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError("two sources have the same name")
        return self
