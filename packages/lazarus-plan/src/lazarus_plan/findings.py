"""What a check found: a stable code and one line for a person."""

from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 10
"""Findings of one kind that are listed; the rest are counted."""


@dataclass(frozen=True)
class Finding:
    """A problem, or a suspected one.

    Args:
        code: LP-E... for an error, LP-W... for a warning.
        message: What and where, in one line.
        line: Of the file, from 1, where one is to blame.
        file: Path of the file, where it is none of the plan's own.
    """

    code: str
    message: str
    line: int | None = None
    file: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether the plan must not be used."""
        return self.code.startswith("LP-E")


def at_step(code: str, step: int, problem: str) -> Finding:
    """A finding about one step of `plan.jsonl`.

    Args:
        code: Stable code, such as `LP-E110`.
        step: 0-based step. Its line in `plan.jsonl` is `step + 1`.
        problem: What is wrong, without the place.
    """
    return Finding(code, f"plan.jsonl:{step + 1}: step {step}: {problem}", step + 1)


def first_ones(findings: Iterable[Finding]) -> list[Finding]:
    """The first findings; the rest are counted in one more."""
    listed: list[Finding] = []
    more = 0
    for finding in findings:
        if len(listed) < SHOWN:
            listed.append(finding)
        else:
            more += 1
    if more:
        listed.append(Finding(listed[-1].code, f"and {more} more of this kind"))
    return listed
