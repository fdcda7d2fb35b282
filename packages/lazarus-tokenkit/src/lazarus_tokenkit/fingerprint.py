"""What makes a tokenizer that tokenizer: a structural and a behavioural digest, each by named component.

Structural: the file's content, whatever its spelling. Behavioural: ids, offsets and texts of fixed probes, which a new
version of the engine can change under the same file. Two tokenizers are equal if both are. The chat template has a
digest of its own, because it can be chosen apart; so has the engine's version, as information.
Costs 0.2 s for GPT-2.
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
from lazarus_core.outputs import check_output
from lazarus_core.strict_json import MalformedJson, read_json
from lazarus_tokenkit.errors import FingerprintMismatch, TokenkitError
from lazarus_tokenkit.outputs import FINGERPRINT
from lazarus_tokenkit.tables import aligned
from lazarus_tokenkit.tokenizers.load import TokenizerOrName, opened
from lazarus_tokenkit.tokenizers.probes import PROBES_VERSION, probes

JSON = dict[str, Any]

FINGERPRINT_VERSION = 1
"""Raised when the same tokenizer gets other digests; fingerprints stored before cannot be compared."""
INFORMATION = frozenset({"library"})
"""Components that stand beside a fingerprint without being part of it."""
LINKS = frozenset({"data", "template", "tokenizer"})
"""Links of the chain whose components are named one by one."""


@dataclass(frozen=True)
class TokenizerFingerprint:
    """Digests of one tokenizer, each 64 hexadecimal digits.

    Args:
        fingerprint: Over `structural` and `behavioural`.
        structural: Over the components of the file.
        behavioural: Over what the engine makes of the probes.
        components: By name: those of `structural`, `behavioural`, and `chat_template` (in neither).
        special_ids: Ids of bos, eos, pad and unk and whether bos and eos are added: the values behind a digest.
        library: Engine and version, in no digest.
    """

    fingerprint: str
    structural: str
    behavioural: str
    components: Mapping[str, str]
    special_ids: Mapping[str, int | bool | None]
    library: str

    @property
    def short(self) -> str:
        """The first 16 digits, for display."""
        return self.fingerprint[:16]

    @property
    def parts(self) -> dict[str, Any]:
        """What a length cache stores: the components that ids depend on, and the values that help to explain."""
        own = {name: digest for name, digest in self.components.items() if name != "chat_template"}
        return own | {"special_ids": dict(self.special_ids), "library": self.library}

    def text(self) -> str:
        """As it is printed for people: what is absent has no digest, and the ids are shown."""
        parts = {name: "none" if digest == NOTHING else digest for name, digest in self.components.items()}
        ids = ", ".join(f"{name} {'-' if value is None else value}" for name, value in self.special_ids.items())
        inner = [name for name in parts if name not in ("behavioural", "chat_template")]
        rows = [("fingerprint", self.fingerprint), ("structural", self.structural)]
        rows += [(f"  {name}", parts[name] + (f"  {ids}" if name == "special_ids" else "")) for name in inner]
        rows += [(name, parts[name]) for name in ("behavioural", "chat_template")]
        return aligned([*rows, ("library", self.library)])

    def to_json(self) -> dict[str, Any]:
        """As it is printed and saved."""
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
    """The fingerprint of a tokenizer, or of the one at a path.

    >>> compute_fingerprint("byte").short
    '3e6cc8846c939715'
    """
    tokenizer = opened(tokenizer)
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
    """The components that differ, in plain words; empty if none does.

    >>> diff_parts({"merges": "aa", "special_ids": {"eos": 2}}, {"merges": "bb", "special_ids": {"eos": 7}})
    ['merges changed', 'special_ids changed: eos 2 -> 7']

    Args:
        expected: Components by name, also nested by link (`data`, `template`, `tokenizer`).
        found: The same of what is there now.
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


def save_fingerprint(fingerprint: TokenizerFingerprint, path: Path, *, force: bool = False) -> None:
    """Writes a fingerprint as JSON, to be committed beside what depends on it.

    Raises:
        OutputTaken: `path` is there and is no fingerprint; `force` replaces it.
    """
    check_output(path, FINGERPRINT, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as stream:
        stream.write((json.dumps(fingerprint.to_json(), indent=2) + "\n").encode())


def verify_fingerprint(found: TokenizerFingerprint, path: Path) -> None:
    """Compares a tokenizer with a saved fingerprint.

    Raises:
        FingerprintMismatch: It is another tokenizer or another chat template; the message names the components.
        TokenkitError: The file is missing, no fingerprint or from another version.
    """
    saved = _read_fingerprint(path)
    values = ("special_ids", "library")
    parts = [file["components"] | {name: file[name] for name in values} for file in (saved, found.to_json())]
    if differences := diff_parts(*parts):
        is_equivalent = saved["components"].get("behavioural") == found.behavioural
        words = "; it does the same on every probe, which is no proof for other texts" if is_equivalent else ""
        raise FingerprintMismatch(f"not the tokenizer of {path}: {'; '.join(differences)}{words}", "LT-E401")


def _read_fingerprint(path: Path) -> JSON:
    try:
        saved = read_json(path)
    except FileNotFoundError:
        raise TokenkitError(f"{path} does not exist: write it with --save", "LT-E402") from None
    except MalformedJson as error:
        raise TokenkitError(f"{path} is no saved fingerprint: {error.message}", "LT-E402") from error
    match saved:
        case {"version": int(), "components": dict(), "special_ids": dict(), "library": str()}:
            pass
        case _:
            raise TokenkitError(f"{path} is no saved fingerprint", "LT-E402")
    if saved["version"] != FINGERPRINT_VERSION:
        raise TokenkitError(
            f"{path} has fingerprint version {saved['version']}, this is {FINGERPRINT_VERSION}: save it again",
            "LT-E402",
        )
    return cast("JSON", saved)


def _describe(name: str, before: Any, now: Any) -> list[str]:
    if before is None or now is None:
        return [f"{name} {'added' if before is None else 'removed'}"]
    if name == "files":
        return _describe_files(before, now)
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [f"{name} changed"]
    old, new = cast("JSON", before), cast("JSON", now)
    if name in LINKS:
        return [f"{name}: {line}" for line in diff_parts(old, new)]
    values = [f"{key} {old.get(key)} -> {new.get(key)}" for key in old | new if old.get(key) != new.get(key)]
    return [f"{name} changed: {', '.join(values)}"]


def _describe_files(before: list[JSON], now: list[JSON]) -> list[str]:
    by_name = [{file["name"]: file["sha256"] for file in files} for files in (before, now)]
    if by_name[0] == by_name[1]:
        return ["files in another order"]
    return diff_parts(*by_name)


_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_ASTRAL = re.compile(r'[\U00010000-\U0010ffff](?:[^"\\]|\\.)*+"(:?)')
"""A text with a character beyond 16 bits, from there to its end; behind a member's name stands a colon."""


def _digest(value: Any) -> str:
    # Without such characters in names the C encoder's order is that of canonical JSON, five times as fast.
    text = _encode(value)
    has_names = any(found[1] for found in _ASTRAL.finditer(text))
    return hashlib.sha256(canonical_json(value) if has_names else text.encode()).hexdigest()


NOTHING = _digest(None)
"""Digest of a component that is not there."""
