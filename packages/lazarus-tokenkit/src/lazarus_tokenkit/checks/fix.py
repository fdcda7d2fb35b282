"""Writes a repaired copy of a tokenizer. Every repair is safe for a trained model and is shown as a diff.

The repairs: dropout, truncation and padding off; no clean-up of decoded text; a separate pad token, reserved or new;
bos and eos marked special; a registered chat template, if exactly one matches the special tokens and eos ends its turns.
A template that the caller names is added in any case, with the special tokens that it needs.
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
from lazarus_tokenkit.errors import TemplateError, TokenizerError
from lazarus_tokenkit.templates.registry import REGISTRY, registered
from lazarus_tokenkit.tokenizers.backends.companions import (
    CONFIG_FILE,
    ROLES,
    TEMPLATE_FILE,
    TOKENIZER_FILE,
    conventional_role,
)
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

JSON = dict[str, Any]
RESERVED_PADS = ("<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<|reserved_special_token_0|>")
NEW_PAD = "<|pad|>"
OLD_TEMPLATE_FILE = "chat_template.json"
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
        has_template: Whether the repaired tokenizer has a chat template.
    """

    steps: tuple[str, ...]
    diff: str
    files: dict[str, bytes]
    new_rows: int | None
    has_template: bool


def repair(files: TokenizerFiles, template: str | None = None) -> Repair:
    """Applies all safe repairs. Without repairs, the result has the unchanged content.

    Args:
        files: Files of the tokenizer.
        template: Name of a registered chat template to add. It replaces the tokenizer's own, its special tokens are
            added, and the token that ends its turns becomes eos. None adds a template only if exactly one matches.

    Raises:
        TokenizerError: `tokenizer.json` cannot be loaded.
        TemplateError: No template has this name, or the tokenizer lacks bos or eos, which it needs.
    """
    if files.engine is None:
        raise TokenizerError(f"`{files.name}` cannot be repaired: {TOKENIZER_FILE} cannot be loaded", "LT-E117")
    file, config = copy.deepcopy(files.tokenizer_json), copy.deepcopy(files.config)
    steps = [*_switches(file, config), *_special_roles(files, file)]
    pad_steps, new_rows = _own_pad(files, file, config)
    steps += pad_steps
    if template is not None:
        template_steps, grown = _named_template(files, file, config, template)
        steps, new_rows = [*steps, *template_steps], grown or new_rows
    contents = dict(files.contents) | {TOKENIZER_FILE: _dump(file), CONFIG_FILE: _dump(config)}
    if template is not None:
        for other in (TEMPLATE_FILE, OLD_TEMPLATE_FILE):
            contents.pop(other, None)
        HuggingFaceTokenizer.from_files(contents, files.name)  # refuses contradictions before anything is written
    elif not config.get("chat_template") and not {TEMPLATE_FILE, OLD_TEMPLATE_FILE} & contents.keys():
        fitting = fitting_templates(HuggingFaceTokenizer.from_files(contents, files.name))
        # Generation stops at eos, so a template is only safe if eos ends its turns.
        if len(fitting) == 1 and REGISTRY[fitting[0]].end_of_turn == files.role("eos"):
            config["chat_template"] = REGISTRY[fitting[0]].source
            contents[CONFIG_FILE] = _dump(config)
            steps.append(f"D40: chat template `{fitting[0]}`, the only one that matches the special tokens")
    has_template = bool(config.get("chat_template")) or bool({TEMPLATE_FILE, OLD_TEMPLATE_FILE} & contents.keys())
    return Repair(tuple(steps), _difference(files, file, config), contents, new_rows, has_template)


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


def _named_template(files: TokenizerFiles, file: JSON, config: JSON, name: str) -> tuple[list[str], int | None]:
    """Adds a template that the caller names; returns the steps and, if the vocabulary grows, its new size."""
    entry = registered(name)
    texts = {role: config.get(f"{role}_token") or files.role(role) for role in ("bos", "eos")}
    names_roles = bool((files.config.keys() | files.special_tokens_map.keys()) & {f"{role}_token" for role in ROLES})
    if not names_roles:
        special = {token["content"] for token in _added(file) if token.get("special")}
        texts = {role: text or conventional_role(role, special) for role, text in texts.items()}
    ends_itself = entry.end_of_turn != "eos"
    if lacking := [role for role in entry.roles if texts[role] is None]:
        raise TemplateError(
            f"template `{name}` needs the token of {' and '.join(lacking)}, which tokenizer `{files.name}` lacks;"
            f" declare it in {CONFIG_FILE}",
            "LT-E202",
        )
    steps: list[str] = []
    new_rows = None
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    for text in entry.special_tokens:
        known = next((token for token in _added(file) if token.get("content") == text), None)
        if known is not None:
            if not known.get("special"):
                known["special"] = True
                steps.append(f"D40: {text!r} marked special")
            continue
        number = files.vocab.get(text)
        if number is None:
            number = max({*files.vocab.values(), *(token["id"] for token in _added(file))}) + 1
            new_rows = number + 1
        file["added_tokens"] = [*_added(file), {"id": number, "content": text} | flags]
        steps.append(f"D40: special token {text!r} added with id {number}")
    if ends_itself and texts["eos"] != entry.end_of_turn:
        config["eos_token"] = entry.end_of_turn
        steps.append(f"D40: eos is {entry.end_of_turn!r}, which ends the turns of `{name}`")
    if not names_roles:
        config |= {f"{role}_token": text for role, text in texts.items() if text and f"{role}_token" not in config}
    config["chat_template"] = entry.source
    return [*steps, f"D40: chat template `{name}`, as requested"], new_rows


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
