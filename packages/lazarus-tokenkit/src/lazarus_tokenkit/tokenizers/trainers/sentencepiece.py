"""Trains a SentencePiece BPE or unigram model with byte fallback, with SentencePiece's own trainer. Every run gives the same bytes.

Order of ids: unk, bos, eos, pad, the control tokens, the 256 bytes, the pieces. Training uses one thread, because the
order of the library's counts, and the scores of a unigram model, depend on the number of threads.
"""

import io
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.tokenizers.backends.assembly import config_file
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.backends.sentencepiece import SentencePieceModel
from lazarus_tokenkit.tokenizers.training_texts import MAX_VOCAB_SIZE, check_special_tokens, not_blank

MAX_SENTENCE_BYTES = 1 << 20
"""The trainer ignores longer lines, so they are cut. Its default of 4,192 bytes would drop whole paragraphs."""
_CUT_CHARACTERS = MAX_SENTENCE_BYTES // 4
"""Characters of the parts of a line that is cut. One has at most four bytes."""
_MAX_WORD = 1 << 15
"""Characters of a word, or of a run of spaces. SentencePiece 0.2.0 ends the process at a word of 65,536, in BPE."""


class SentencePieceConfig(BaseModel):
    """Settings of a SentencePiece model."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    vocab_size: Annotated[int, Field(gt=0, le=MAX_VOCAB_SIZE)] = 8192
    """Number of ids, including control tokens and the 256 bytes."""
    model_type: Literal["bpe", "unigram"] = "bpe"
    """`bpe` merges pairs of pieces; `unigram` chooses the most likely pieces (arXiv 1804.10959)."""
    split_digits: bool = True
    """Whether each digit is a token of its own."""
    special_tokens: tuple[str, ...] = ()
    """Control tokens after unk, bos, eos and pad, in this order."""
    character_coverage: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.9995
    """Share of the text's characters that get a piece, 0 to 1. The remaining characters are encoded as bytes."""

    @field_validator("special_tokens")
    @classmethod
    def _check(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        check_special_tokens(tokens)
        return tokens


def train_sentencepiece(
    texts: Iterable[str], config: SentencePieceConfig, name: str = "sentencepiece"
) -> HuggingFaceTokenizer:
    """Trains a SentencePiece model on texts. `save` of the result writes `tokenizer.model` and `tokenizer.json`.

    Args:
        texts: The training texts.
        config: The settings.
        name: Name of the tokenizer for messages.

    Raises:
        TokenkitError: The extra `sentencepiece` is not installed, no text has a visible character, or the trainer refuses
            the settings or the text.
    """
    try:
        trainer: Any = import_module("sentencepiece").SentencePieceTrainer
    except ModuleNotFoundError as error:
        raise TokenkitError(
            "to train SentencePiece models, install lazarus-tokenkit[sentencepiece]", "LT-E801"
        ) from error
    lines = (part for text in not_blank(texts) for line in text.splitlines() if line for part in _parts(line))
    model = io.BytesIO()
    try:
        trainer.train(
            sentence_iterator=lines,
            model_writer=model,
            vocab_size=config.vocab_size,
            model_type=config.model_type,
            byte_fallback=True,
            split_digits=config.split_digits,
            character_coverage=config.character_coverage,
            control_symbols=list(config.special_tokens),
            pad_id=3,
            remove_extra_whitespaces=False,
            normalization_rule_name="identity",
            allow_whitespace_only_pieces=True,
            max_sentence_length=MAX_SENTENCE_BYTES,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        reason = re.sub(r"^.*?\[.*?\]\s*", "", " ".join(str(error).split()))
        raise TokenkitError(f"SentencePiece refuses: {_plain_reason(reason)}", "LT-E802") from error
    parsed = SentencePieceModel.parse(model.getvalue(), name)
    files = {
        TOKENIZER_FILE: parsed.tokenizer_file(add_bos=True),
        CONFIG_FILE: config_file(parsed.roles),
        "tokenizer.model": model.getvalue(),
    }
    return HuggingFaceTokenizer.from_files(files, name)


def _parts(line: str) -> Iterator[str]:
    """The line, or its parts, cut at spaces, if the trainer would ignore it or has no room for a word of it.

    Args:
        line: A line of a training text.
    """
    has_long_word = len(line) > _MAX_WORD and (
        " " * (_MAX_WORD + 1) in line or max(map(len, line.split(" "))) > _MAX_WORD
    )
    most = _MAX_WORD if has_long_word else _CUT_CHARACTERS
    start = 0
    if has_long_word or (len(line) > most and len(line.encode()) > MAX_SENTENCE_BYTES):
        while len(line) - start > most:
            space = line.rfind(" ", start + 1, start + most)
            end = start + most if space < 0 else space
            yield line[start:end]
            start = end if space < 0 else end + 1
    if start < len(line):
        yield line[start:]


def _plain_reason(reason: str) -> str:
    """Rewrites SentencePiece's message without the options of its own command."""
    if found := re.search(r"smaller than required_chars\. (\d+) vs (\d+)", reason):
        return (
            f"`vocab_size` {found[1]} is below the {found[2]} characters, bytes and special tokens;"
            f" give {found[2]} or more"
        )
    if found := re.search(r"size too high \((\d+)\).* <= (\d+)", reason):
        return f"`vocab_size` {found[1]} is larger than the text supports; give {found[2]} or less"
    return reason
