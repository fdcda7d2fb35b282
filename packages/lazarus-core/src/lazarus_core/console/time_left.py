"""The remaining time of long work, estimated from the pace of its updates."""

MIN_UPDATES = 3
"""Updates before the first estimate. The first ones often compile code or fill caches: on a GPU a first training step
takes a minute, the second a tenth of a second.
"""


class TimeLeft:
    """Estimates the remaining time by the mean pace of the updates so far.

    Two intervals do not count: the one before the first update, which includes the warm-up, and the longest of the
    others, which may be a second warm-up (another shape) or a pause. So the estimate is never above the slowest pace
    that was measured, nor below the fastest.
    """

    def __init__(self) -> None:
        self._updates = 0
        self._last = 0.0
        self._seconds, self._units = 0.0, 0
        self._longest = (0.0, 0)

    def update(self, units: int, now: float) -> None:
        """Records that `units` more units are done.

        Args:
            units: Units since the last update; 0 or less is ignored.
            now: Time of a monotonic clock, in seconds.
        """
        if units <= 0:
            return
        if self._updates:
            interval = (max(0.0, now - self._last), units)
            self._longest = max(self._longest, interval)
            self._seconds += interval[0]
            self._units += units
        self._updates += 1
        self._last = now

    def seconds(self, units: int) -> float | None:
        """The estimated time of the remaining units, in seconds; None before the third update.

        Args:
            units: Units that are left, at least 0.
        """
        if self._updates < MIN_UPDATES:
            return None
        seconds, count = self._seconds - self._longest[0], self._units - self._longest[1]
        return max(0.0, seconds) / count * units
