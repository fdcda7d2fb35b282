import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lazarus_tokenkit import load_tokenizer
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.tokenizers.engines import (
    UnsuitableEngine,
    build_engine,
    check_engine,
    choose_engine,
    is_installed,
    reference_engine,
)
from lazarus_tokenkit.tokenizers.ids import id_array
from suite import thinned

TEXTS = ["hello world", "", "<|endoftext|> a", "  \n\t caf\u00e9 \u4f60\u597d 12345", "don't <s> x</s>"]


def needs(name: str) -> None:
    if not is_installed(name):
        pytest.skip(f"engine {name} is not installed")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("gigatoken", "gpt2"),
        ("gigatoken", "llama2"),
        ("tiktoken", "gpt2"),
        ("sentencepiece", "llama2"),
        ("sentencepiece", "tok512/tokenizer.model"),
    ],
)
def test_engines_give_the_ids_of_the_reference(real_data: Path, fuzz_texts: list[str], name: str, source: str):
    needs(name)
    tokenizer = load_tokenizer(real_data / "tokenizers" / source)
    check_engine(build_engine(tokenizer, name), tokenizer, [*TEXTS, *fuzz_texts[:2000]])


@pytest.mark.slow
@pytest.mark.parametrize("encoding", thinned(["r50k_base", "cl100k_base", "o200k_base"], ["r50k_base"]))
def test_tiktoken_serves_its_own_encodings(
    real_data: Path, fuzz_texts: list[str], monkeypatch: pytest.MonkeyPatch, encoding: str
):
    needs("tiktoken")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(real_data / "tokenizers" / "tiktoken"))
    tokenizer = load_tokenizer(encoding)
    check_engine(build_engine(tokenizer, "tiktoken"), tokenizer, [*TEXTS, *fuzz_texts[:2000]])


def test_an_engine_that_differs_is_not_used_and_that_is_said(
    build: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from lazarus_tokenkit.tokenizers import engines

    monkeypatch.setattr(engines, "is_installed", lambda name: True)
    monkeypatch.setattr(engines, "_versioned", lambda name: f"{name} 1")
    monkeypatch.setitem(engines._BUILDERS, "gigatoken", lambda tokenizer: lambda texts: [id_array([7]) for _ in texts])
    tokenizer = build()
    with caplog.at_level(logging.WARNING):
        engine = choose_engine(tokenizer, "gigatoken", TEXTS)
    assert engine.encode_batch(TEXTS) == list(map(id_array, tokenizer.encode_batch(TEXTS)))
    assert "gives other ids for 'hello world'; using the reference" in caplog.text


def test_an_engine_asked_for_must_be_installed(build: Any, monkeypatch: pytest.MonkeyPatch):
    from lazarus_tokenkit.tokenizers import engines

    monkeypatch.setattr(engines, "is_installed", lambda name: False)
    with pytest.raises(TokenkitError, match=r"install lazarus-tokenkit\[fast\]"):
        choose_engine(build(), "gigatoken", TEXTS)
    assert choose_engine(build(), "auto", TEXTS).name.startswith("tokenizers")


@pytest.mark.parametrize("name", ["tiktoken", "sentencepiece"])
def test_an_engine_that_cannot_be_built_says_why(name: str):
    needs(name)
    with pytest.raises(UnsuitableEngine, match=r"pre-tokenizer|no tokenizer\.model"):
        build_engine(load_tokenizer("char:"), name)


def test_a_comparison_that_was_passed_is_remembered_by_tokenizer_and_version(
    build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from lazarus_tokenkit.tokenizers import engines

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(engines, "NUM_CHECKED", len(TEXTS))
    monkeypatch.setattr(engines, "is_installed", lambda name: True)
    monkeypatch.setattr(engines, "_versioned", lambda name: f"{name} 1")
    tokenizer, calls = build(), []
    monkeypatch.setitem(engines._BUILDERS, "gigatoken", lambda tokenizer: reference_engine(tokenizer).encode_batch)
    check = engines.check_engine
    monkeypatch.setattr(engines, "check_engine", lambda *args: (calls.append(1), check(*args)))
    for fingerprint in ("a" * 64, "a" * 64, "b" * 64):
        choose_engine(tokenizer, "gigatoken", TEXTS, fingerprint)
    assert len(calls) == 2


def test_an_engine_stays_open_for_the_next_data(build: Any, monkeypatch: pytest.MonkeyPatch):
    from lazarus_tokenkit.tokenizers import engines

    monkeypatch.setattr(engines, "is_installed", lambda name: True)
    monkeypatch.setattr(engines, "_versioned", lambda name: f"{name} 1")
    monkeypatch.setitem(engines._BUILDERS, "gigatoken", lambda tokenizer: reference_engine(tokenizer).encode_batch)
    first, second = build(), build()
    assert choose_engine(first, "gigatoken", TEXTS) is choose_engine(first, "gigatoken", TEXTS)
    assert choose_engine(second, "gigatoken", TEXTS) is not choose_engine(first, "gigatoken", TEXTS)


@pytest.mark.slow
def test_gigatoken_encodes_without_loading_awkward():
    needs("gigatoken")
    code = (
        "import sys; from lazarus_tokenkit import load_tokenizer; from lazarus_tokenkit.tokenizers.engines import build_engine\n"
        "engine = build_engine(load_tokenizer('byte'), 'gigatoken')\n"
        "print(*map(list, engine.encode_batch(['a', ''])), 'awkward' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[97] [] False\n"


def test_one_long_text_does_not_make_all_others_as_wide(build: Any, monkeypatch: pytest.MonkeyPatch):
    """gigatoken's matrix has a row for each text, as wide as the longest."""
    needs("gigatoken")
    from lazarus_tokenkit.tokenizers import engines

    tokenizer = load_tokenizer("byte")
    engine = build_engine(tokenizer, "gigatoken")
    texts = ["a" * size for size in (1, 900, 0, 7, 100, 2)]
    made: list[int] = []
    frombytes = engines.ids_in

    def watched(content: Any) -> Any:
        found = frombytes(content)
        made.append(len(found))
        return found

    monkeypatch.setattr(engines, "ids_in", watched)
    monkeypatch.setattr(engines, "MATRIX_IDS", 1000)
    assert list(map(list, engine.encode_batch(texts))) == tokenizer.encode_batch(texts)
    assert max(made) <= 1000 and len(made) > 1
