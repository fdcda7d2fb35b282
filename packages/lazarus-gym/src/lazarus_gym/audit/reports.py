"""The report of an audit as text, JSON and SARIF 2.1.0."""

import json
from typing import Any

from lazarus_core.outputs import OutputKind, begins_with
from lazarus_core.printable import printable_line
from lazarus_gym.audit.findings import CHECKS, AuditReport

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
SARIF = OutputKind(
    "a SARIF file of an audit", begins_with(r'\{\s*"\$schema".{0,300}"name": "lazarus gym audit"'), code="LG-E118"
)
"""Kind of the file of findings; an earlier one is replaced."""
_NAMES_IN_LINE = 20
_LISTED_TASKS = 20
"""A check with findings in more tasks has no line for each of them in the text."""


def as_text(report: AuditReport) -> str:
    """Checks with the names of the tasks, then a line for each finding; JSON and SARIF hold every one."""
    lines = [f"{'check':<16}{'tasks':>6}  finding"]
    for name, check in CHECKS.items():
        if found := report.of_check(name):
            lines.append(f"{name:<16}{len(found):>6}  {check.title}: {_names(found)}")
    if not report.findings:
        lines = []
    lines += [
        printable_line(f"{each.severity}: {each.subject}: {each.message} [{each.check}]")
        for each in report.findings
        if len(report.of_check(each.check)) <= _LISTED_TASKS
    ]
    errors = sum(each.severity == "error" for each in report.findings)
    tasks = "1 task" if len(report.subjects) == 1 else f"{len(report.subjects)} tasks"
    lines.append(
        f"{report.target}: {tasks}, {report.answers} answers: {errors} errors, {len(report.findings) - errors} warnings"
    )
    return "\n".join(lines)


def _names(found: list[str]) -> str:
    rest = len(found) - _NAMES_IN_LINE
    return ", ".join(found[:_NAMES_IN_LINE]) + (f" and {rest} more" if rest > 0 else "")


def as_json(report: AuditReport) -> str:
    """The report as a JSON object."""
    findings = [
        {"task": each.subject, "check": each.check, "severity": each.severity, "message": each.message}
        for each in report.findings
    ]
    members: dict[str, Any] = {
        "target": report.target,
        "ok": not report.findings,
        "tasks": list(report.subjects),
        "answers": report.answers,
        "jail": report.protections,
        "checks": {name: found for name in CHECKS if (found := report.of_check(name))},
        "findings": findings,
    }
    return json.dumps(members, indent=2)


def as_sarif(report: AuditReport) -> str:
    """The report as a SARIF log of one run; the place of a result is the name of its task."""
    from lazarus_gym import __version__

    used = [name for name in CHECKS if report.of_check(name)]
    rules = [
        {
            "id": name,
            "shortDescription": {"text": CHECKS[name].title},
            "fullDescription": {"text": CHECKS[name].help},
            "defaultConfiguration": {"level": CHECKS[name].severity},
        }
        for name in used
    ]
    results = [
        {
            "ruleId": each.check,
            "ruleIndex": used.index(each.check),
            "level": each.severity,
            "message": {"text": printable_line(f"{each.subject}: {each.message}")},
            "locations": [
                {
                    "logicalLocations": [
                        {"name": each.subject, "fullyQualifiedName": _place(report.target, each.subject)}
                    ]
                }
            ],
            "partialFingerprints": {"lazarusAudit/v1": f"{_place(report.target, each.subject)}|{each.check}"},
        }
        for each in report.findings
    ]
    driver = {"name": "lazarus gym audit", "version": __version__, "rules": rules}
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=2) + "\n"


def _place(target: str, subject: str) -> str:
    return f"{target.partition(':')[0]}:{subject}"
