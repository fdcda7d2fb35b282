r"""The command that follows a hint.

Public servers write a hint as a sentence, in every mode. Each rule is a pattern of such a sentence and the command that
does what it says. Sentences were collected by playing all games of both public servers.
"""

import re
from collections.abc import Callable

Match = re.Match[str]
_CELL = r"row (\d+), column (\d+)"


def _edge(match: Match) -> str:
    kind, row, column, state = match.groups()
    number = {"line": 1, "x": 2, "empty": 2, "no line": 2, "clear": 0}.get(state.lower(), 1)
    return f"set {kind[0].lower()} {row} {column} {number}"


def _schedule(match: Match) -> str:
    task, worker, time = match.groups()
    number = task if task.isdigit() else ord(task.upper()) - ord("A") + 1
    return f"assign {number} {worker} {time}"


def _filled(match: Match) -> str:
    return f"place {match[1]} {match[2]} {1 if match[3].lower() == 'filled' else 0}"


_RULES: list[tuple[str, str | Callable[[Match], str]]] = [
    (rf"placing a (?:queen|tent|star) at {_CELL}", r"place \1 \2 1"),
    (rf"placing (\d+) at {_CELL}", r"place \2 \3 \1"),
    (rf"marking {_CELL} as (filled|empty)", _filled),
    (rf"clearing {_CELL}", r"clear \1 \2"),
    (rf"pressing the light at {_CELL}", r"press \1 \2"),
    (r"secret code is:? ([\d ]+)", r"guess \1"),
    (r"guessing ([\d ]+)", r"guess \1"),
    (r"setting (horizontal|vertical) edge at \((\d+), ?(\d+)\) to (line|x|empty|no line|clear)", _edge),
    (
        r"placing (\d+) bridge\(?s?\)? between \((\d+), ?(\d+)\) and \((\d+), ?(\d+)\)",
        r"bridge \2 \3 \4 \5 \1",
    ),
    (rf"unshading (?:the )?(?:cell at )?{_CELL}", r"unshade \1 \2"),
    (rf"shading (?:the )?(?:cell at )?{_CELL}", r"shade \1 \2"),
    (r"rectangle from \((\d+), ?(\d+)\) to \((\d+), ?(\d+)\)", r"place \1 \2 \3 \4"),
    (r"deselecting item (\d+)", r"deselect \1"),
    (r"selecting item (\d+)", r"select \1"),
    (r"scheduling Task (\w) on Worker (\d+) at time (\d+)", _schedule),
    (r"marking \((\d+), ?(\d+)\) as (white|black)", r"mark \1 \2 \3"),
    (r"assigning (\w[\w ]*?) to house (\d+) as its (\w+)", r"assign \2 \3 \1"),
    (rf"removing the flag at {_CELL}", r"flag \1 \2"),
    (r"(?:revealing|reveal) (?:cell )?\((\d+), ?(\d+)\)", r"reveal \1 \2"),
    (rf"revealing {_CELL}", r"reveal \1 \2"),
    (r"flagging (?:cell )?\((\d+), ?(\d+)\)", r"flag \1 \2"),
    (r"coloring node (\d+) with \w+ \(color (\d+)\)", r"place \1 \2"),
    (r"moving vehicle (\w) (left|right|up|down)", r"move \1 \2"),
    (r"(?:move|push)(?: box)? (up|down|left|right)", r"move \1"),
    (r"^(\w+) has the (\w+) (color|pet|drink)", r"connect person \1 \3 \2"),
    (r"(?:assigning|placing|mapping) (?:letter )?([A-Z]) (?:=|to|as) (?:digit )?(\d)", r"assign \1 \2"),
    (r"assigning (\d) to (?:letter )?'?([A-Z])'?", r"assign \2 \1"),
]
_COMPILED = [(re.compile(pattern, re.IGNORECASE), command) for pattern, command in _RULES]


def move_of_hint(sentence: str) -> str | None:
    """The command that follows a hint, or None for a sentence of another form.

    >>> move_of_hint("Try placing 6 at row 7, column 4")
    'place 7 4 6'
    >>> move_of_hint("Try scheduling Task B on Worker 1 at time 5")
    'assign 2 1 5'
    """
    for pattern, command in _COMPILED:
        if match := pattern.search(sentence):
            return (match.expand(command) if isinstance(command, str) else command(match)).strip()
    return None
