"""The cache of OpenAI's encodings: a conversion equals its source, and damage or other content is never used."""

import functools
import hashlib
import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import compute_fingerprint, load_tokenizer
from lazarus_tokenkit.tokenizers.backends import converted
from lazarus_tokenkit.tokenizers.backends import tiktoken as encodings

Ranks = dict[bytes, int]
RANKS = hashlib.sha1(encodings.URL.format("r50k_base").encode()).hexdigest()


def merged(piece: bytes, ranks: Ranks, pairs: set[tuple[bytes, bytes]] | None = None) -> list[bytes]:
    """tiktoken's merge loop: the leftmost pair of the lowest rank first; with `pairs`, only those may merge."""
    parts = [piece[at : at + 1] for at in range(len(piece))]
    while True:
        found = [
            (ranks[left + right], at)
            for at, (left, right) in enumerate(itertools.pairwise(parts))
            if left + right in ranks and (pairs is None or (left, right) in pairs)
        ]
        if not found:
            return parts
        at = min(found)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@given(
    st.lists(st.text("abc", min_size=2, max_size=6), unique=True, max_size=14),
    st.lists(st.text("abc", max_size=20), max_size=8),
)
def test_the_reached_merges_make_what_all_splits_make(tokens: list[str], texts: list[str]):
    ranks: Ranks = {text.encode(): number for number, text in enumerate(["a", "b", "c", *tokens])}
    pairs = set(encodings.reached_merges(ranks))
    assert pairs <= set(encodings.merges_of(ranks))
    for text in texts:
        assert merged(text.encode(), ranks, pairs) == merged(text.encode(), ranks)


@pytest.fixture
def fresh(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, with the rank files of the real data; the folder of the cached r50k_base."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(real_data / "tokenizers" / "tiktoken"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoding = encodings.ENCODINGS["r50k_base"]
    return tmp_path / f"lazarus/encodings/r50k_base-{encoding.sha256[:16]}-v{converted.VERSION}"


@pytest.mark.slow
@pytest.mark.thorough
def test_a_kept_conversion_is_the_tokenizer_that_was_converted(
    fresh: Path, real_data: Path, fuzz_texts: list[str], monkeypatch: pytest.MonkeyPatch
):
    made = load_tokenizer("gpt2")
    assert sorted(path.name for path in fresh.iterdir()) == sorted([*converted.FILES, converted.DIGESTS])
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")  # the rank file is not needed any more
    kept = load_tokenizer("gpt2")
    assert kept.vocab == made.vocab and kept.vocab_size == made.vocab_size
    assert compute_fingerprint(kept) == compute_fingerprint(made)
    assert kept.encode_batch(fuzz_texts) == made.encode_batch(fuzz_texts)
    read = functools.partial(converted.read, "r50k_base", encodings.ENCODINGS["r50k_base"].sha256, "gpt2")
    for name in converted.FILES:
        whole = (fresh / name).read_bytes()
        (fresh / name).write_bytes(whole[:-2] + b" }")
        assert read() is None
        (fresh / name).write_bytes(whole)
    (fresh / converted.DIGESTS).write_text("{")
    assert read() is None
    load_tokenizer(real_data / "tokenizers/tiktoken" / RANKS)
    assert read() is not None, "a damaged conversion is replaced"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a folder `served`, by HTTP on this machine."""
    (tmp_path / "served").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def test_a_download_is_kept_if_its_content_is_the_published_one(
    server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    content = b"IQ== 0\n" * 1000
    (tmp_path / "served/some.tiktoken").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    path = converted.download(f"{server}/some.tiktoken", digest, tmp_path / "cache/deep/some.tiktoken")
    assert path.read_bytes() == content
    assert "downloaded" in caplog.text and str(path) in caplog.text
    other = tmp_path / "cache/other.tiktoken"
    with pytest.raises(OSError, match=rf"sha256 {digest[:16]}\.\. instead of 0000"):
        converted.download(f"{server}/some.tiktoken", "0" * 64, other)
    with pytest.raises(OSError, match="404"):
        converted.download(f"{server}/none.tiktoken", digest, other)
    assert not other.exists()


def test_a_download_has_a_bound(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = b"x" * 2000
    (tmp_path / "served/large.tiktoken").write_bytes(content)
    monkeypatch.setattr(converted, "MAX_DOWNLOAD_BYTES", 1000)
    with pytest.raises(OSError, match="larger than 1,000 bytes"):
        converted.download(f"{server}/large.tiktoken", hashlib.sha256(content).hexdigest(), tmp_path / "large")
