"""Repairs that cannot change what a model has learnt, into a new directory, each shown as a difference.

Only these: random merges, truncation and padding switched off; decoded text left alone; a pad token of its own, reserved
or new; roles marked special; a chat template of the registry where exactly one fits the special tokens and eos ends
its turns.
"""

import copy
import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazarus_core.atomic import whole_folder
from lazarus_core.outputs import check_folder
from lazarus_tokenkit.checks.chat import suggestions
from lazarus_tokenkit.checks.tokenizer_files import Patient
from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.templates.registry import REGISTRY
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, ROLES, TOKENIZER_FILE, conventional_role
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

JSON = dict[str, Any]
RESERVED_PADS = ("<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<|reserved_special_token_0|>")
NEW_PAD = "<|pad|>"
FIXABLE = frozenset({"D10", "D14", "D33", "D34", "D35", "D40"})
"""Checks some of whose findings can be repaired."""


@dataclass(frozen=True)
class Repair:
    """What was repaired.

    Args:
        steps: In words, with the number of the check.
        diff: Unified differences of the files, without the vocabulary.
        files: The repaired files.
        new_rows: Rows that the embedding must have, where the vocabulary grew.
    """

    steps: tuple[str, ...]
    diff: str
    files: dict[str, bytes]
    new_rows: int | None


def repair(patient: Patient) -> Repair:
    """Repairs what is safe; the files come back even if nothing was.

    Raises:
        TokenizerError: `tokenizer.json` cannot be read at all.
    """
    if patient.engine is None:
        raise TokenizerError(f"`{patient.name}` cannot be repaired: {TOKENIZER_FILE} does not open", "LT-E117")
    file, config = copy.deepcopy(patient.file), copy.deepcopy(patient.config)
    steps = [*_switches(file, config), *_special_roles(patient, file)]
    pad_steps, new_rows = _own_pad(patient, file, config)
    steps += pad_steps
    files = dict(patient.files) | {TOKENIZER_FILE: _dump(file), CONFIG_FILE: _dump(config)}
    if not config.get("chat_template") and "chat_template.jinja" not in files:
        fitting = suggestions(HuggingFaceTokenizer.from_files(files, patient.name))
        # A template whose turns end otherwise than texts would make generation run on.
        if len(fitting) == 1 and REGISTRY[fitting[0]].end_of_turn == patient.role("eos"):
            config["chat_template"] = REGISTRY[fitting[0]].source
            files[CONFIG_FILE] = _dump(config)
            steps.append(f"D40: chat template `{fitting[0]}`, the only one whose special tokens are there")
    return Repair(tuple(steps), _difference(patient, file, config), files, new_rows)


def write_repair(found: Repair, directory: Path) -> None:
    """Writes the files into a new folder, which appears as a whole.

    Raises:
        OutputTaken: There is something already.
    """
    check_folder(directory, "a repaired copy", code="LT-E118")
    with whole_folder(directory) as folder:
        for name, content in found.files.items():
            (folder / name).write_bytes(content)


def _switches(file: JSON, config: JSON) -> list[str]:
    steps: list[str] = []
    if file["model"].get("dropout"):
        file["model"]["dropout"] = None
        steps.append("D34: dropout off")
    for member in ("truncation", "padding"):
        if file.get(member):
            file[member] = None
            steps.append(f"D35: {member} off")
    if config.get("clean_up_tokenization_spaces") is True:
        config["clean_up_tokenization_spaces"] = False
        steps.append("D33: decoded text left as it is")
    return steps


def _special_roles(patient: Patient, file: JSON) -> list[str]:
    steps: list[str] = []
    for role in ("bos", "eos"):
        text = patient.role(role)
        for token in _added(file):
            if token.get("content") == text and not token.get("special"):
                token["special"] = True
                steps.append(f"D14: {role} {text!r} marked special")
    return steps


def _added(file: JSON) -> list[JSON]:
    return file.get("added_tokens") or []


def _own_pad(patient: Patient, file: JSON, config: JSON) -> tuple[list[str], int | None]:
    pad, eos = patient.role("pad"), patient.role("eos")
    if pad is not None and pad != eos:
        return [], None
    special = {token["content"] for token in _added(file) if token.get("special")}
    named = patient.config.keys() | patient.special_tokens_map.keys()
    if not named & {f"{role}_token" for role in ROLES}:  # once one is named, nothing goes by convention any more
        held = {role: conventional_role(role, special) for role in ("bos", "eos")}
        config |= {f"{role}_token": text for role, text in held.items() if text is not None}
    reserved = next((text for text in RESERVED_PADS if text in special), None)
    if reserved is not None:
        config["pad_token"] = reserved
        return [f"D10: pad is {reserved!r}, reserved already"], None
    taken = set(patient.vocab.values()) | {token["id"] for token in patient.added_tokens}
    number = max(taken) + 1
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    file["added_tokens"] = [*_added(file), {"id": number, "content": NEW_PAD} | flags]
    config["pad_token"] = NEW_PAD
    rows = patient.model_config.get("vocab_size")
    grows = not isinstance(rows, int) or number >= rows
    return [f"D10: pad is {NEW_PAD!r}, new, id {number}"], number + 1 if grows else None


def _difference(patient: Patient, file: JSON, config: JSON) -> str:
    pairs = ((TOKENIZER_FILE, _shown(patient.file), _shown(file)), (CONFIG_FILE, patient.config, config))
    lines: list[str] = []
    for name, before, after in pairs:
        old, new = (json.dumps(each, indent=2, ensure_ascii=False).splitlines() for each in (before, after))
        lines += difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm="", n=1)
    return "\n".join(lines)


def _shown(file: JSON) -> JSON:
    """The file without its tables."""
    model = {key: value for key, value in file.get("model", {}).items() if key not in ("vocab", "merges")}
    return file | {"model": model}


def _dump(members: JSON) -> bytes:
    return (json.dumps(members, indent=2, ensure_ascii=False) + "\n").encode()
