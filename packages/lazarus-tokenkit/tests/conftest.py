import copy
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lazarus_tokenkit.backends.huggingface import HuggingFaceTokenizer

REPOSITORY = Path(__file__).resolve().parents[3]
CORPUS = [
    "she sells sea shells on the sea shore",
    "the shells she sells are surely seashells",
    "hello world 123 456",
] * 20


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = Path(os.environ.get("LAZARUS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set LAZARUS_TEST_DATA)")
    return folder


@cache
def _small_file() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer.to_str()


@pytest.fixture
def small_file() -> dict[str, Any]:
    """A parsed `tokenizer.json` of a few dozen real merges; edit it freely."""
    return copy.deepcopy(json.loads(_small_file()))


Build = Callable[..., HuggingFaceTokenizer]


@pytest.fixture
def build(small_file: dict[str, Any]) -> Build:
    """Builds the small tokenizer with another config or another file."""

    def build(config: dict[str, Any] | None = None, file: dict[str, Any] | None = None) -> HuggingFaceTokenizer:
        members = {"bos_token": "<s>", "eos_token": "</s>"} if config is None else config
        files = {"tokenizer.json": file or small_file, "tokenizer_config.json": members}
        return HuggingFaceTokenizer.from_files(
            {name: json.dumps(file).encode() for name, file in files.items()}, "small"
        )

    return build
