"""D20 to D24: ids and pieces."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from lazarus_tokenkit.checks.tokenizer_files import Finding, Patient
from lazarus_tokenkit.tokenizers.backends.alphabet import byte_alphabet
from lazarus_tokenkit.tokenizers.backends.structure import tokenizer_structure

MAX_UNREACHABLE = 0
"""Tokens that may be out of reach of the merges; the tokenizers in use have none beyond those they added."""


def check(patient: Patient) -> Iterator[Finding]:
    """What was found."""
    if not patient.file or not isinstance(patient.file.get("model"), dict):
        return
    added = {token["id"]: token.get("content") for token in patient.added_tokens if isinstance(token.get("id"), int)}
    ids = set(patient.vocab.values()) | set(added)
    if not ids:
        return
    yield from _rows(patient, ids)
    yield from _collisions(patient, added)
    yield from _alphabet(patient)
    yield from _merges(patient, added)


def _rows(patient: Patient, ids: set[int]) -> Iterator[Finding]:
    rows = patient.model_config.get("vocab_size") or patient.model_config.get("text_config", {}).get("vocab_size")
    largest = max(ids)
    if isinstance(rows, int) and largest >= rows:
        evidence = f"largest id {largest}, vocab_size {rows} in config.json"
        yield Finding(
            "D20", "error", f"{sum(number >= rows for number in ids)} ids have no row in the embedding", evidence
        )
    elif isinstance(rows, int) and largest + 1 < rows:
        yield Finding("D20", "information", f"{rows - largest - 1} rows of the embedding have no id: padding")
    if gaps := largest + 1 - len(ids):
        first = next(number for number in range(largest) if number not in ids)
        yield Finding("D21", "information", f"{gaps} ids below {largest + 1} have no piece", f"first {first}")


def _collisions(patient: Patient, added: dict[int, Any]) -> Iterator[Finding]:
    owners = Counter(patient.vocab.values())
    taken = [number for number, count in owners.items() if count > 1]
    pieces = {number: piece for piece, number in patient.vocab.items()}
    taken += [number for number, text in added.items() if number in pieces and pieces[number] != text]
    if taken:
        yield Finding("D22", "error", f"{len(taken)} ids belong to two pieces", f"first {min(taken)}")
    if patient.tokenizer is not None:
        contents = Counter(content for content in patient.tokenizer.token_bytes.values() if content)
        twice = [content for content, count in contents.items() if count > 1]
        if len(twice) > 256 or (twice and "ByteFallback" not in str(patient.file.get("decoder"))):
            shown = min(twice).decode(errors="backslashreplace")
            yield Finding("D22", "warning", f"{len(twice)} texts are spelled by two pieces", f"such as {shown!r}")


def _alphabet(patient: Patient) -> Iterator[Finding]:
    model = patient.file["model"]
    kinds = str(patient.file.get("pre_tokenizer")) + str(patient.file.get("decoder"))
    if "ByteLevel" in kinds:
        missing = [letter for letter in byte_alphabet() if letter not in patient.vocab]
        words = "bytes have no piece: text that holds them is lost"
    elif model.get("byte_fallback"):
        missing = [f"<0x{byte:02X}>" for byte in range(256) if f"<0x{byte:02X}>" not in patient.vocab]
        words = "bytes have no piece: fallback fails for text that holds them"
    else:
        has_unk = model.get("unk_token") is not None or model.get("unk_id") is not None
        if not has_unk:
            yield Finding("D23", "error", "neither bytes nor an unknown token: what the vocabulary lacks is lost")
        return
    if missing:
        yield Finding("D23", "error", f"{len(missing)} {words}", f"such as {missing[0]!r}")


def _merges(patient: Patient, added: dict[int, Any]) -> Iterator[Finding]:
    if patient.file["model"].get("type", "BPE") != "BPE" or "merges" not in patient.file["model"]:
        return
    vocab = patient.vocab
    merges: list[list[str]] = tokenizer_structure(patient.file)["merges"]
    broken = [pair for pair in merges if len(pair) != 2 or any(part not in vocab for part in (*pair, "".join(pair)))]
    if broken:
        yield Finding("D24", "error", f"{len(broken)} merges name pieces that there are not", f"first {broken[0]}")
    twice = [pair for pair, count in Counter(map(tuple, merges)).items() if count > 1]
    if twice:
        yield Finding("D24", "warning", f"{len(twice)} merges stand twice; the later counts", f"first {list(twice[0])}")
    if patient.file["model"].get("ignore_merges"):
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
            f"{len(unreachable)} pieces are out of reach: no merge makes them",
            f"such as {unreachable[0]!r}",
        )
