"""The companion files of `tokenizer.json`. They name bos, eos, pad and unk and give the chat template, but change no ids."""

from collections.abc import Collection, Mapping
from typing import Any, cast

from lazarus_core.strict_json import BOM, MalformedJson, kind, parse_object
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
"""Special tokens that get a role if no companion file names any role. Applies to bare files, such as GPT-2's, and to
copies that transformers saves. The first one that exists is used."""


def declared_roles(files: Mapping[str, bytes], name: str) -> dict[str, str | None]:
    """Reads the texts of bos, eos, pad and unk from the companion files. The first file with a role decides on it.

    Args:
        files: Contents by file name.
        name: Name of the tokenizer for messages.

    Raises:
        TokenizerError: A companion file is malformed.
    """
    declared: dict[str, str | None] = {}
    for file_name in (CONFIG_FILE, SPECIAL_TOKENS_FILE):
        members = json_file(files, file_name, name)
        for role in ROLES:
            key = f"{role}_token"
            if key in members and role not in declared:
                declared[role] = _token_text(members[key], f"{file_name} of `{name}`: `{key}`")
    return declared


def _token_text(value: Any, place: str) -> str | None:
    """Returns the text of a token, given as a string or as an object with `content`."""
    match value:
        case None | str():
            return value
        case {"content": None | str() as content}:
            return content
        case _:
            raise TokenizerError(f"{place} is {kind(value)}, not a text or an object with `content`", "LT-E110")


def conventional_role(role: str, specials: Collection[str]) -> str | None:
    """Returns the special token that has a role by convention, or None.

    Args:
        role: `bos`, `eos` or `pad`.
        specials: Texts of the special tokens.
    """
    return next((text for text in CONVENTIONAL.get(role, ()) if text in specials), None)


def chat_template(files: Mapping[str, bytes], name: str) -> str | None:
    """Reads the chat template from the companion files. Of several named templates, `default` is used.

    Args:
        files: Contents by file name.
        name: Name of the tokenizer for messages.

    Raises:
        TokenizerError: A companion file is malformed.
    """
    if TEMPLATE_FILE in files:
        try:
            return files[TEMPLATE_FILE].decode()
        except UnicodeDecodeError as error:
            message = f"{TEMPLATE_FILE} of `{name}`: byte {error.start + 1} is not UTF-8"
            raise TokenizerError(message, "LT-E110") from error
    for file_name in ("chat_template.json", CONFIG_FILE):
        template = json_file(files, file_name, name).get("chat_template")
        place = f"{file_name} of `{name}`: `chat_template`"
        if isinstance(template, list):  # several named templates
            template = dict(_named_template(entry, place) for entry in cast("list[Any]", template)).get("default")
        if template is not None and not isinstance(template, str):
            raise TokenizerError(f"{place} is {kind(template)}, not a text", "LT-E110")
        if template is not None:
            return template
    return None


def _named_template(entry: Any, place: str) -> tuple[str, str]:
    match entry:
        case {"name": str(name), "template": str(template)}:
            return name, template
        case _:
            raise TokenizerError(f"{place} is a list with {kind(entry)}, not of `name` and `template`", "LT-E110")


def json_file(files: Mapping[str, bytes], file_name: str, name: str) -> JSON:
    """Parses a companion file. A missing file is an empty object.

    Args:
        files: Contents by file name.
        file_name: The file to parse.
        name: Name of the tokenizer for messages.

    Raises:
        TokenizerError: The file is malformed.
    """
    if file_name not in files:
        return {}
    try:
        return parse_object(files[file_name].removeprefix(BOM), f"{file_name} of `{name}`")
    except MalformedJson as error:
        raise TokenizerError(error.message, "LT-E110") from error
