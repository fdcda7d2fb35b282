"""D10 to D16: the tokens that are no text."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import tokenizers

from lazarus_tokenkit.checks.tokenizer_files import Finding, Patient

ROLES = ("bos", "eos", "pad", "unk")


def check(patient: Patient) -> Iterator[Finding]:
    """What was found."""
    if patient.engine is None:
        return
    yield from _roles(patient, patient.engine)
    yield from _eos_ids(patient, patient.engine)
    yield from _entries(patient, patient.engine)
    yield from _injection(patient)


def _roles(patient: Patient, engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    texts = {role: patient.role(role) for role in ROLES}
    if patient.tokenizer is not None:  # conventional names, where no file names any
        named = {number: text for text, number in patient.tokenizer.special_tokens.items()}
        for role in ROLES:
            texts[role] = texts[role] or named.get(getattr(patient.tokenizer, f"{role}_id"))
    ids = {role: None if text is None else engine.token_to_id(text) for role, text in texts.items()}
    special = {number for number, token in engine.get_added_tokens_decoder().items() if token.special}
    if texts["pad"] is None:
        yield Finding("D10", "warning", "there is no pad token; a stand-in may take part in the loss")
    elif texts["pad"] == texts["eos"]:
        yield Finding(
            "D10", "warning", f"pad is eos ({texts['pad']!r}): where pads carry no loss, no answer learns to end"
        )
    elif ids["pad"] is not None and ids["pad"] not in special:
        yield Finding(
            "D10", "error", f"pad ({texts['pad']!r}) is an ordinary token: text that holds it would be masked"
        )
    if texts["eos"] is None:
        yield Finding("D11", "error", "there is no eos token: nothing ends a text")
    for role, text in texts.items():
        if text is None or role == "unk":
            continue
        found = engine.encode(text, add_special_tokens=False).ids
        if ids[role] is None:
            yield Finding("D13", "error", f"{role} ({text!r}) is in no vocabulary", f"it would be spelled {found}")
        elif found != [ids[role]]:
            yield Finding(
                "D13", "error", f"{role} ({text!r}) is not encoded as itself", f"{found} instead of [{ids[role]}]"
            )
        elif role != "pad" and ids[role] not in special:
            yield Finding(
                "D14", "warning", f"{role} ({text!r}) is not marked special: it stays when special tokens are left out"
            )
    if texts["unk"] is not None:
        same = [role for role in ("pad", "bos", "eos") if texts[role] == texts["unk"]]
        if same:
            yield Finding("D15", "warning", f"unk is {same[0]} ({texts['unk']!r}): unknown characters look like it")


def _eos_ids(patient: Patient, engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    text = patient.role("eos")
    own = None if text is None else engine.token_to_id(text)
    told = {"config.json": _ids(patient.model_config), "generation_config.json": _ids(patient.generation_config)}
    different = {name: ids for name, ids in told.items() if ids and own is not None and own not in ids}
    if different:
        evidence = ", ".join(f"{name} {ids}" for name, ids in different.items())
        yield Finding("D12", "warning", f"eos is {own} here and another elsewhere", evidence)


def _ids(members: dict[str, Any]) -> list[int]:
    value = members.get("eos_token_id")
    return value if isinstance(value, list) else [] if value is None else [value]  # type: ignore[no-any-return]


def _entries(patient: Patient, engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    contents = Counter(token.get("content") for token in patient.added_tokens)
    for text, count in contents.items():
        if count > 1:
            yield Finding("D13", "error", f"{text!r} has {count} entries in added_tokens")
    for token in patient.added_tokens:
        text, number = token.get("content"), token.get("id")
        if isinstance(text, str) and text in patient.vocab and patient.vocab[text] != number:
            yield Finding(
                "D13", "error", f"{text!r} has two ids", f"{number} added, {patient.vocab[text]} in the model"
            )
        if not token.get("special"):
            continue
        odd = [flag for flag in ("lstrip", "rstrip", "normalized", "single_word") if token.get(flag)]
        if odd and not (odd == ["lstrip"] and "mask" in str(text)):
            yield Finding(
                "D14", "warning", f"special token {text!r} has {', '.join(odd)}: text beside it changes what it is"
            )
    for number, token in engine.get_added_tokens_decoder().items():
        if token.special and engine.encode(f"a{token.content}a", add_special_tokens=False).ids.count(number) != 1:
            yield Finding("D13", "error", f"special token {token.content!r} is not found inside text")


def _injection(patient: Patient) -> Iterator[Finding]:
    tokenizer = patient.tokenizer
    if tokenizer is None or not tokenizer.special_tokens:
        return
    leaking = [
        text
        for text, number in tokenizer.special_tokens.items()
        # Where a character of its text is unknown, unk is right.
        if number != tokenizer.unk_id and number in tokenizer.encode(text, parse_special=False)
    ]
    if leaking:
        yield Finding(
            "D16",
            "error",
            f"the written text of {leaking[0]!r} becomes the token even where it is to stay text",
            f"{len(leaking)} of {len(tokenizer.special_tokens)} special tokens",
        )
    else:
        text = next(iter(tokenizer.special_tokens))
        words = f"written text such as {text!r} becomes a control token unless it is encoded literally, as Encoder does"
        yield Finding("D16", "information", words)
