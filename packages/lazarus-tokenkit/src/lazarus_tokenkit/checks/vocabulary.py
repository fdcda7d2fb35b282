"""Checks D20 to D25: ids and pieces."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from lazarus_tokenkit.checks.tokenizer_files import Finding, TokenizerFiles
from lazarus_tokenkit.tokenizers.backends.alphabet import byte_alphabet
from lazarus_tokenkit.tokenizers.backends.structure import tokenizer_structure

MAX_UNREACHABLE = 0
"""Accepted number of pieces that no merge creates. Published tokenizers have none except their added tokens."""

_RARE_BYTES = {*range(0x20), 0x7F, 0xC0, 0xC1, 0xF1, 0xF2, *range(0xF5, 0x100)} - set(b"\t\n\r")
"""Control characters other than tab and line ends, bytes that cannot occur in UTF-8, and the first bytes of U+40000 to U+BFFFF,
where Unicode has no characters."""


def check(files: TokenizerFiles) -> Iterator[Finding]:
    """Yields the findings of D20 to D25."""
    if not files.tokenizer_json or not isinstance(files.tokenizer_json.get("model"), dict):
        return
    added = {token["id"]: token.get("content") for token in files.added_tokens if isinstance(token.get("id"), int)}
    ids = set(files.vocab.values()) | set(added)
    if not ids:
        return
    yield from _rows(files, ids)
    yield from _collisions(files, added)
    yield from _engine(files)
    yield from _alphabet(files)
    yield from _merges(files, added)


def _rows(files: TokenizerFiles, ids: set[int]) -> Iterator[Finding]:
    rows = files.model_config.get("vocab_size") or files.model_config.get("text_config", {}).get("vocab_size")
    largest = max(ids)
    if isinstance(rows, int) and largest >= rows:
        evidence = f"largest id {largest}, vocab_size {rows} in config.json"
        yield Finding(
            "D20", "error", f"{sum(number >= rows for number in ids)} ids have no row in the embedding", evidence
        )
    elif isinstance(rows, int) and largest + 1 < rows:
        yield Finding("D20", "information", f"{rows - largest - 1} rows of the embedding have no id; they are padding")
    if gaps := largest + 1 - len(ids):
        first = next(number for number in range(largest) if number not in ids)
        yield Finding("D21", "information", f"{gaps} ids below {largest + 1} have no piece", f"first {first}")


def _collisions(files: TokenizerFiles, added: dict[int, Any]) -> Iterator[Finding]:
    owners = Counter(files.vocab.values())
    taken = [number for number, count in owners.items() if count > 1]
    pieces = {number: piece for piece, number in files.vocab.items()}
    taken += [number for number, text in added.items() if number in pieces and pieces[number] != text]
    named = {
        (token["id"], str(token.get("content"))) for token in files.added_tokens if isinstance(token.get("id"), int)
    }
    taken += [number for number, count in Counter(number for number, _ in named).items() if count > 1]
    if taken:
        taken = sorted(set(taken))
        yield Finding("D22", "error", f"{len(taken)} ids have two pieces", f"first {min(taken)}")
    if files.tokenizer is not None:
        contents = Counter(content for content in files.tokenizer.token_bytes.values() if content)
        twice = [content for content, count in contents.items() if count > 1]
        if len(twice) > 256 or (twice and "ByteFallback" not in str(files.tokenizer_json.get("decoder"))):
            shown = min(twice).decode(errors="backslashreplace")
            yield Finding("D22", "warning", f"{len(twice)} texts have two pieces", f"such as {shown!r}")


def _engine(files: TokenizerFiles) -> Iterator[Finding]:
    """Compares the ids in the file with those of the engine, which numbers added tokens itself."""
    if files.engine is None:
        return
    written = files.vocab | {
        token["content"]: token["id"]
        for token in files.added_tokens
        if isinstance(token.get("id"), int) and isinstance(token.get("content"), str)
    }
    used = files.engine.get_vocab()
    wrong = sorted((number, piece) for piece, number in written.items() if used.get(piece) != number)
    if wrong:
        number, piece = wrong[0]
        yield Finding(
            "D25",
            "error",
            f"{len(wrong)} pieces have another id in the engine than in tokenizer.json",
            f"first {piece!r}: {number} in the file, {used.get(piece, 'none')} in the engine",
        )


def _alphabet(files: TokenizerFiles) -> Iterator[Finding]:
    model = files.tokenizer_json["model"]
    kinds = str(files.tokenizer_json.get("pre_tokenizer")) + str(files.tokenizer_json.get("decoder"))
    if "ByteLevel" in kinds:
        missing = {byte: letter for letter, byte in byte_alphabet().items() if letter not in files.vocab}
        effect = "bytes have no piece: text with these bytes is lost"
    elif model.get("byte_fallback"):
        pieces = {byte: f"<0x{byte:02X}>" for byte in range(256)}
        missing = {byte: piece for byte, piece in pieces.items() if piece not in files.vocab}
        effect = "bytes have no piece: byte fallback fails for text with these bytes"
    else:
        has_unk = model.get("unk_token") is not None or model.get("unk_id") is not None
        if not has_unk:
            yield Finding(
                "D23", "error", "there is neither byte fallback nor unk: characters outside the vocabulary are lost"
            )
        return
    if needed := [piece for byte, piece in missing.items() if byte not in _RARE_BYTES]:
        yield Finding("D23", "error", f"{len(missing)} {effect}", f"such as {needed[0]!r}")
    elif missing:
        named = " ".join(f"0x{byte:02X}" for byte in sorted(missing))
        yield Finding(
            "D23",
            "warning",
            f"{len(missing)} bytes have no piece: control characters, or bytes of no character in UTF-8",
            f"a text loses {named}",
        )


def _merges(files: TokenizerFiles, added: dict[int, Any]) -> Iterator[Finding]:
    if files.tokenizer_json["model"].get("type", "BPE") != "BPE" or "merges" not in files.tokenizer_json["model"]:
        return
    vocab = files.vocab
    merges: list[list[str]] = tokenizer_structure(files.tokenizer_json)["merges"]
    broken = [pair for pair in merges if len(pair) != 2 or any(part not in vocab for part in (*pair, "".join(pair)))]
    if broken:
        yield Finding("D24", "error", f"{len(broken)} merges have pieces outside the vocabulary", f"first {broken[0]}")
    twice = [pair for pair, count in Counter(map(tuple, merges)).items() if count > 1]
    if twice:
        yield Finding(
            "D24", "warning", f"{len(twice)} merges occur twice; the later one counts", f"first {' '.join(twice[0])}"
        )
    if files.tokenizer_json["model"].get("ignore_merges"):
        return
    made = {"".join(pair) for pair in merges}
    texts = set(added.values())
    unreachable = [
        piece
        for piece in vocab
        if len(piece) > 1 and piece not in made and piece not in texts and not piece.startswith(("<0x", "<"))
    ]
    if len(unreachable) > MAX_UNREACHABLE:
        yield Finding(
            "D24",
            "warning",
            f"{len(unreachable)} pieces are unreachable: no merge creates them",
            f"such as {unreachable[0]!r}",
        )
