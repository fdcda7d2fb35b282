import copy
import json
import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lazarus_tokenkit.__main__ import main
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from suite import repeats

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


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


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


_PLANES = [
    (0x20, 0x7E),
    (0x20, 0x7E),
    (0xA0, 0x17F),
    (0x300, 0x36F),
    (0x370, 0x5FF),
    (0x900, 0x9FF),
    (0x2000, 0x206F),
    (0x3040, 0x30FF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0x1F300, 0x1FAFF),
    (0xE000, 0xE0FF),
    (0x1D400, 0x1D7FF),
    (0x00, 0x1F),
    (0xFF00, 0xFFEF),
]
_WORDS = [
    "the",
    "and",
    "of",
    "I'm",
    "DON'T",
    "it's",
    "'re",
    "'\u017f",
    "hello",
    "World",
    "1234567",
    "3.14",
    "\n\n",
    "\t",
    "\r\n",
    "\xa0",
    "\u3000",
    "...",
    "??",
    "//",
    "def",
    "foo(x):",
    "<|endoftext|>",
    "<s>",
    "▁",
    "</s>",
    "<0x0A>",
    "aaaaaaa",
    "hhhh",
]


@pytest.fixture(scope="session")
def fuzz_texts() -> list[str]:
    """10,000 texts (2,000 in the default run) that find differences between tokenizers: words, spaces, digits, scripts, marks, any code point."""
    chance = random.Random(0)

    def part() -> str:
        match chance.randrange(10):
            case 0 | 1 | 2 | 3 | 4:
                return chance.choice(_WORDS) + " " * chance.choice([0, 1, 1, 1, 2, 3])
            case 5 | 6:
                return "".join(chr(chance.randint(*chance.choice(_PLANES))) for _ in range(chance.randint(1, 6)))
            case 7:
                return chance.choice(" \n\t\r\u2581a0") * chance.randint(1, 9)
            case 8:
                points = (chance.randrange(0x110000) for _ in range(3))
                return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)
            case _:
                return str(chance.randrange(10 ** chance.randint(1, 12)))

    return ["".join(part() for _ in range(chance.randint(0, 12))) for _ in range(repeats(10_000, 2000))]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command line as the console script does: exit code, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["lazarus-tokenkit", *words])
        with pytest.raises(SystemExit) as exit_:
            main()
        shown = capsys.readouterr()
        return int(exit_.value.code or 0), shown.out, shown.err

    return call
