"""The meaning of every error and warning code of the installed Lazarus packages.

Each package lists its codes in one table, `lazarus_<package>.codes.CODES`, and announces it in the entry-point group
`lazarus.codes`. `lazarus explain CODE` prints an entry without network.
"""

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

from lazarus_core.errors import LazarusError

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP = "lazarus.codes"
SHAPE = re.compile(r"L[A-Z]-[EW]\d{3}")
"""The form of a code: `LP` names the package, `E` an error, `W` a warning."""


class Code(NamedTuple):
    """One entry of the table.

    Args:
        meaning: What is wrong, in one sentence without its full stop.
        cause: How it usually comes about.
        way_out: What to do.
    """

    meaning: str
    cause: str
    way_out: str


def all_codes() -> dict[str, Code]:
    """The codes of all installed packages, in the order of the codes.

    Raises:
        LazarusError: Two packages define the same code (LC-E102).
    """
    found: dict[str, Code] = {}
    for point in entry_points(group=GROUP):
        table: Mapping[str, Code] = point.load()
        if twice := found.keys() & table.keys():
            raise LazarusError(f"code {min(twice)} is defined twice, the second time by {point.value}", "LC-E102")
        found |= table
    return dict(sorted(found.items()))


def find_code(code: str) -> Code:
    """The entry of one code.

    Args:
        code: Such as `LP-E107`; lower case is accepted.

    Raises:
        LazarusError: No installed package defines it (LC-E101).
    """
    codes = all_codes()
    name = code.strip().upper()
    if name not in codes:
        near = [known for known in codes if known[:5] == name[:5]]
        known = f"; codes like it: {', '.join(near[:8])}" if near else "; `lazarus explain --all` lists all"
        raise LazarusError(f"no installed package defines the code {code}{known}", "LC-E101")
    return codes[name]


def codes_page() -> str:
    """The table of all codes as Markdown."""
    lines = [
        "# Error codes",
        "",
        "Every error line of a Lazarus command ends with its code in brackets, such as `[LP-E001]`; JSON and SARIF outputs",
        "carry it too. `lazarus explain CODE` prints an entry of this page. A code never changes its meaning.",
        "",
        "| code | meaning | usual cause | way out |",
        "|---|---|---|---|",
    ]
    rows = (f"| `{name}` | {code.meaning} | {code.cause} | {code.way_out} |" for name, code in all_codes().items())
    return "\n".join([*lines, *rows]) + "\n"
