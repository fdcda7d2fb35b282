"""Writes an environment and its tasks as one Python file for a library, with exact verifiers.

A file is made of this package's own modules and the `.txt` parts of this folder, so its scores are the scores of this package. A game brings
its generator, rules and solver; questions come as data with the code that reads replies.
"""

import ast
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from lazarus_core.outputs import OutputKind
from lazarus_core.plugins import near_name
from lazarus_core.source_files import join_sources
from lazarus_gym.environments import GAMES, Level, MathsEnvironment, ToolCallEnvironment
from lazarus_gym.errors import TaskError
from lazarus_gym.tasks.families import FAMILIES
from lazarus_gym.tasks.maths import Task, generate_tasks
from lazarus_gym.tasks.questions import Kind
from lazarus_gym.tasks.tool_calls import call_of

Library = Literal["trl", "verifiers", "openenv"]
LIBRARIES: tuple[Library, ...] = get_args(Library)
PARTS = Path(__file__).parent
PACKAGE = PARTS.parent
_MARK = "# Digest of the lines above: "
_OWN = ("lazarus_gym", "typing_extensions")


class ExportConfig(BaseModel):
    """Which tasks a file has."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    count: int = Field(default=100, ge=1, le=1_000_000)
    """Number of tasks."""
    seed: int = Field(default=0, ge=0, le=2**62)
    """Seed of the questions, or of the first puzzle; each further puzzle adds one."""
    level: Level = "easy"
    """Level of puzzles."""
    digits: int = Field(default=2, ge=1, le=7)
    """Largest number of digits in questions."""


def export_tasks(name: str, library: Library, config: ExportConfig | None = None) -> str:
    """The file of an environment or a family of tasks.

    Args:
        name: A game, `maths`, `tool_calls`, or a family: math, algebra, word, tools.
        library: What loads the file.
        config: Which tasks it has.

    Raises:
        TaskError: There is no such name (LG-E178), or there are not that many different questions (LG-E105).
    """
    settings = config or ExportConfig()
    if name in GAMES:
        sources, words = _game(name, library, settings)
    else:
        sources, words = _questions(name, library, settings)
    words |= {"NAME": name}
    content = join_sources([_filled(source, words) for source in sources], own=_OWN)
    return f"{content}\n\n{_MARK}{_digest(content)}\n"


def _game(name: str, library: Library, settings: ExportConfig) -> tuple[list[str], dict[str, str]]:
    game = GAMES[name]
    kind = type(game)
    module = kind.__module__.rpartition(".")[2]
    engine = [path.read_text("utf-8") for path in _needed(["play", module])]
    rows = [{"level": settings.level, "seed": settings.seed + number} for number in range(settings.count)]
    sources = [_own("exports/substitutes.py"), *engine, _part("game_rows"), _part("score")]
    tools = f"{kind.__name__}Tools"
    if library == "trl":
        sources += [_classes(_own("environments/tools.py"), tools), _part("trl_game")]
    elif library == "verifiers":
        sources += [_part("verifiers_play"), _part("verifiers")]
    else:
        sources += [_part("openenv")]
    words = {
        "TITLE": f"{game.title} ({settings.level})",
        "GAME": kind.__name__,
        "TOOLS": tools,
        "ROWS": _shown(rows),
        "EXPORTED": '"PlayEnv", "Tasks"',
        "LESS": ", less the share of the moves that hints gave",
    }
    return sources, words


def _questions(name: str, library: Library, settings: ExportConfig) -> tuple[list[str], dict[str, str]]:
    kinds = _kinds(name)
    is_call = kinds == FAMILIES["tools"]
    tasks = generate_tasks(settings.count, seed=settings.seed, kinds=kinds, digits=settings.digits)
    rows = [_row(task, as_text=library != "trl") for task in tasks]
    sources = [_own("exports/substitutes.py"), _own("tasks/replies.py"), _own("exports/questions.py")]
    sources += [_part("question_rows"), _part("score")]
    sources += [_part({"trl": "trl_questions", "verifiers": "verifiers", "openenv": "openenv"}[library])]
    words = {
        "TITLE": f"{len(rows)} questions ({', '.join(kinds[: settings.count])}; up to {settings.digits} digits; seed {settings.seed})",
        "INSTRUCTION": "Reply with the call and nothing else."
        if is_call
        else "Answer the question. The last number of the reply is the answer.",
        "TOOLS": _part("trl_call" if is_call else "trl_answer").strip(),
        "ROWS": _shown(rows),
        "EXPORTED": '"Tasks"',
        "LESS": "",
    }
    return sources, words


def _kinds(name: str) -> tuple[Kind, ...]:
    if name == MathsEnvironment.name:
        return tuple(kind for kinds in FAMILIES.values() for kind in kinds if kind in MathsEnvironment.tasks)
    if name == ToolCallEnvironment.name:
        return FAMILIES["tools"]
    if name in FAMILIES:
        return FAMILIES[name]
    known = [*GAMES, MathsEnvironment.name, ToolCallEnvironment.name, *FAMILIES]
    raise TaskError(
        f"nothing to export is called {name!r}{near_name(name, known)}; there are {', '.join(known)}", "LG-E178"
    )


def _row(task: Task, *, as_text: bool) -> dict[str, Any]:
    if task.kind != "calculator_call":
        return {"id": task.id, "prompt": task.prompt, "answer": task.answer}
    call = call_of(task.prompt)
    prompt = ToolCallEnvironment.text_of(task) if as_text else task.prompt
    return {"id": task.id, "prompt": prompt, "call": call}


def _needed(names: Iterable[str]) -> list[Path]:
    """The modules of the environments that some of them need, those that others import first."""
    found: list[Path] = []

    def visit(name: str) -> None:
        path = PACKAGE / "environments" / f"{name}.py"
        if path in found:
            return
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lazarus_gym.environments."):
                visit((node.module or "").rpartition(".")[2])
        found.append(path)

    for name in names:
        visit(name)
    return found


def _classes(source: str, name: str) -> str:
    """A source with one class and its bases alone."""
    tree = ast.parse(source)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    chosen: list[str] = []
    bases = [name]
    while bases:
        node = classes[bases.pop()]
        chosen.insert(0, ast.get_source_segment(source, node) or "")
        bases += [base.id for base in node.bases if isinstance(base, ast.Name)]
    return '"""The tools."""\n\nfrom typing import Any\n\n\n' + "\n\n\n".join(chosen)


def _own(name: str) -> str:
    return (PACKAGE / name).read_text("utf-8")


def _part(name: str) -> str:
    return (PARTS / f"{name}.txt").read_text("utf-8")


def _filled(source: str, words: dict[str, str]) -> str:
    """A part with its marks replaced, such as `@ROWS@`."""
    return re.sub(r"@([A-Z]+)@", lambda found: words[found[1]], source)


def _shown(rows: list[dict[str, Any]]) -> str:
    return "\n".join(f"    {row!r}," for row in rows)


def _digest(content: str) -> str:
    return hashlib.sha256(content.rstrip().encode()).hexdigest()


def _is_unchanged(path: Path) -> bool:
    """Whether a file is an export as it was written: people edit theirs."""
    content, mark, digest = path.read_text("utf-8", errors="replace").rpartition(_MARK)
    return bool(mark) and digest.strip() == _digest(content)


EXPORT = OutputKind("an unedited export", _is_unchanged, code="LG-E118")
