"""Ticks of an axis: round values and their labels."""

import math
from collections.abc import Sequence

_UNITS = (("G", 1e9), ("M", 1e6), ("k", 1e3))
_FROM_UNITS = 1e4
"""Labels of smaller axes have thousands separators, without a unit."""
_FROM_EXPONENT = 1e-3
"""Labels of smaller axes have an exponent."""


_SMALLEST = 1e-300
"""Smallest step: below it the arithmetic of floats loses digits."""


def round_ticks(low: float, high: float, count: int = 5, *, is_whole: bool = False) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from at or below `low` to at or above `high`.

    >>> round_ticks(0.3, 9.2)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]

    Args:
        low: Smallest value.
        high: Largest value, above `low`.
        count: About how many steps to make.
        is_whole: Whether the values are whole numbers.
    """
    rough = max((high - low) / count, _SMALLEST)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.999)
    step = max(step, 1.0) if is_whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


MAX_CHARACTERS = 42
"""Characters of all labels of an axis, with a space each: 300 pixels."""


def ticks_between(low: float, high: float, count: int = 5) -> list[float]:
    """Round whole values within `low` and `high` whose labels fit a narrow page; both ends if no round value is between.

    >>> ticks_between(1, 100)
    [20.0, 40.0, 60.0, 80.0, 100.0]

    Args:
        low: Smallest value.
        high: Largest value.
        count: About how many steps to make.
    """
    if high <= low:
        return [low]
    for steps in range(count, 0, -1):
        found = [each for each in round_ticks(low, high, steps, is_whole=True) if low <= each <= high]
        if sum(len(each) + 1 for each in tick_labels(found or [low])) <= MAX_CHARACTERS:
            return found if len(found) > 1 else [low, high]
    return [low, high]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Labels with the same unit and number of decimals.

    >>> tick_labels([0, 500_000, 1_000_000])
    ['0', '0.5M', '1.0M']
    >>> tick_labels([0.0, 2e-05, 4e-05])
    ['0', '2e-5', '4e-5']
    """
    largest = max(map(abs, ticks))
    unit, size = next((each for each in _UNITS if largest >= _FROM_UNITS and largest >= each[1]), ("", 1.0))
    exponent = math.floor(math.log10(largest)) if 0 < largest < _FROM_EXPONENT else 0
    size, unit = (10.0**exponent, f"e{exponent}") if exponent else (size, unit)
    scaled = [each / size for each in ticks]
    decimals = next(
        (each for each in range(6) if all(math.isclose(round(one, each), one, abs_tol=1e-9) for one in scaled)), 6
    )
    return [f"{one:,.{decimals}f}{unit}" if one else "0" for one in scaled]


def short_figure(value: float) -> str:
    """A value in few characters: whole from a thousand on, else four significant digits.

    >>> [short_figure(each) for each in (10234.56, 2.35264, 3.42, 1.0711e-06, 24)]
    ['10,235', '2.353', '3.420', '1.071e-6', '24']
    """
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    text = f"{value:#.4g}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text
