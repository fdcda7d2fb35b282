"""Checks D10 to D16: special tokens."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import tokenizers

from lazarus_tokenkit.checks.tokenizer_files import Finding, TokenizerFiles

ROLES = ("bos", "eos", "pad", "unk")


def check(files: TokenizerFiles) -> Iterator[Finding]:
    """Yields the findings of D10 to D16."""
    if files.engine is None:
        return
    yield from _roles(files, files.engine)
    yield from _eos_ids(files, files.engine)
    yield from _entries(files, files.engine)
    yield from _injection(files)


def _roles(files: TokenizerFiles, engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    texts = {role: files.role(role) for role in ROLES}
    if files.tokenizer is not None:  # roles by convention, if no file names a role
        named = {number: text for text, number in files.tokenizer.special_tokens.items()}
        for role in ROLES:
            texts[role] = texts[role] or named.get(getattr(files.tokenizer, f"{role}_id"))
    ids = {role: None if text is None else engine.token_to_id(text) for role, text in texts.items()}
    special = {number for number, token in engine.get_added_tokens_decoder().items() if token.special}
    if texts["pad"] is None:
        yield Finding("D10", "warning", "there is no pad token; a substitute may carry loss")
    elif texts["pad"] == texts["eos"]:
        yield Finding(
            "D10", "warning", f"pad is eos ({texts['pad']!r}): a trainer that masks pad also masks the end of answers"
        )
    elif ids["pad"] is not None and ids["pad"] not in special:
        yield Finding(
            "D10", "error", f"pad ({texts['pad']!r}) is an ordinary token: text that contains it would be masked"
        )
    if texts["eos"] is None:
        yield Finding("D11", "error", "there is no eos token: generation cannot stop")
    for role, text in texts.items():
        if text is None or role == "unk":
            continue
        found = engine.encode(text, add_special_tokens=False).ids
        if ids[role] is None:
            yield Finding("D13", "error", f"{role} ({text!r}) is not in the vocabulary", f"it is encoded as {found}")
        elif found != [ids[role]]:
            yield Finding(
                "D13", "error", f"{role} ({text!r}) is not encoded as one token", f"{found} instead of [{ids[role]}]"
            )
        elif role != "pad" and ids[role] not in special:
            yield Finding(
                "D14", "warning", f"{role} ({text!r}) is not marked special: decoding without special tokens keeps it"
            )
    if texts["unk"] is not None:
        same = [role for role in ("pad", "bos", "eos") if texts[role] == texts["unk"]]
        if same:
            yield Finding("D15", "warning", f"unk is {same[0]} ({texts['unk']!r}): unknown characters become {same[0]}")


def _eos_ids(files: TokenizerFiles, engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    text = files.role("eos")
    own = None if text is None else engine.token_to_id(text)
    declared_ids = {"config.json": _ids(files.model_config), "generation_config.json": _ids(files.generation_config)}
    different = {name: ids for name, ids in declared_ids.items() if ids and own is not None and own not in ids}
    if different:
        evidence = ", ".join(f"{name} {ids}" for name, ids in different.items())
        yield Finding("D12", "warning", f"eos is {own} in the tokenizer and different in the model's files", evidence)


def _ids(members: dict[str, Any]) -> list[int]:
    value = members.get("eos_token_id")
    return value if isinstance(value, list) else [] if value is None else [value]  # type: ignore[no-any-return]


def _entries(files: TokenizerFiles, engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    contents = Counter(token.get("content") for token in files.added_tokens)
    for text, count in contents.items():
        if count > 1:
            yield Finding("D13", "error", f"{text!r} has {count} entries in added_tokens")
    for token in files.added_tokens:
        text, number = token.get("content"), token.get("id")
        if isinstance(text, str) and text in files.vocab and files.vocab[text] != number:
            yield Finding("D13", "error", f"{text!r} has two ids", f"{number} added, {files.vocab[text]} in the model")
        if not token.get("special"):
            continue
        odd = [flag for flag in ("lstrip", "rstrip", "normalized", "single_word") if token.get(flag)]
        if odd and not (odd == ["lstrip"] and "mask" in str(text)):
            yield Finding("D14", "warning", f"special token {text!r} has {', '.join(odd)}: adjacent text affects it")
    for number, token in engine.get_added_tokens_decoder().items():
        if token.special and engine.encode(f"a{token.content}a", add_special_tokens=False).ids.count(number) != 1:
            yield Finding("D13", "error", f"special token {token.content!r} is not found inside text")


def _injection(files: TokenizerFiles) -> Iterator[Finding]:
    tokenizer = files.tokenizer
    if tokenizer is None or not tokenizer.special_tokens:
        return
    leaking = [
        text
        for text, number in tokenizer.special_tokens.items()
        # unk is correct if the vocabulary lacks a character of the text.
        if number != tokenizer.unk_id and number in tokenizer.encode(text, parse_special=False)
    ]
    if leaking:
        yield Finding(
            "D16",
            "error",
            f"the text {leaking[0]!r} becomes the special token even when it is encoded literally",
            f"{len(leaking)} of {len(tokenizer.special_tokens)} special tokens",
        )
    else:
        text = next(iter(tokenizer.special_tokens))
        message = f"text such as {text!r} becomes a special token unless it is encoded literally, as Encoder does"
        yield Finding("D16", "information", message)
