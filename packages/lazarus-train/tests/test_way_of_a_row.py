"""The way of one row to its gradient is the one that CONTRIBUTING tells, and it never goes back up."""

import re
import sys
import threading
from pathlib import Path

from lazarus_train import train

PAGE = Path(__file__).parents[3] / ".github" / "CONTRIBUTING.md"
SECTION = PAGE.read_text("utf-8").partition("### The way of one row to its gradient")[2].partition("\n#")[0]
HOPS = re.findall(r"^\d+\. `(lazarus_\w+[\w.<>]+)`: ", SECTION, re.MULTILINE)


def test_the_hops_are_called_in_the_order_that_is_told(setup):
    called: list[str] = []
    lock = threading.Lock()

    def note(frame, event, _):
        if event == "call":
            name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
            with lock:
                if name in HOPS and name not in called:
                    called.append(name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        train(setup.config(max_steps=1))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert len(HOPS) == 12
    assert called == HOPS


def test_nothing_below_the_loop_calls_back_into_it(setup):
    """While gradients are computed, no function of the trainer, of the set-up or of the registry runs."""
    loop = ("lazarus_train.engine.trainer", "lazarus_train.engine.training_loop")
    above = {*loop, "lazarus_train.engine.setup", "lazarus_train.objective_registry"}
    inside, found = [0], set()

    def note(frame, event, _):
        module = frame.f_globals.get("__name__")
        if frame.f_code.co_qualname == "compute_gradients" and event in ("call", "return"):
            inside[0] += 1 if event == "call" else -1
        elif event == "call" and inside[0] and module in above:
            found.add(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        train(setup.config(max_steps=1))
    finally:
        sys.setprofile(None)
    assert found <= {"TrainingLoop._gradients.<locals>.<genexpr>"}  # the step's micro-batches, made when they are due
