"""Tasks with one fault each, as functions of a worker. The name of a task is its fault."""

import itertools
import os
from pathlib import Path

CALLS = itertools.count()
FAULTS = (
    *(
        "clean",
        "executes",
        "attempts",
        "wrong",
        "empty",
        "crash",
        "hang",
        "ends",
        "oracle",
        "no_oracle",
        "unstable_score",
    ),
    *("hash_seed", "process", "order", "leak", "solutions", "overlap", "item"),
)


def names():
    return list(FAULTS)


def item(name, seed, index):
    if name == "item":
        raise RuntimeError("no task")
    question = f"{'the same' if name == 'overlap' else seed}: {index} + 1000?"
    answer = str(index + 1000)
    if name == "hash_seed":
        question += str(list({"a", "b", "c", "d", "e", "f"}))
    if name == "process":
        question += str(os.getpid())
    if name == "order":
        question += str(next(CALLS))
    if name == "leak":
        question += f" Answer: {answer}"
    if name == "no_oracle":
        answer = ""
    solutions = 2 if name == "solutions" else None
    return {"question": question, "answer": answer, "solutions": solutions, "wrong": {}}


def fresh_items(name, seed, indices):
    global CALLS
    CALLS = itertools.count()
    return [{each: made[each] for each in ("question", "answer")} for made in (item(name, seed, i) for i in indices)]


def score(name, seed, index, answer):
    right = str(index + 1000)
    if name == "executes":
        try:
            return float(str(eval(answer)) == right)
        except Exception:  # noqa: BLE001 # the fault of many verifiers
            return 0.0
    if name == "attempts":
        Path("/tmp/lazarus-audit-toy").write_text(answer)
    if name == "wrong":
        return float(bool(answer))
    if name == "empty":
        return float(answer in ("", right))
    if name == "crash":
        return float(int(answer) == int(right))
    if name == "hang" and answer == "True":
        while True:
            pass
    if name == "ends" and answer == "True":
        os._exit(3)
    if name == "oracle":
        return 0.5 * (answer == right)
    if name == "unstable_score":
        return 1.0 - (os.getpid() % 1000) / 1e6 if answer == right else 0.0
    return float(answer.strip() == right)
