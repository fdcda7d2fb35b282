"""What a jail returns."""

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["ok", "aborted"]


@dataclass(frozen=True)
class JailResult:
    """The result of one call.

    Args:
        status: `ok`, or `aborted` when there is no value: the function failed, took too long, ended the worker or tried
            something that the jail refuses. An aborted verdict is never a reward.
        value: What the function returned: numbers, texts, booleans, None, lists and dictionaries.
        reason: Why it was aborted, in one line.
        attempts: Actions that the guard refused, such as `open /etc/passwd w`.
        executed: Code with the marker of the call that was executed, for audits.
        is_crash: The function raised an exception.
    """

    status: Status
    value: Any = None
    reason: str = ""
    attempts: tuple[str, ...] = ()
    executed: tuple[str, ...] = ()
    is_crash: bool = False


@dataclass(frozen=True)
class Protections:
    """The means by which a running worker is confined. `python` is the audit hook alone, which is weaker.

    Args:
        network: `namespace` (no interface) or `python`.
        processes: `seccomp` (no process, thread, socket or signal) or `python`; with `sandbox-exec` on macOS.
        files: `landlock` (no writing outside the folder) or `python`; with `sandbox-exec` on macOS.
        memory: `address space` (allocation fails) or `watchdog` (the worker ends).
    """

    network: str
    processes: str
    files: str
    memory: str
