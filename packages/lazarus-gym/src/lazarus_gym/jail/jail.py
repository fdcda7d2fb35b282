"""A long-lived worker process that runs functions which are not ours, one call at a time.

A call costs about 0.1 ms once the worker is warm. A worker that dies, hangs or breaks the protocol is killed; its call is
aborted and the next call starts another one. The worker has no network, starts no process and writes only into a temporary
folder; `Jail.protections` tells by which means.

The jail confines code that a verifier runs by mistake, such as a model's answer. Functions in one jail share a process,
so a function that is hostile itself can forge its own verdicts, but reach nothing else.
"""

import asyncio
import itertools
import os
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, cast

from lazarus_gym.errors import JailError
from lazarus_gym.jail.config import JailConfig
from lazarus_gym.jail.process import WorkerBroken, WorkerProcess, encoded
from lazarus_gym.jail.results import JailResult, Protections


class Jail:
    """A worker for some functions.

    >>> with Jail({"length": "builtins:len"}) as jail:
    ...     jail.call("length", "abc").value, jail.call("length", 3).status
    (3, 'aborted')

    Args:
        targets: Functions by name, each `module:function`. The worker imports them before it is confined.
        config: Limits; None for the defaults.
    """

    def __init__(self, targets: Mapping[str, str], config: JailConfig | None = None) -> None:
        self.config = config or JailConfig()
        self._targets = dict(targets)
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._ids = itertools.count(1)
        self.starts = 0
        """Workers that were started so far."""

    def __enter__(self) -> "Jail":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> "Jail":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    @property
    def protections(self) -> Protections:
        """The means of confinement on this machine; starts the worker if there is none.

        Raises:
            JailError: See `call`.
        """
        with self._lock:
            return self._started().protections

    @property
    def process_id(self) -> int | None:
        """Process of the worker, or None while there is none."""
        return self._worker.process.pid if self._worker is not None else None

    def call(
        self, target: str, *args: Any, answer: str | None = None, marker: str = "", trusts_text: bool = False
    ) -> JailResult:
        """Calls a function in the worker.

        Args:
            target: Its name.
            args: Arguments of JSON: numbers, texts, booleans, None, lists, dictionaries.
            answer: Text of a model among the arguments. The function may evaluate it, changed or not, if it holds literals
                and bounded arithmetic only; executing any other text is refused.
            marker: A word; executed code that holds it is listed in the result.
            trusts_text: Whether the function may execute any text, for functions that get no text of a model.

        Raises:
            JailError: The worker cannot start (LG-E133) or the call cannot be sent (LG-E134).
        """
        if target not in self._targets:
            raise JailError(f"no target {target!r} in this jail; there are {', '.join(self._targets)}", "LG-E134")
        request: dict[str, Any] = {"target": target, "args": args, "cpu_s": self.config.cpu_s, "answer": answer}
        request |= {"marker": marker, "trusts_text": trusts_text, "wall_s": self.config.wall_s}
        with self._lock:
            request["id"] = next(self._ids)
            line = encoded(request)
            worker = self._started()
            try:
                return _result(worker.ask(line, self.config.wall_s), request["id"])
            except WorkerBroken as error:
                self._end_worker()
                return JailResult("aborted", reason=str(error))
            except BaseException:  # Ctrl-C: the next reply would belong to this call
                self._end_worker()
                raise

    async def call_async(
        self, target: str, *args: Any, answer: str | None = None, marker: str = "", trusts_text: bool = False
    ) -> JailResult:
        """`call` for asyncio; calls of several tasks wait for each other.

        Args:
            target: See `call`.
            args: See `call`.
            answer: See `call`.
            marker: See `call`.
            trusts_text: See `call`.
        """
        return await asyncio.to_thread(self.call, target, *args, answer=answer, marker=marker, trusts_text=trusts_text)

    def close(self) -> None:
        """Ends the worker. A later call starts another one."""
        with self._lock:
            self._end_worker()

    def _started(self) -> "WorkerProcess":
        if self._worker is not None and self._worker.owner != os.getpid():
            self._worker.disown()  # this process is a fork: the pipes are the other one's
            self._worker = None
        if self._worker is None:
            self._worker = WorkerProcess(self._targets, self.config)
            self.starts += 1
        return self._worker

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()


def _result(reply: Mapping[str, Any], number: int) -> JailResult:
    if reply.get("id") != number:
        raise WorkerBroken("the worker replied to another call")
    attempts, executed = _texts(reply.get("attempts")), _texts(reply.get("executed"))
    error = reply.get("error")
    if attempts:
        return JailResult("aborted", None, f"it tried {attempts[0]}", attempts, executed)
    if isinstance(error, str) or "value" not in reply:
        return JailResult("aborted", None, str(error), attempts, executed, is_crash=True)
    return JailResult("ok", reply["value"], "", attempts, executed)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in cast("Sequence[object]", value)) if isinstance(value, list) else ()
