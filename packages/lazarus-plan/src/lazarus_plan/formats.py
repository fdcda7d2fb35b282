"""Findings as other programs read them: JSON, GitHub annotations, SARIF 2.1.0."""

import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from lazarus_plan.findings import Finding
from lazarus_plan.printable import printable_line
from lazarus_plan.store import METADATA, PLAN

if TYPE_CHECKING:
    from lazarus_plan.canonical import JSON


def as_json(plan: Path, findings: Sequence[Finding], ok: bool) -> str:
    """One object: the plan, whether it passed, the findings."""
    listed = [{"code": each.code, "message": each.message, "line": each.line} for each in findings]
    return json.dumps({"plan": str(plan), "ok": ok, "findings": listed}, indent=2)


def as_github(plan: Path, findings: Sequence[Finding], is_strict: bool) -> str:
    """Workflow commands, which GitHub shows at the file and line.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """
    return "\n".join(
        f"::{'error' if each.is_error or is_strict else 'warning'} file={_property(_file(plan, each))}"
        f"{f',line={each.line}' if each.line else ''},title={each.code}::{_escaped(printable_line(each.message))}"
        for each in findings
    )


def as_sarif(plan: Path, findings: Sequence[Finding], is_strict: bool) -> str:
    """A SARIF log of one run, for code scanning."""
    results: list[JSON] = []
    for each in findings:
        place: JSON = {"artifactLocation": {"uri": quote(os.fsencode(_file(plan, each)))}}
        if each.line:
            place["region"] = {"startLine": each.line}
        results.append(
            {
                "ruleId": each.code,
                "level": "error" if each.is_error or is_strict else "warning",
                "message": {"text": printable_line(each.message)},
                "locations": [{"physicalLocation": place}],
            }
        )
    tool = {
        "name": "lazarus-plan",
        "version": version("lazarus-plan"),
        "rules": [{"id": code} for code in sorted({each.code for each in findings})],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": tool}, "results": results}],
    }
    return json.dumps(log, indent=2)


def _file(plan: Path, finding: Finding) -> str:
    """The file that a finding is about: the one that its message begins with."""
    named = finding.message.split(":")[0]
    name = named if named in (METADATA, "fingerprints.json", "stats.json") else PLAN
    return (plan / name).as_posix()


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A value before the `::`, where a colon or a comma would end it."""
    return _escaped(printable_line(text)).replace(":", "%3A").replace(",", "%2C")
