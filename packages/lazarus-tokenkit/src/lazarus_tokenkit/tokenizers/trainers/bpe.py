"""Trains a byte-level BPE with the Hugging Face trainer. It encodes every text, and every run gives the same file.

Order of ids: the special tokens without gaps, the 256 bytes, the merges. The trainer reads texts line by line, so white
space never merges across the end of a line.
"""

from collections.abc import Iterable
from typing import Annotated, Any

import tokenizers
from pydantic import BaseModel, ConfigDict, Field, model_validator
from tokenizers import decoders, models, pre_tokenizers, trainers

from lazarus_tokenkit.tokenizers.backends.assembly import config_file
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.training_texts import (
    MAX_FREQUENCY,
    MAX_VOCAB_SIZE,
    check_special_tokens,
    not_blank,
)

END_OF_TEXT = "<|endoftext|>"


class BpeConfig(BaseModel):
    """Settings of a byte-level BPE."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    vocab_size: Annotated[int, Field(gt=0, le=MAX_VOCAB_SIZE)] = 8192
    """Number of ids, including special tokens and the 256 bytes."""
    min_frequency: Annotated[int, Field(gt=0, le=MAX_FREQUENCY)] = 2
    """Number of occurrences that a pair needs to be merged."""
    special_tokens: tuple[str, ...] = (END_OF_TEXT,)
    """Special tokens with the ids 0, 1, 2 and so on. Tokens with conventional names become bos, eos and pad."""
    split_digits: bool = False
    """Whether each digit is a token of its own."""
    max_token_length: Annotated[int, Field(ge=2, le=MAX_FREQUENCY)] | None = None
    """Largest number of characters of a token; None for no limit."""

    @model_validator(mode="after")
    def _check(self) -> "BpeConfig":
        if self.vocab_size < self.smallest(self.special_tokens):
            raise ValueError(
                f"vocab_size {self.vocab_size} is below the 256 bytes and {len(self.special_tokens)} special_tokens"
            )
        check_special_tokens(self.special_tokens)
        return self

    @staticmethod
    def smallest(special_tokens: tuple[str, ...]) -> int:
        """Returns the vocabulary size without merges."""
        return 256 + len(special_tokens)


def train_bpe(texts: Iterable[str], config: BpeConfig, name: str = "bpe") -> HuggingFaceTokenizer:
    """Trains a byte-level BPE on texts.

    >>> trained = train_bpe(["low lower lowest"] * 9, BpeConfig(vocab_size=262))
    >>> [trained.decode([number]) for number in trained.encode("lowest")]
    ['low', 'e', 'st']

    Args:
        texts: The training texts.
        config: The settings.
        name: Name of the tokenizer for messages.

    Raises:
        TokenkitError: No text has a visible character.
    """
    texts = not_blank(texts)
    engine = tokenizers.Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if config.split_digits else []
    engine.pre_tokenizer = pre_tokenizers.Sequence([*digits, byte_level]) if digits else byte_level
    engine.decoder = decoders.ByteLevel()
    length: dict[str, Any] = {} if config.max_token_length is None else {"max_token_length": config.max_token_length}
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=list(config.special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        **length,
    )
    engine.train_from_iterator(texts, trainer)
    # Roles go to the first special token with a conventional name.
    ends = (END_OF_TEXT, "</s>", "<eos>", "<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>")
    end = next((text for text in ends if text in config.special_tokens), None)
    begin = next((text for text in ("<s>", "<bos>") if text in config.special_tokens), None)
    pad = next((text for text in ("<pad>", "<|pad|>") if text in config.special_tokens), None)
    files = {
        TOKENIZER_FILE: (engine.to_str() + "\n").encode(),
        CONFIG_FILE: config_file({"bos": begin, "eos": end, "pad": pad, "unk": None}),
    }
    return HuggingFaceTokenizer.from_files(files, name)
