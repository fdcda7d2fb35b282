"""Synthetic tasks with one integer answer, and the verifier that parses it from a reply.

A *kind* is a numbered set of questions: their number, and a function from an index to its question. A *seed*
determines an order of those indices by SHA-256. So the same seed gives the same tasks on every machine. No prompt
occurs twice, and the first n tasks of a longer set are the set of n. A task takes about 3 microseconds.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lazarus_gym.errors import TaskError
from lazarus_gym.tasks import algebra, stories, tool_calls
from lazarus_gym.tasks.questions import (
    ALL_KINDS,
    FEWEST,
    KINDS,
    NAMES,
    THINGS,
    Kind,
    Question,
    Questions,
    descending_pair,
    num_descending_pairs,
)
from lazarus_gym.tasks.replies import last_number

MAX_DIGITS = 7
"""Largest number of digits for which every answer is below 2**53. JSON readers represent these exactly (RFC 8259,
section 6).
"""


@dataclass(frozen=True)
class Task:
    """A question with its answer.

    Args:
        id: Unique within a kind, a number of digits and a seed: `addition-d2-s0-17`.
        kind: Kind of the question.
        prompt: The question, one line; unique in its set.
        reply: The shortest worked reply; `verify` accepts it.
        answer: The number at the end of a correct reply.
    """

    id: str
    kind: Kind
    prompt: str
    reply: str
    answer: int


@dataclass(frozen=True)
class Verdict:
    """Result of `verify`: whether the reply is correct, and the number found in it, if any."""

    correct: bool
    found: str | None


def generate_tasks(count: int, *, seed: int = 0, kinds: Sequence[Kind] = KINDS, digits: int = 2) -> list[Task]:
    """Generates tasks that alternate between kinds. The same arguments give the same tasks on every machine.

    >>> [task.prompt for task in generate_tasks(2)]
    ['What is 17 + 92?', 'What is 60 - 77?']

    Args:
        count: Number of tasks, at least 1.
        seed: Any integer; another seed gives another order of the same questions.
        kinds: Kinds, without duplicates; task i has kind `kinds[i % len(kinds)]`.
        digits: The numbers in the questions are below 10**digits; 1 to 7.

    Raises:
        TaskError: A kind is unknown or duplicated, or has fewer different questions than requested.
    """
    _check(count, kinds, digits)
    bound = 10**digits
    numbers = [_numbers(f"{kind}|{digits}|{seed}", _QUESTIONS[kind].size(bound)) for kind in kinds]
    tasks: list[Task] = []
    for i in range(count):
        turn, which = divmod(i, len(kinds))
        kind = kinds[which]
        question = _QUESTIONS[kind].ask(next(numbers[which]), bound)
        tasks.append(Task(f"{kind}-d{digits}-s{seed}-{turn}", kind, *question))
    return tasks


def verify(task: Task, reply: str) -> Verdict:
    """Compares the last number of a reply with the task's answer.

    Thousands may be separated by commas. A minus may be the typographic one. Words and punctuation may follow.

    >>> task = Task("addition-d4-s0-0", "addition", "What is 1200 + 34?", "1200 + 34 = 1234", 1234)
    >>> verify(task, "That makes 1,234 in all.")
    Verdict(correct=True, found='1234')
    >>> verify(task, "I do not know.")
    Verdict(correct=False, found=None)

    Args:
        task: A task; its `answer` is a whole number.
        reply: Text of the reply, of any length.
    """
    found = last_number(reply)
    return Verdict(found == str(task.answer), found)


def _check(count: int, kinds: Sequence[Kind], digits: int) -> None:
    if count < 1:
        raise TaskError(f"`count` is {count}; give at least 1", "LG-E101")
    if not 1 <= digits <= MAX_DIGITS:
        raise TaskError(f"`digits` is {digits}; choose 1 to {MAX_DIGITS}", "LG-E102")
    if unknown := [kind for kind in kinds if kind not in ALL_KINDS]:
        raise TaskError(f"unknown kind {unknown[0]!r}; choose from {', '.join(ALL_KINDS)}", "LG-E103")
    if not kinds or len(set(kinds)) < len(kinds):
        raise TaskError("`kinds` is empty or repeats a kind; give one or more, each once", "LG-E104")
    for which, kind in enumerate(kinds):
        share = len(range(which, count, len(kinds)))
        if share > (size := _QUESTIONS[kind].size(10**digits)):
            raise TaskError(
                f"`digits={digits}` has {size} different {kind} questions, but {share} are needed; "
                "lower `count` or raise `digits`",
                "LG-E105",
            )


def _numbers(key: str, size: int) -> Iterator[int]:
    """Yields every number of [0, size) once, in the order that the key determines."""
    drawn: set[int] = set()
    turn = 0
    while len(drawn) < size:
        digest = hashlib.sha256(f"lazarus-gym/1|{key}|{turn}".encode()).digest()
        number = int.from_bytes(digest, "big") % size  # even to 2**-179: a size is below 2**77
        turn += 1
        if number not in drawn:
            drawn.add(number)
            yield number


def _calculations(sign: str, compute: Callable[[int, int], int]) -> Questions:
    def size(bound: int) -> int:
        return bound * bound

    def ask(number: int, bound: int) -> Question:
        a, b = divmod(number, bound)
        answer = compute(a, b)
        return Question(f"What is {a} {sign} {b}?", f"{a} {sign} {b} = {answer}", answer)

    return Questions(size, ask)


def _num_comparisons(bound: int) -> int:
    return bound * (bound - 1)


def _comparison(number: int, bound: int) -> Question:
    a, b = divmod(number, bound - 1)
    b += b >= a  # skips b = a
    return Question(f"Which is larger, {a} or {b}?", f"{max(a, b)}", max(a, b))


def _num_stories(bound: int) -> int:
    m = bound - FEWEST
    return (num_descending_pairs(m) + m * m) * m * len(NAMES) * len(THINGS)


def _story(number: int, bound: int) -> Question:
    """A word problem with two operations: `a - c + b` with c <= a, or `a * c + b`."""
    m = bound - FEWEST
    number, name = divmod(number, len(NAMES))
    number, thing = divmod(number, len(THINGS))
    pair, last = divmod(number, m)
    who, things, b = NAMES[name], THINGS[thing], last + FEWEST
    num_giving = num_descending_pairs(m)
    if pair < num_giving:
        a, c = (n + FEWEST for n in descending_pair(pair))
        tale, steps, answer = f"has {a} {things}, gives {c} away", f"{a} - {c} + {b}", a - c + b
    else:
        a, c = (n + FEWEST for n in divmod(pair - num_giving, m))
        tale, steps, answer = f"has {a} bags of {c} {things}", f"{a} * {c} + {b}", a * c + b
    return Question(f"{who} {tale} and finds {b} more. How many {things}?", f"{steps} = {answer}", answer)


_QUESTIONS: Mapping[Kind, Questions] = {
    "addition": _calculations("+", lambda a, b: a + b),
    "subtraction": _calculations("-", lambda a, b: a - b),
    "multiplication": _calculations("*", lambda a, b: a * b),
    "comparison": Questions(_num_comparisons, _comparison),
    "word_problem": Questions(_num_stories, _story),
    **algebra.QUESTIONS,
    **stories.QUESTIONS,
    **tool_calls.QUESTIONS,
}
