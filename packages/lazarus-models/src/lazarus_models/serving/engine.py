"""One thread that owns the model and answers everybody: requests join a running batch and leave it when they end."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any

from lazarus_models.backend import own_streams
from lazarus_models.generation.batch import BatchRunner
from lazarus_models.generation.generate import check_request
from lazarus_models.generation.sampling import GenerationConfig, TokenLogprob


@dataclass
class Job:
    """A request on its way."""

    ids: list[int]
    config: GenerationConfig
    new: list[int] = field(default_factory=list[int])
    """Tokens that came, a stop token included."""
    told: int = 0
    """Tokens whose log-probabilities were handed on."""
    told_characters: int = 0
    """Of these tokens."""
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    is_left: threading.Event = field(default_factory=threading.Event)
    """Set by whoever no longer wants the rest."""
    arrivals: SimpleQueue[int | BaseException | None] = field(default_factory=SimpleQueue[int | BaseException | None])

    def leave(self) -> None:
        """Ends the text early because its rest is not wanted. A caller that waits for the next token continues."""
        self.is_left.set()
        self.arrivals.put(None)

    def fail(self, error: BaseException) -> None:
        """Ends the text with an error, raised where its next token is waited for."""
        self.is_left.set()
        self.arrivals.put(error)

    def tokens(self) -> Iterator[int]:
        """Waits for each token; ends with the text."""
        while (arrived := self.arrivals.get()) is not None:
            if isinstance(arrived, BaseException):
                raise arrived
            self.new.append(arrived)
            yield arrived


class Engine:
    """Answers requests together, at most `batch_size` at a time; the others wait."""

    def __init__(self, model: Any, *, batch_size: int) -> None:
        self._model = model
        self._batch_size = batch_size
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="lazarus-engine", daemon=True)
        self._thread.start()

    def submit(self, ids: list[int], config: GenerationConfig) -> Job:
        """Has a prompt answered; its tokens arrive at the job.

        Raises:
            GenerationError: The prompt or `logit_bias` holds an id that the model does not have.
        """
        check_request(self._model, ids, config)
        job = Job(ids, config)
        self._waiting.put(job)
        return job

    def stop(self) -> None:
        """Ends the thread once the texts on their way have ended."""
        self._waiting.put(None)
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether requests are answered."""
        return self._thread.is_alive()

    def _run(self) -> None:
        with own_streams():
            self._work()

    def _work(self) -> None:
        runner = BatchRunner(self._model)
        jobs: dict[int, Job] = {}
        numbers = count()
        while self._is_open or jobs:
            new = {next(numbers): job for job in self._arrived(self._batch_size - len(jobs), wait=not jobs)}
            jobs |= _joined(runner, new)
            try:
                _step(jobs, runner)
            except Exception as error:  # noqa: BLE001 (it is raised where the requests wait; the next ones begin anew)
                _tell(jobs, error)
                runner, jobs = BatchRunner(self._model), {}

    def _arrived(self, room: int, *, wait: bool) -> Iterator[Job]:
        """Requests that wait, as many as there is room for; `wait` for the first one."""
        while room and self._is_open:
            try:
                job = self._waiting.get(block=wait)
            except Empty:
                return
            if job is None:
                self._is_open = False
                return
            if not job.is_left.is_set():  # otherwise the client left while the request waited
                yield job
                room, wait = room - 1, False


def _joined(runner: BatchRunner, new: dict[int, Job]) -> dict[int, Job]:
    """Puts new requests into the batch together, or one by one where that fails, so that none ends another."""
    try:
        runner.join([(number, job.ids, job.config) for number, job in new.items()])
    except Exception as error:  # noqa: BLE001 (it is raised where the request waits; the others go on)
        if len(new) > 1:
            return {number: job for one in new.items() for number, job in _joined(runner, dict([one])).items()}
        _tell(new, error)
        return {}
    return new


def _tell(jobs: dict[int, Job], error: Exception) -> None:
    for job in jobs.values():
        job.arrivals.put(error)


def _step(jobs: dict[int, Job], runner: BatchRunner) -> None:
    for row, ended in runner.step() if jobs else ():
        job = jobs[row.index]
        job.logprobs[:] = row.logprobs
        job.arrivals.put(row.ids[-1])
        if ended or job.is_left.is_set():
            job.arrivals.put(None)
            del jobs[row.index]
            if not ended:
                runner.drop(row.index)
