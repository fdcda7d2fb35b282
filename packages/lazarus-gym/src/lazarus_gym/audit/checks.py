"""The checks. All tasks are made and all answers judged in the jail, in four processes with three hash seeds."""

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import ascii_lowercase
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from lazarus_gym.audit.canaries import MARKER, is_surely_wrong, wrong_answers
from lazarus_gym.audit.file_tasks import shared
from lazarus_gym.audit.findings import AuditReport, Finding
from lazarus_gym.audit.targets import AuditTarget, AuditWorker
from lazarus_gym.errors import AuditError
from lazarus_gym.jail import JailResult

PAID = 0.99
"""A reward from here on is the maximum, 1."""
_LONG_ANSWER = 40
"""Characters from which an answer that occurs in its question is no accident."""
_SHOWN_CHARS = 60
_TRAINING, _EVALUATION = 0, 1
"""Seeds whose tasks are compared: those that people use first."""


class AuditConfig(BaseModel):
    """Extent of an audit."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    items: int = Field(default=4, ge=1, le=64)
    """Tasks of each subject whose answers are judged."""
    draws: int = Field(default=32, ge=2, le=64)
    """Tasks of each subject that are compared between processes and hash seeds; the first 8 also between orders and seeds."""
    hash_seeds: tuple[int, ...] = (1, 2)
    """Values of `PYTHONHASHSEED` that are compared with 0."""


_AT_ONCE = 8
"""Tasks of one call, whose time is bounded."""


class _Item(NamedTuple):
    place: int
    question: str
    answer: str
    solutions: int | None
    wrong: dict[str, str]


Progress = Callable[[str, int], None]
"""Called after each subject of a phase, with the name of the phase and the number of subjects."""


def audit_subjects(
    target: AuditTarget, config: AuditConfig | None = None, *, progress: Progress | None = None
) -> AuditReport:
    """Audits the tasks of a target.

    Args:
        target: Result of `find_target`.
        config: Extent; None for the default.
        progress: Called after each subject of each phase.

    Raises:
        AuditError: A task is unknown (LG-E135).
        JailError: The worker cannot start (LG-E133).
    """
    config = config or AuditConfig()
    start = time.monotonic()
    with _folder_without_digits() as folder:
        audit = _Audit(target, config, folder / "canary", progress or _no_progress)
        return audit.run(start)


@contextmanager
def _folder_without_digits() -> Generator[Path]:
    """A temporary folder whose name is letters: `tempfile` uses digits too, which are numbers in an answer that names it."""
    folder = Path(tempfile.gettempdir(), f"lazarus-audit-{''.join(secrets.choice(ascii_lowercase) for _ in range(16))}")
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Audit:
    def __init__(self, target: AuditTarget, config: AuditConfig, canary: Path, progress: Progress) -> None:
        self._target, self._config, self._canary, self._progress = target, config, canary, progress
        self._found: dict[tuple[str, str], Finding] = {}
        self._answers = 0
        self._made: dict[str, list[dict[str, str]]] = {}
        self._oracle: dict[str, tuple[str, float]] = {}

    def run(self, start: float) -> AuditReport:
        with self._target.worker() as jail:
            subjects = self._target.subjects(self._names(jail))
            protections = vars(jail.protections)
            for name in subjects:
                self._judge(jail, name)
                self._draw(jail, name)
                self._progress("answers", len(subjects))
            jail.close()  # the next call starts another process
            self._compare(jail, subjects, "process", "in another process")
        for seed in self._config.hash_seeds if self._target.address is None else ():
            with self._target.worker(seed) as jail:
                self._compare(jail, subjects, "hash_seed", f"with PYTHONHASHSEED={seed}")
        order = {name: place for place, name in enumerate(subjects)}
        found = sorted(self._found.values(), key=lambda each: order[each.subject])
        return AuditReport(
            self._target.name, subjects, tuple(found), self._answers, time.monotonic() - start, dict(protections)
        )

    def _names(self, jail: AuditWorker) -> Sequence[str]:
        result = jail.call("names", trusts_text=True)
        if result.status != "ok":
            raise AuditError(
                f"{self._target.name}: the tasks cannot be listed ({result.reason}): correct the package", "LG-E135"
            )
        return (
            [*map(str, result.value), *(self._target.wanted or ())] if not result.value else [*map(str, result.value)]
        )

    def _add(self, subject: str, check: str, message: str) -> None:
        """Adds a finding; of each check the first example is kept."""
        self._found.setdefault((subject, check), Finding(subject, check, message))

    def _judge(self, jail: AuditWorker, name: str) -> None:
        """Checks the rewards of right and wrong answers."""
        items = [found for index in range(self._config.items) if (found := self._item(jail, name, index)) is not None]
        if not items and self._target.is_file:
            reason = self._found[name, "item"].message
            raise AuditError(
                f"{self._target.name} has no task ({reason}): give a file of `gym export`, or of `generate`", "LG-E135"
            )
        if items and not any(each.answer for each in items):
            self._add(name, "no_oracle", "no right answer is known")
        for each in items:
            self._judge_item(jail, name, each, items)
        if items and all(_leaks(each.question, each.answer) for each in items):
            self._add(name, "leak", f"the answer {_short(items[0].answer)} is in its question")

    def _judge_item(self, jail: AuditWorker, name: str, item: _Item, items: Iterable[_Item]) -> None:
        if item.solutions is not None and item.solutions != 1:
            self._add(
                name,
                "solutions",
                f"task {item.place} has {'no solution' if not item.solutions else 'several solutions'}",
            )
        if item.answer:
            self._judge_own_answer(jail, name, item)
        empty = self._score(jail, name, item, "")
        if empty.status == "ok" and empty.value >= PAID:
            self._add(name, "empty", f"pays {empty.value:g} for an empty answer")
        self._see(name, "an empty answer", "", empty)
        other = next((each.answer for each in items if each.answer and each.question != item.question), None)
        others = item.wrong | ({} if other is None else {"the answer of another task": other})
        for what, text in wrong_answers(item.question, item.answer, str(self._canary), others).items():
            result = self._score(jail, name, item, text)
            self._see(name, what, text, result)
            if result.status == "ok" and result.value >= PAID and (item.answer or is_surely_wrong(what)):
                right = f"; {_short(item.answer)} is right" if item.answer else ""
                self._add(name, "wrong", f"pays {result.value:g} for {what}: {_short(text)}{right}")

    def _judge_own_answer(self, jail: AuditWorker, name: str, item: _Item) -> None:
        result = self._score(jail, name, item, item.answer)
        if _actions(result):
            self._see(name, "its own answer", item.answer, result)
        elif result.status == "aborted":
            self._add(name, "oracle", f"its own answer {_short(item.answer)} is not judged: {result.reason}")
        elif result.value < PAID:
            self._add(name, "oracle", f"pays {result.value:g} for its own answer {_short(item.answer)}")
        elif item.place == 0:
            self._oracle[name] = (item.answer, result.value)

    def _see(self, name: str, what: str, text: str, result: JailResult) -> None:
        """Findings of what a verifier did, whatever it paid."""
        if self._canary.exists():
            self._canary.unlink()
            self._add(name, "canary_file", f"{what} made a file: {_short(text)}")
        if result.executed:
            self._add(name, "executes", f"executes {what}: {_short(text)}")
        elif done := _actions(result):
            self._add(name, "attempts", f"tries {done[0]} for {what}")
        if result.is_crash and not result.reason.startswith("MemoryError"):
            self._add(name, "crash", f"fails on {what}: {_short(text)}: {result.reason}")
        elif result.status == "aborted" and not result.attempts:
            self._add(name, "hang", f"{what}: {result.reason}")

    def _draw(self, jail: AuditWorker, name: str) -> None:
        """Checks the tasks of other orders and seeds, and keeps them for the comparison of processes."""
        places = list(range(self._config.draws))
        made = self._fresh(jail, name, _TRAINING, places)
        if made is None:
            return
        self._made[name] = made
        first, places = made[:_AT_ONCE], places[:_AT_ONCE]
        turned = self._fresh(jail, name, _TRAINING, places[::-1])
        if turned is not None and turned[::-1] != first:
            self._add(name, "order", _difference(first, turned[::-1], "made in the opposite order"))
        if self._target.is_file and self._target.has_splits:
            count, of = shared(name)
            if count:
                self._add(name, "overlap", f"{count} of {of} questions of evaluation are questions of training")
        elif self._target.has_splits and (later := self._fresh(jail, name, _EVALUATION, places)) is not None:
            # With the answer, since the first view of a game such as Mastermind is the same for all.
            common = {tuple(each.items()) for each in first} & {tuple(each.items()) for each in later}
            if len(common) >= 2:
                self._add(name, "overlap", f"{len(common)} of {len(places)} tasks of seed 0 occur under seed 1")

    def _compare(self, jail: AuditWorker, subjects: Sequence[str], check: str, where: str) -> None:
        """Compares the tasks, and the reward of the right answer, with those of the first process."""
        for name in subjects:
            first = self._made.get(name)
            if first is not None:
                made = self._fresh(jail, name, _TRAINING, list(range(self._config.draws)))
                if made is not None and made != first:
                    is_random = check == "hash_seed" and (name, "process") in self._found
                    also = "; they differ between processes of one hash seed, too" if is_random else ""
                    self._add(name, check, _difference(first, made, where) + also)
                elif name in self._oracle and (item := self._item(jail, name, 0)) is not None:
                    answer, paid = self._oracle[name]
                    result = self._score(jail, name, item, answer)
                    if result.status == "ok" and result.value != paid:
                        self._add(name, "unstable_score", f"pays {paid:g}, and {result.value:g} {where}")
            self._progress(where, len(subjects))

    def _item(self, jail: AuditWorker, name: str, index: int) -> _Item | None:
        result = jail.call("item", name, _TRAINING, index, trusts_text=True)
        if result.status != "ok":
            self._add(name, "item", f"task {index}: {result.reason}")
            return None
        value: Mapping[str, Any] = result.value
        return _Item(index, value["question"], value["answer"], value["solutions"], dict(value["wrong"]))

    def _fresh(self, jail: AuditWorker, name: str, seed: int, places: list[int]) -> list[dict[str, str]] | None:
        made: list[dict[str, str]] = []
        for start in range(0, len(places), _AT_ONCE):
            result = jail.call("fresh_items", name, seed, places[start : start + _AT_ONCE], trusts_text=True)
            if result.status != "ok":
                self._add(name, "item", f"tasks of seed {seed}: {result.reason}")
                return None
            made += result.value
        return made

    def _score(self, jail: AuditWorker, name: str, item: _Item, answer: str) -> JailResult:
        if jail.process_id is None:  # a worker that was replaced has not made the task yet
            self._item(jail, name, item.place)
        self._answers += 1
        return jail.call("score", name, _TRAINING, item.place, answer, answer=answer, marker=MARKER)


def _no_progress(phase: str, total: int) -> None:
    """Shows nothing."""


def _actions(result: JailResult) -> list[str]:
    """Refused actions other than executing text, which may be the verifier's own."""
    return [each for each in result.attempts if not each.startswith("exec")]


def _difference(first: Sequence[Mapping[str, str]], second: Sequence[Mapping[str, str]], where: str) -> str:
    differing = [place for place, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    part = "question" if first[differing[0]]["question"] != second[differing[0]]["question"] else "answer"
    return f"{len(differing)} of {len(first)} tasks differ {where}, such as the {part} of task {differing[0]}"


def _leaks(question: str, answer: str) -> bool:
    """Whether a question holds its answer: a long one, or one behind a word such as `answer:`."""
    answer = " ".join(answer.split()).casefold()
    text = " ".join(question.split()).casefold()
    if not answer:
        return False
    if len(answer) >= _LONG_ANSWER:
        return answer in text
    return any(f"{word} {answer}" in text for word in ("answer:", "answer is", "solution:", "####"))


def _short(text: str) -> str:
    """A text as one short line in quotes."""
    shown = ascii(text) if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]!a}..."
    return " ".join(shown.split())
