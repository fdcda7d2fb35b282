"""Findings of an audit."""

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Check:
    """A check.

    Args:
        title: What a finding says, in a few words.
        severity: `error` where a reward can be wrong or unsafe, `warning` where a comparison can mislead.
        help: What it means and what to do.
    """

    title: str
    severity: Severity
    help: str


CHECKS: dict[str, Check] = {
    "executes": Check(
        "executes the answer",
        "error",
        "Text of a model was executed as code. Parse the answer instead, or run the verifier in the jail only.",
    ),
    "attempts": Check(
        "acts on the system",
        "error",
        "The verifier tried to write a file, start a process or open a connection. Remove that from the verifier.",
    ),
    "canary_file": Check(
        "an answer reached the file system",
        "error",
        "An answer made a file outside the jail. Do not use this verifier.",
    ),
    "oracle": Check(
        "does not pay its own answer",
        "error",
        "The right answer gets less than the maximum, so nothing can be learned from it. Correct the verifier or the answer.",
    ),
    "no_oracle": Check(
        "names no answer of its own",
        "warning",
        "No right answer is known, so wrong rewards cannot be seen. Add a solver.",
    ),
    "wrong": Check(
        "pays for a wrong answer", "error", "A wrong answer gets the maximum. Compare with the right answer strictly."
    ),
    "empty": Check("pays for an empty answer", "error", "An empty answer gets the maximum. Refuse it."),
    "crash": Check(
        "fails on an answer", "error", "The verifier raised an exception. Count an answer that it cannot read as wrong."
    ),
    "hang": Check(
        "hangs or ends on an answer",
        "error",
        "The verifier used up its time or memory. Bound the answer before reading it.",
    ),
    "unstable_score": Check(
        "pays the same answer differently",
        "error",
        "Two processes scored one answer differently. Remove the randomness.",
    ),
    "hash_seed": Check(
        "changes with the hash seed",
        "error",
        "The tasks differ between values of PYTHONHASHSEED, thus between runs. Sort sets before drawing from them; where the tasks "
        "differ between processes too, seed every generator.",
    ),
    "process": Check(
        "changes between processes",
        "error",
        "The tasks of one seed differ between two processes. Seed every generator.",
    ),
    "order": Check(
        "changes with the order",
        "error",
        "A task depends on the tasks made before it. Draw from the seed and the index alone.",
    ),
    "leak": Check("shows the answer in the question", "error", "The question holds the answer. Remove it."),
    "solutions": Check(
        "has several solutions", "error", "The task promises one solution and has several. Check it with a solver."
    ),
    "overlap": Check(
        "shares questions between training and evaluation",
        "warning",
        "Questions of the training seed occur under the evaluation seed. Choose seeds that are far apart, or split one set.",
    ),
    "item": Check("cannot make a task", "error", "The generator failed. Correct the settings or the generator."),
}
"""Checks by name, in the order of a report."""


@dataclass(frozen=True)
class Finding:
    """A finding.

    Args:
        subject: Name of the task.
        check: One of `CHECKS`.
        message: What was seen, in one line.
    """

    subject: str
    check: str
    message: str

    @property
    def severity(self) -> Severity:
        """Severity of its check."""
        return CHECKS[self.check].severity


@dataclass(frozen=True)
class AuditReport:
    """The result of an audit.

    Args:
        target: What was audited.
        subjects: Names of the tasks that were audited, in order.
        findings: Findings, by subject and check.
        answers: Number of answers that were scored.
        seconds: Duration.
        protections: Means of the jail, by what they protect.
    """

    target: str
    subjects: tuple[str, ...]
    findings: tuple[Finding, ...]
    answers: int
    seconds: float
    protections: dict[str, str] = field(default_factory=dict[str, str])

    def of_check(self, check: str) -> list[str]:
        """Names of the tasks with a finding of a check."""
        return [
            name
            for name in self.subjects
            if any(each.subject == name and each.check == check for each in self.findings)
        ]
