"""Fingerprints of tokenizers: a structural and a behavioural digest, with digests of named components.

The structural digest covers the content of the file, independent of its formatting. The behavioural digest covers ids,
offsets and decoded texts of fixed probes; a new engine version can change it for the same file. Two tokenizers are equal
if both digests are equal. The chat template has a separate digest, because it can be chosen separately. The engine's
version is stored as information. Computing a fingerprint takes 0.2 s for GPT-2.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lazarus_core.atomic import whole_file
from lazarus_core.canonical import canonical_json
from lazarus_core.changed_values import show_value
from lazarus_core.outputs import check_output
from lazarus_core.strict_json import MalformedJson, read_json
from lazarus_tokenkit.errors import FingerprintMismatch, TokenkitError
from lazarus_tokenkit.outputs import FINGERPRINT
from lazarus_tokenkit.tables import aligned
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, as_tokenizer
from lazarus_tokenkit.tokenizers.probes import PROBES_VERSION, probes

JSON = dict[str, Any]

FINGERPRINT_VERSION = 1
"""Increased when the same tokenizer gets different digests. Earlier fingerprints can then not be compared."""
INFORMATION = frozenset({"library"})
"""Components that are stored with a fingerprint and are not part of it."""
LINKS = frozenset({"data", "template", "tokenizer"})
"""Parts of a length cache's header whose components are compared one by one."""


@dataclass(frozen=True)
class TokenizerFingerprint:
    """Digests of one tokenizer, each 64 hexadecimal digits.

    Args:
        fingerprint: Digest over `structural` and `behavioural`.
        structural: Digest over the components of the file.
        behavioural: Digest over the engine's output for the probes.
        components: Digests by name: the components of `structural`, `behavioural`, and `chat_template`. The chat template
            is part of neither digest.
        special_ids: Ids of bos, eos, pad and unk, and whether bos and eos are added. One component is their digest.
        library: Engine and version; not part of a digest.
    """

    fingerprint: str
    structural: str
    behavioural: str
    components: Mapping[str, str]
    special_ids: Mapping[str, int | bool | None]
    library: str

    @property
    def short(self) -> str:
        """First 16 digits of the fingerprint, for display."""
        return self.fingerprint[:16]

    @property
    def parts(self) -> dict[str, Any]:
        """The members for a length cache: components that affect ids, and values that explain a difference."""
        own = {name: digest for name, digest in self.components.items() if name != "chat_template"}
        return own | {"special_ids": dict(self.special_ids), "library": self.library}

    def text(self) -> str:
        """Formats the fingerprint as a table. Absent components show `none`; the special ids are listed."""
        parts = {name: "none" if digest == NOTHING else digest for name, digest in self.components.items()}
        ids = ", ".join(f"{name} {'-' if value is None else value}" for name, value in self.special_ids.items())
        inner = [name for name in parts if name not in ("behavioural", "chat_template")]
        rows = [("fingerprint", self.fingerprint), ("structural", self.structural)]
        rows += [(f"  {name}", parts[name] + (f"  {ids}" if name == "special_ids" else "")) for name in inner]
        rows += [(name, parts[name]) for name in ("behavioural", "chat_template")]
        return aligned([*rows, ("library", self.library)])

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object of a saved fingerprint."""
        return {
            "version": FINGERPRINT_VERSION,
            "fingerprint": self.fingerprint,
            "structural": self.structural,
            "behavioural": self.behavioural,
            "components": dict(self.components),
            "special_ids": dict(self.special_ids),
            "library": self.library,
        }


def compute_fingerprint(tokenizer: TokenizerOrName) -> TokenizerFingerprint:
    """Computes the fingerprint of a tokenizer, given as an object, name or path.

    >>> compute_fingerprint("byte").short
    '3e6cc8846c939715'
    """
    tokenizer = as_tokenizer(tokenizer)
    structure = tokenizer.structure()
    structural = {name: _digest(value) for name, value in structure.items()}
    observed = [[probe, tokenizer.observe(probe)] for probe in probes(tokenizer.special_tokens)]
    behavioural = _digest({"probes_version": PROBES_VERSION, "observed": observed})
    whole = {"structural": _digest(structural), "behavioural": behavioural}
    return TokenizerFingerprint(
        fingerprint=_digest(whole),
        **whole,
        components=structural | {"behavioural": behavioural, "chat_template": _digest(tokenizer.chat_template)},
        special_ids=structure["special_ids"],
        library=tokenizer.library(),
    )


def diff_parts(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Describes the components that differ. An empty result means that none differs.

    >>> diff_parts({"merges": "aa", "special_ids": {"eos": 2}}, {"merges": "bb", "special_ids": {"eos": 7}})
    ['merges changed: "aa" -> "bb"', 'special_ids changed: eos 2 -> 7']

    Args:
        expected: Expected components by name, or nested under `data`, `template` and `tokenizer`.
        found: Current components in the same form.
    """
    differences = [
        line
        for name in sorted((expected.keys() | found.keys()) - INFORMATION)
        if expected.get(name) != found.get(name)
        for line in _describe(name, expected.get(name), found.get(name))
    ]
    libraries = expected.get("library"), found.get("library")
    if differences and libraries[0] != libraries[1]:
        differences.append(f"library {libraries[0]} -> {libraries[1]}")
    return differences


def save_fingerprint(fingerprint: TokenizerFingerprint, path: Path | str, *, force: bool = False) -> None:
    """Writes a fingerprint as JSON.

    Args:
        fingerprint: Digests of a tokenizer and of its components.
        path: The file.
        force: Whether to replace an existing file that is not a fingerprint.

    Raises:
        OutputTaken: `path` exists and is not a fingerprint, and `force` is false.
    """
    path = Path(path)
    check_output(path, FINGERPRINT, force=force)
    with whole_file(path) as stream:
        stream.write((json.dumps(fingerprint.to_json(), indent=2) + "\n").encode())


def verify_fingerprint(found: TokenizerFingerprint, path: Path | str) -> None:
    """Compares a tokenizer's fingerprint with a saved one.

    Args:
        found: The tokenizer's fingerprint.
        path: File that `save_fingerprint` wrote.

    Raises:
        FingerprintMismatch: The tokenizer or its chat template differs. The message names the components.
        TokenkitError: The file is missing, is not a fingerprint, or has another version.
    """
    saved = _read_fingerprint(Path(path))
    values = ("special_ids", "library")
    parts = [file["components"] | {name: file[name] for name in values} for file in (saved, found.to_json())]
    if differences := diff_parts(*parts):
        is_equivalent = saved["components"].get("behavioural") == found.behavioural
        note = "; all probes have equal ids, but other texts may differ" if is_equivalent else ""
        raise FingerprintMismatch(f"not the tokenizer of {path}: {'; '.join(differences)}{note}", "LT-E401")


def _read_fingerprint(path: Path) -> JSON:
    try:
        saved = read_json(path)
    except FileNotFoundError:
        raise TokenkitError(f"{path} does not exist: write it with `save_fingerprint`", "LT-E402") from None
    except MalformedJson as error:
        raise TokenkitError(f"{path} is not a saved fingerprint: {error.message}", "LT-E402") from error
    match saved:
        case {"version": int(), "components": dict(), "special_ids": dict(), "library": str()}:
            pass
        case _:
            raise TokenkitError(f"{path} is not a saved fingerprint", "LT-E402")
    if saved["version"] != FINGERPRINT_VERSION:
        raise TokenkitError(
            f"{path} has fingerprint version {saved['version']}, and this release has version {FINGERPRINT_VERSION}:"
            " save it again",
            "LT-E402",
        )
    return cast("JSON", saved)


def _describe(name: str, before: Any, now: Any) -> list[str]:
    if before is None or now is None:
        return [f"{name} {'added' if before is None else 'removed'}"]
    if name == "files":
        return _describe_files(before, now)
    values = f"{show_value(before)} -> {show_value(now)}"
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [f"{name} changed: {values}"]
    old, new = cast("JSON", before), cast("JSON", now)
    if name in LINKS:
        return [f"{name}: {line}" for line in diff_parts(old, new)]
    members = [f"{key} {old.get(key)} -> {new.get(key)}" for key in old | new if old.get(key) != new.get(key)]
    return [f"{name} changed: {', '.join(members)}"]


def _describe_files(before: list[JSON], now: list[JSON]) -> list[str]:
    by_name = [{file["name"]: file["sha256"] for file in files} for files in (before, now)]
    if by_name[0] == by_name[1]:
        return ["files in another order"]
    return diff_parts(*by_name)


_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_ASTRAL = re.compile(r'[\U00010000-\U0010ffff](?:[^"\\]|\\.)*+"(:?)')
"""Matches a JSON string from a character beyond 16 bits to its end. A colon after it means that it is a member name."""


def _digest(value: Any) -> str:
    # Canonical JSON sorts names by UTF-16 units, the C encoder by code points. The orders differ only for names with
    # characters beyond 16 bits, and the C encoder is five times as fast.
    text = _encode(value)
    has_names = any(found[1] for found in _ASTRAL.finditer(text))
    return hashlib.sha256(canonical_json(value) if has_names else text.encode()).hexdigest()


NOTHING = _digest(None)
"""Digest of an absent component."""
