"""Findings in formats for programs: JSON, GitHub annotations, SARIF 2.1.0."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from lazarus_core.codes import Code
from lazarus_core.command_names import as_called
from lazarus_core.printable import printable_line
from lazarus_plan.codes import CODES
from lazarus_plan.findings import Finding
from lazarus_plan.format.store import METADATA, PLAN

if TYPE_CHECKING:
    from lazarus_core.canonical import JSON

UNKNOWN = Code("A check failed", "See the message", "The message says what to do.")


def as_json(plan: Path, findings: Sequence[Finding], ok: bool) -> str:
    """Findings as a JSON object with the members `plan`, `ok` and `findings`.

    Args:
        plan: Folder of the plan.
        findings: Result of `validate`.
        ok: Whether the check passed.
    """
    listed = [{"code": each.code, "message": each.message, "line": each.line} for each in findings]
    return json.dumps({"plan": str(plan), "ok": ok, "findings": listed}, indent=2)


def as_github(plan: Path, findings: Sequence[Finding], is_strict: bool = False) -> str:
    """Findings as workflow commands, which GitHub shows at the file and line.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions

    Args:
        plan: Folder of the plan.
        findings: Result of `validate`.
        is_strict: Whether warnings are shown as errors.
    """
    return "\n".join(
        f"::{'error' if each.is_error or is_strict else 'warning'} file={_property(_file(plan, each))}"
        f"{f',line={each.line}' if each.line else ''},title={each.code}::{_escaped(printable_line(each.message))}"
        for each in findings
    )


def as_sarif(plan: Path, findings: Sequence[Finding], is_strict: bool = False) -> str:
    """Findings as a SARIF log of one run, for code scanning.

    Paths are relative to the root of the repository. The fingerprint of a result covers its code, its file, and its
    number among the results with the same code and file. An alert therefore stays the same while its text changes.

    Args:
        plan: Folder of the plan.
        findings: Result of `validate`.
        is_strict: Whether warnings are reported as errors.
    """
    results: list[JSON] = []
    codes = sorted({each.code for each in findings})
    seen = Counter[tuple[str, str]]()
    for each in findings:
        file = _file(plan, each)
        place: JSON = {"artifactLocation": {"uri": quote(os.fsencode(file))}}
        if each.line:
            place["region"] = {"startLine": each.line}
        seen[each.code, file] += 1
        identity = f"{each.code}|{file}|{seen[each.code, file]}"
        results.append(
            {
                "ruleId": each.code,
                "ruleIndex": codes.index(each.code),
                "level": "error" if each.is_error or is_strict else "warning",
                "message": {"text": printable_line(each.message)},
                "locations": [{"physicalLocation": place}],
                "partialFingerprints": {"lazarusFinding/v1": hashlib.sha256(os.fsencode(identity)).hexdigest()},
            }
        )
    tool: JSON = {
        "name": "lazarus-plan",
        "version": version("lazarus-plan"),
        "rules": [_rule(code) for code in codes],
    }
    log: JSON = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": tool}, "results": results}],
    }
    return json.dumps(log, indent=2)


def _rule(code: str) -> "JSON":
    rule = CODES.get(code, UNKNOWN)
    way_out = as_called(rule.way_out)
    return {
        "id": code,
        "shortDescription": {"text": rule.meaning},
        "fullDescription": {"text": f"{rule.meaning}. {way_out}"},
        "help": {"text": way_out},
        "defaultConfiguration": {"level": "error" if code.startswith("LP-E") else "warning"},
    }


def _file(plan: Path, finding: Finding) -> str:
    """The file of a finding, relative to the repository: its `file`, or the path at the start of its message."""
    if finding.file is not None:
        return relative_path(Path(finding.file))
    named = finding.message.split(":")[0]
    if named in (METADATA, "fingerprints.json", "stats.json"):
        return relative_path(plan / named)
    return relative_path(plan / PLAN if (plan / PLAN).exists() else plan / METADATA)


def relative_path(path: Path) -> str:
    """A path relative to the root of the current repository; unchanged if it is outside."""
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)
    absolute = Path(os.path.normpath(here / path))
    try:
        return absolute.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A value before the `::`, where a colon or a comma would end it."""
    return _escaped(printable_line(text)).replace(":", "%3A").replace(",", "%2C")
