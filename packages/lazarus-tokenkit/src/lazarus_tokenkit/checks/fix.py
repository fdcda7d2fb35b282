"""Writes a repaired copy of a tokenizer. Every repair is safe for a trained model and is shown as a diff.

The repairs: dropout, truncation and padding off; no clean-up of decoded text; a separate pad token, reserved or new;
bos and eos marked special; a registered chat template, if exactly one matches the special tokens and eos ends its turns.
"""

import copy
import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazarus_core.atomic import whole_folder
from lazarus_core.outputs import check_folder
from lazarus_tokenkit.checks.chat import fitting_templates
from lazarus_tokenkit.checks.tokenizer_files import TokenizerFiles
from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.templates.registry import REGISTRY
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, ROLES, TOKENIZER_FILE, conventional_role
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

JSON = dict[str, Any]
RESERVED_PADS = ("<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<|reserved_special_token_0|>")
NEW_PAD = "<|pad|>"
FIXABLE = frozenset({"D10", "D14", "D33", "D34", "D35", "D40"})
"""Checks with findings that `repair` can fix."""


@dataclass(frozen=True)
class Repair:
    """The result of a repair.

    Args:
        steps: One description for each repair, with the number of its check.
        diff: Unified diff of the files, without the vocabulary.
        files: Contents of the repaired files by name.
        new_rows: Number of embedding rows that the repaired tokenizer needs, or None if it has not grown.
    """

    steps: tuple[str, ...]
    diff: str
    files: dict[str, bytes]
    new_rows: int | None


def repair(files: TokenizerFiles) -> Repair:
    """Applies all safe repairs. Without repairs, the result has the unchanged content.

    Raises:
        TokenizerError: `tokenizer.json` cannot be loaded.
    """
    if files.engine is None:
        raise TokenizerError(f"`{files.name}` cannot be repaired: {TOKENIZER_FILE} cannot be loaded", "LT-E117")
    file, config = copy.deepcopy(files.tokenizer_json), copy.deepcopy(files.config)
    steps = [*_switches(file, config), *_special_roles(files, file)]
    pad_steps, new_rows = _own_pad(files, file, config)
    steps += pad_steps
    contents = dict(files.contents) | {TOKENIZER_FILE: _dump(file), CONFIG_FILE: _dump(config)}
    if not config.get("chat_template") and "chat_template.jinja" not in contents:
        fitting = fitting_templates(HuggingFaceTokenizer.from_files(contents, files.name))
        # Generation stops at eos, so a template is only safe if eos ends its turns.
        if len(fitting) == 1 and REGISTRY[fitting[0]].end_of_turn == files.role("eos"):
            config["chat_template"] = REGISTRY[fitting[0]].source
            contents[CONFIG_FILE] = _dump(config)
            steps.append(f"D40: chat template `{fitting[0]}`, the only one that matches the special tokens")
    return Repair(tuple(steps), _difference(files, file, config), contents, new_rows)


def write_repair(found: Repair, directory: Path) -> None:
    """Writes the repaired files into a new folder, which is created atomically.

    Args:
        found: The repair.
        directory: The new folder.

    Raises:
        OutputTaken: The folder exists.
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
        steps.append("D33: clean-up of decoded text off")
    return steps


def _special_roles(files: TokenizerFiles, file: JSON) -> list[str]:
    steps: list[str] = []
    for role in ("bos", "eos"):
        text = files.role(role)
        for token in _added(file):
            if token.get("content") == text and not token.get("special"):
                token["special"] = True
                steps.append(f"D14: {role} {text!r} marked special")
    return steps


def _added(file: JSON) -> list[JSON]:
    return file.get("added_tokens") or []


def _own_pad(files: TokenizerFiles, file: JSON, config: JSON) -> tuple[list[str], int | None]:
    pad, eos = files.role("pad"), files.role("eos")
    if pad is not None and pad != eos:
        return [], None
    special = {token["content"] for token in _added(file) if token.get("special")}
    named = files.config.keys() | files.special_tokens_map.keys()
    if not named & {f"{role}_token" for role in ROLES}:  # naming pad would end the roles by convention: name these too
        conventional = {role: conventional_role(role, special) for role in ("bos", "eos")}
        config |= {f"{role}_token": text for role, text in conventional.items() if text is not None}
    reserved = next((text for text in RESERVED_PADS if text in special), None)
    if reserved is not None:
        config["pad_token"] = reserved
        return [f"D10: pad is {reserved!r}, an existing reserved token"], None
    taken = set(files.vocab.values()) | {token["id"] for token in files.added_tokens}
    number = max(taken) + 1
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    file["added_tokens"] = [*_added(file), {"id": number, "content": NEW_PAD} | flags]
    config["pad_token"] = NEW_PAD
    rows = files.model_config.get("vocab_size")
    grows = not isinstance(rows, int) or number >= rows
    return [f"D10: pad is {NEW_PAD!r}, a new token with id {number}"], number + 1 if grows else None


def _difference(files: TokenizerFiles, file: JSON, config: JSON) -> str:
    pairs = (
        (TOKENIZER_FILE, _without_tables(files.tokenizer_json), _without_tables(file)),
        (CONFIG_FILE, files.config, config),
    )
    lines: list[str] = []
    for name, before, after in pairs:
        old, new = (json.dumps(each, indent=2, ensure_ascii=False).splitlines() for each in (before, after))
        lines += difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm="", n=1)
    return "\n".join(lines)


def _without_tables(file: JSON) -> JSON:
    """Returns `tokenizer.json` without vocabulary and merges."""
    model = {key: value for key, value in file.get("model", {}).items() if key not in ("vocab", "merges")}
    return file | {"model": model}


def _dump(members: JSON) -> bytes:
    return (json.dumps(members, indent=2, ensure_ascii=False) + "\n").encode()
