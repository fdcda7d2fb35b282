"""The files beside `tokenizer.json`: which tokens are bos, eos, pad and unk, and the chat template. They never change ids."""

import json
from collections.abc import Collection, Mapping
from typing import Any, cast

from lazarus_tokenkit.errors import TokenizerError

JSON = dict[str, Any]

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
TEMPLATE_FILE = "chat_template.jinja"
COMPANIONS = (
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    "added_tokens.json",
    TEMPLATE_FILE,
    "chat_template.json",
    "tokenizer.model",
)

ROLES = ("bos", "eos", "pad", "unk")
CONVENTIONAL = {
    "bos": ("<s>", "<bos>", "<|begin_of_text|>"),
    "eos": ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
    "pad": ("<pad>", "[PAD]"),
}
"""Names that carry a role where no companion names any: bare files, such as GPT-2's, and what transformers re-saves of
them. Used in this order, for special tokens only."""


def declared_roles(files: Mapping[str, bytes], name: str) -> dict[str, str | None]:
    """What the companions say of bos, eos, pad and unk; the first file that speaks of a role has the say."""
    declared: dict[str, str | None] = {}
    for file_name in (CONFIG_FILE, SPECIAL_TOKENS_FILE):
        members = json_file(files, file_name, name)
        for role in ROLES:
            key = f"{role}_token"
            if key in members and role not in declared:
                value = members[key]
                declared[role] = value["content"] if isinstance(value, dict) else value
    return declared


def conventional_role(role: str, specials: Collection[str]) -> str | None:
    """The special token that carries a role where no companion names any."""
    return next((text for text in CONVENTIONAL.get(role, ()) if text in specials), None)


def chat_template(files: Mapping[str, bytes], name: str) -> str | None:
    if TEMPLATE_FILE in files:
        return files[TEMPLATE_FILE].decode()
    for file_name in ("chat_template.json", CONFIG_FILE):
        template = json_file(files, file_name, name).get("chat_template")
        if isinstance(template, list):  # several named templates
            named = {entry["name"]: entry["template"] for entry in cast("list[JSON]", template)}
            template = named.get("default")
        if template is not None:
            return template
    return None


def json_file(files: Mapping[str, bytes], file_name: str, name: str) -> JSON:
    if file_name not in files:
        return {}
    try:
        members = json.loads(files[file_name])
    except ValueError as error:
        raise TokenizerError(f"{file_name} of `{name}` is not JSON: {error}", "LT-E110") from error
    if not isinstance(members, dict):
        raise TokenizerError(f"{file_name} of `{name}` is not a JSON object", "LT-E110")
    return cast("JSON", members)
