"""`tokenizer`: trains a tokenizer, or takes an existing one and verifies it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from lazarus_cli.recipes.errors import RecipeError
from lazarus_cli.recipes.stage import Context, Inputs, Reads, Stage, StageSettings
from lazarus_core.canonical import canonical_digest
from lazarus_tokenkit import FieldNames, compute_fingerprint, load_tokenizer

_READ_BY = {
    "bpe": ("vocab_size", "min_frequency", "special_tokens", "split_digits", "max_token_length", "data", "text_field"),
    "sentencepiece": (
        *("vocab_size", "model_type", "special_tokens", "split_digits", "character_coverage", "data", "text_field"),
    ),
    "char": ("data", "text_field"),
    "existing": ("existing", "fingerprint"),
}
"""Settings that each kind uses."""
_FOR_EVERY_KIND = {"type", "only_with", "kind"}


class TokenizerSettings(StageSettings, frozen=True):
    """A tokenizer: trained on rows, or an existing one."""

    type: Literal["tokenizer"] = "tokenizer"
    kind: Literal["bpe", "sentencepiece", "char", "existing"] = "bpe"
    """How it is made: a byte-level BPE, a SentencePiece model, the characters that occur, or a copy of `existing`."""
    data: Annotated[tuple[str, ...], Reads("rows")] = ()
    """Rows to train on."""
    text_field: str | None = None
    """Field of the text. Default: the standard names."""
    existing: Annotated[str | None, Reads("tokenizer")] = None
    """Folder or file of an existing tokenizer (`existing`)."""
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    """Beginning of the fingerprint that the existing tokenizer must have (`existing`). Default: any."""
    vocab_size: PositiveInt | None = None
    """Number of ids, special tokens and bytes included (`bpe`, `sentencepiece`). Default: 8192."""
    special_tokens: tuple[str, ...] | None = None
    """Special tokens; their order decides their ids (`bpe`, `sentencepiece`). Default: <|endoftext|> for `bpe`, else none."""
    min_frequency: PositiveInt | None = None
    """Occurrences that a pair needs to be merged (`bpe`). Default: 2."""
    split_digits: bool | None = None
    """Whether each digit is a token (`bpe`, `sentencepiece`). Default: false for `bpe`, true for `sentencepiece`."""
    max_token_length: PositiveInt | None = None
    """Largest number of characters of a token (`bpe`). Default: no limit."""
    model_type: Literal["bpe", "unigram"] | None = None
    """`bpe` merges pairs of pieces, `unigram` chooses the most likely pieces (`sentencepiece`). Default: bpe."""
    character_coverage: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the text's characters that get a piece (`sentencepiece`). Default: 0.9995."""


class TokenizerStage(Stage[TokenizerSettings]):
    """Rows, or an existing tokenizer, to a folder with a tokenizer."""

    kind = "tokenizer"
    packages = ("lazarus-tokenkit", "tokenizers")

    @classmethod
    def settings_type(cls) -> type[TokenizerSettings]:
        """The settings."""
        return TokenizerSettings

    def check(self, settings: TokenizerSettings) -> None:
        """Refuses settings of another kind, and what the trainers refuse."""
        for name in type(settings).model_fields.keys() - _FOR_EVERY_KIND:
            is_given = getattr(settings, name) not in (None, ())
            if is_given and name not in _READ_BY[settings.kind]:
                raise ValueError(f"`{name}` has no effect with `kind` {settings.kind}: omit it")
        needed = "existing" if settings.kind == "existing" else "data"
        if not getattr(settings, needed):
            raise ValueError(f"`kind` {settings.kind} needs `{needed}`")
        _config(settings)

    def run(self, settings: TokenizerSettings, inputs: Inputs, folder: Path, context: Context) -> None:
        """Trains the tokenizer, or copies the files of the existing one."""
        if settings.kind == "existing":
            _copy(settings, inputs["existing"][0].path, folder)
            return
        from lazarus_tokenkit.training import freeze, train_files

        paths = [path for each in inputs["data"] for path in each.paths]
        tokenizer, card = train_files(paths, _config(settings), FieldNames(text=settings.text_field), "tokenizer")
        freeze(tokenizer, card, folder)

    def paths(self, folder: Path, part: str = "") -> tuple[Path, ...]:
        """The folder."""
        return (folder,)

    def identity(self, folder: Path, digests: Mapping[str, str], part: str = "") -> str:
        """Fingerprint and chat template; the report card names files."""
        found = compute_fingerprint(str(folder))
        return canonical_digest([found.fingerprint, found.components["chat_template"]])

    def summary(self, folder: Path) -> str:
        """Size of the vocabulary and fingerprint."""
        tokenizer = load_tokenizer(str(folder))
        return f"{tokenizer.vocab_size:,} ids, fingerprint {compute_fingerprint(tokenizer).short}"


def _copy(settings: TokenizerSettings, path: Path, folder: Path) -> None:
    tokenizer = load_tokenizer(str(path))
    found = compute_fingerprint(tokenizer).fingerprint
    if settings.fingerprint is not None and not found.startswith(settings.fingerprint):
        raise RecipeError(
            f"{path}: the tokenizer has the fingerprint {found[:16]}, not {settings.fingerprint[:16]}: give that tokenizer, or "
            "change `fingerprint`",
            "LC-E215",
        )
    tokenizer.save(folder)


def _config(settings: TokenizerSettings) -> Any:
    """The configuration of the trainer; None for characters and existing tokenizers."""
    from lazarus_tokenkit.tokenizers import BpeConfig, SentencePieceConfig

    model = {"bpe": BpeConfig, "sentencepiece": SentencePieceConfig}.get(settings.kind)
    if model is None:
        return None
    given = {name: value for name in model.model_fields if (value := getattr(settings, name, None)) is not None}
    return model.model_validate(given)
