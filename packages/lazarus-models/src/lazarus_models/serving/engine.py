"""One thread that runs the model: requests join a running batch and leave it when they end."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any

from lazarus_models.backend import own_streams
from lazarus_models.generation.batch import BatchRunner, Entry, SeparateRunner
from lazarus_models.generation.constraint import Constraint
from lazarus_models.generation.sampling import GenerationConfig, TokenLogprob
from lazarus_models.generation.steps import check_request

Runner = BatchRunner | SeparateRunner


@dataclass
class Job:
    """A request in progress."""

    ids: list[int]
    """Token ids of the prompt."""
    config: GenerationConfig
    """Settings of the generation."""
    constraint: Constraint | None = None
    """Restricts the tokens of the text."""
    is_scored: bool = False
    """Whether the log-probabilities of the prompt's own tokens are recorded."""
    prompt_logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    """Log-probabilities of the prompt's tokens after the first; complete before the first new token arrives."""
    new: list[int] = field(default_factory=list[int])
    """New tokens so far, including the stop token."""
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    """Log-probabilities of the new tokens."""
    is_left: threading.Event = field(default_factory=threading.Event)
    """Set when the rest of the text is not needed."""
    arrivals: SimpleQueue[int | BaseException | None] = field(default_factory=SimpleQueue[int | BaseException | None])

    def leave(self) -> None:
        """Ends the text early because the rest is not needed; a caller waiting for the next token continues."""
        self.is_left.set()
        self.arrivals.put(None)

    def fail(self, error: BaseException) -> None:
        """Ends the text with an error, which `tokens` raises."""
        self.is_left.set()
        self.arrivals.put(error)

    def tokens(self) -> Iterator[int]:
        """Yields the new tokens as they arrive."""
        while (arrived := self.arrivals.get()) is not None:
            if isinstance(arrived, BaseException):
                raise arrived
            self.new.append(arrived)
            yield arrived


class Engine:
    """Runs requests in a batch of at most `batch_size` texts; other requests wait."""

    def __init__(self, model: Any, *, batch_size: int, is_exact: bool = False) -> None:
        """Starts the thread.

        Args:
            model: A `Decoder`.
            batch_size: Largest number of texts in progress.
            is_exact: Whether each text is computed by itself, so that no bit of it depends on the others.
        """
        self._model = model
        self._make_runner = SeparateRunner if is_exact else BatchRunner
        self._batch_size = batch_size
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="lazarus-engine", daemon=True)
        self._thread.start()

    def submit(
        self,
        ids: list[int],
        config: GenerationConfig,
        *,
        constraint: Constraint | None = None,
        is_scored: bool = False,
    ) -> Job:
        """Queues a request.

        Args:
            ids: Token ids of the prompt, at least one.
            config: Settings of the generation.
            constraint: Restricts the tokens of the text.
            is_scored: Whether the log-probabilities of the prompt's own tokens are recorded.

        Returns:
            The job, which yields the new tokens.

        Raises:
            GenerationError: An id of the prompt or of `logit_bias` is outside the vocabulary.
        """
        check_request(self._model, ids, config)
        job = Job(ids, config, constraint, is_scored)
        self._waiting.put(job)
        return job

    def stop(self) -> None:
        """Waits for the texts in progress and ends the thread."""
        self._waiting.put(None)
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    def _run(self) -> None:
        with own_streams():
            self._work()

    def _work(self) -> None:
        runner = self._make_runner(self._model)
        jobs: dict[int, Job] = {}
        numbers = count()
        while self._is_open or jobs:
            new = {next(numbers): job for job in self._arrived(self._batch_size - len(jobs), wait=not jobs)}
            jobs |= _joined(runner, new)
            try:
                _step(jobs, runner)
            except Exception as error:  # noqa: BLE001 (raised in the threads that wait; later requests use a new batch)
                _tell(jobs, error)
                runner, jobs = self._make_runner(self._model), {}

    def _arrived(self, room: int, *, wait: bool) -> Iterator[Job]:
        """Waiting requests, at most `room`; with `wait`, blocks until the first one."""
        while room and self._is_open:
            try:
                job = self._waiting.get(block=wait)
            except Empty:
                return
            if job is None:
                self._is_open = False
                return
            if not job.is_left.is_set():  # otherwise the client has disconnected while waiting
                yield job
                room, wait = room - 1, False


def _joined(runner: Runner, new: dict[int, Job]) -> dict[int, Job]:
    """Adds new requests to the batch; if that fails, one by one, so that a faulty request affects no other."""
    try:
        runner.join([Entry(number, job.ids, job.config, job.constraint, job.is_scored) for number, job in new.items()])
    except Exception as error:  # noqa: BLE001 (raised in the thread that waits; other requests continue)
        if len(new) > 1:
            return {number: job for one in new.items() for number, job in _joined(runner, dict([one])).items()}
        _tell(new, error)
        return {}
    return new


def _tell(jobs: dict[int, Job], error: Exception) -> None:
    for job in jobs.values():
        job.arrivals.put(error)


def _step(jobs: dict[int, Job], runner: Runner) -> None:
    for row, ended in runner.step() if jobs else ():
        job = jobs[row.index]
        job.logprobs[:] = row.logprobs
        job.prompt_logprobs = row.prompt_logprobs
        job.arrivals.put(row.ids[-1])
        if row.constraint is not None and (error := row.constraint.error) is not None:
            job.fail(error)
        if ended or job.is_left.is_set():
            job.arrivals.put(None)
            del jobs[row.index]
            if not ended:
                runner.drop(row.index)
