import io
import re
import sys
import time

from lazarus_core.console import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_time_left_of_a_bar_counts_the_units_of_this_run_only(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress("training", total=1000, unit="steps", done=900) as advance:
        time.sleep(0.4)
        advance(1, note="loss 1.0")  # 99 steps of 0.4 s are left; over all 901 steps they would be 0.04 s
    found = re.findall(r"steps  (\d+) s left  loss 1\.0", screen.getvalue())
    assert found and 38 <= int(found[-1]) <= 90
    assert "901/1000" in screen.getvalue()
