"""SentencePiece BPE with byte fallback, by SentencePiece's own trainer: equal bytes on every run.

Ids: unk, bos, eos, pad where wanted, then the 256 bytes, then pieces. One thread: with several, the library's counts
may arrive in another order.
"""

import io
import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt

from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.tokenizers.backends.assembly import config_file
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.backends.sentencepiece import SentencePieceModel

MAX_SENTENCE_BYTES = 1 << 20
"""Longer lines are left out by the trainer; its default of 4,192 leaves out paragraphs."""


class SentencePieceConfig(BaseModel):
    """What decides a SentencePiece BPE, besides the text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    vocab_size: PositiveInt = 8192
    """Ids, control tokens and the 256 bytes included."""
    split_digits: bool = True
    """Whether each digit is a token of its own."""
    special_tokens: tuple[str, ...] = ()
    """Control tokens behind unk, bos, eos and pad, in this order."""
    character_coverage: float = 0.9995
    """Share of characters that get a piece; the others are spelled in bytes."""


def train_sentencepiece(
    texts: Iterable[str], config: SentencePieceConfig, name: str = "sentencepiece"
) -> HuggingFaceTokenizer:
    """Trains on texts; what comes back saves both forms, `tokenizer.model` and `tokenizer.json`.

    Raises:
        TokenkitError: The extra is missing, or the trainer refuses.
    """
    try:
        trainer: Any = import_module("sentencepiece").SentencePieceTrainer
    except ModuleNotFoundError as error:
        raise TokenkitError(
            "to train SentencePiece models, install lazarus-tokenkit[sentencepiece]", "LT-E801"
        ) from error
    model = io.BytesIO()
    try:
        trainer.train(
            sentence_iterator=(line for text in texts for line in text.splitlines() if line),
            model_writer=model,
            vocab_size=config.vocab_size,
            model_type="bpe",
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
        raise TokenkitError(f"SentencePiece refuses: {_in_our_words(reason)}", "LT-E802") from error
    parsed = SentencePieceModel.parse(model.getvalue(), name)
    files = {
        TOKENIZER_FILE: parsed.tokenizer_file(add_bos=True),
        CONFIG_FILE: config_file(parsed.roles),
        "tokenizer.model": model.getvalue(),
    }
    return HuggingFaceTokenizer.from_files(files, name)


def _in_our_words(reason: str) -> str:
    """What SentencePiece says, without the options that only its own command has."""
    if found := re.search(r"smaller than required_chars\. (\d+) vs (\d+)", reason):
        return f"a vocabulary of {found[1]} is below the {found[2]} characters, bytes and special tokens; give {found[2]} or more"
    if found := re.search(r"size too high \((\d+)\).* <= (\d+)", reason):
        return f"a vocabulary of {found[1]} is more than the text has pieces for; give {found[2]} or less"
    return reason
