"""Runs the code blocks of a Markdown document in order, in one folder, and compares what they print with what it shows.

    python tests/support/documents.py                     # names the documents whose output is stale
    python tests/support/documents.py --write [FILE ...]  # writes the new output into them
    python tests/support/documents.py --write --fresh [FILE ...]  # and new times, speeds and digests of weights

A block is run by its language:

- `console`: a line `$ COMMAND` is run by bash; the lines below are its output and errors. A line `...` means any lines.
  `# exit N` at the end of a command is its exit code, 0 otherwise.
- `bash`: commands without shown output.
- `python`: run by the tests with pytest-examples; `pytest tests/test_documents.py --update-examples` writes its output.
- `toml`, `yaml`, `json`, `jsonl`: read by their parsers.

A comment before a block says more:

- `<!-- file: NAME -->` writes the block to a file of the folder.
- `<!-- not run: REASON -->` leaves the block alone. The text of the section has the reason too.

Figures that differ between runs and machines are not compared: times, speeds, memory, losses, digests of weights.
"""

import contextlib
import functools
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # as suite_plugin.py does for the tests
    for _name, _value in {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MLX_DISABLE_COMPILE": "1"}.items():
        os.environ.setdefault(_name, _value)

import commands

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "apps/lazarus-cli/docs"
GENERATED = ("api.md", "cli.md", "errors.md")
"""Pages that are made from the code; other tests compare them."""
GUIDES = [path for path in sorted(DOCS.glob("*.md")) if path.name not in GENERATED]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("*/*/README.md"))]
IN_A_CLONE = {ROOT / "README.md"}
"""Documents whose folder is a copy of the clone; that of the others is empty."""
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "COLUMNS": "80", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
PROGRAMS = {
    "lazarus": "lazarus_cli",
    **{
        f"lazarus-{name}": f"lazarus_{name}"
        for name in ("plan", "tokenkit", "models", "train", "introspect", "gym", "corpus")
    },
}
"""Modules whose `__main__` is a command."""
COMMAND = """\
import sys
from {module}.__main__ import main
sys.argv[0] = {program!r}
sys.stdout.reconfigure(line_buffering=True)  # as on a terminal: lines of stdout and stderr in their order
main()
"""
BLOCK = re.compile(
    r"^(?:<!-- (?P<note>file|not run): (?P<detail>.*?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PLAIN = re.compile(
    rf"(?P<call>(?:{'|'.join(PROGRAMS)}) [^#]*?)(?: > (?P<file>[\w./-]+))?(?P<quiet> 2> /dev/null)?(?: +#.*)?"
)
QUOTED = re.compile(r"'[^']*'|\"[^\"$`\\]*\"")
SPECIAL = re.compile(r"[();<>|&$*?`~{}\\'\"]")
"""What bash would not take as it is, outside quotes."""
EXIT = re.compile(r" +# exit (\d+)$")
LANGUAGES = ("console", "bash", "python", "toml", "yaml", "json", "jsonl")
ELLIPSIS = "..."
PROGRESS = re.compile(r"^ *[\w ]+: [\d,]+/[\d,]+ \w+, .*\n", re.MULTILINE)
"""A line that a slow machine prints and a fast one does not."""
MEASURED = re.compile(r"\b(?:loss|perplexity|tok/s|tokens/s)\b")
"""A line whose decimals depend on the machine: rounding, speed."""
VARYING = [
    (re.compile(r"\b[\d,.]+ (tokens/s|tok/s|samples/s|MB/s)"), r"N \1"),
    (re.compile(r"\b[\d,.]+ (s|ms|min|MB|MiB|GB|GiB)\b"), r"N \1"),
    (re.compile(r"\b(audit head|first model)( +recomputed:)? (?:sha256:)?[0-9a-f]{64}"), r"\1\2 DIGEST"),
    (re.compile(r"\b(environment +recomputed:) .*"), r"\1 MACHINE"),
    (re.compile(r"^(mlx|device|blas|float32)  +.*"), r"\1 MACHINE"),  # of `lazarus doctor`
    (re.compile(r"\d{4}-\d\d-\d\d[-T ]\d\d:?\d\d:?\d\d"), "DATE"),
]


class Block(NamedTuple):
    """A code block of a document.

    Args:
        language: The word after the fence.
        text: Its lines.
        line: Number of the line of the fence, from 1.
        note: `file` or `not run`, if a comment before it says so.
        detail: The name of the file, or the reason.
        span: First and last character (exclusive) of the text in the document.
        section: The text from the heading above it to the block.
    """

    language: str
    text: str
    line: int
    note: str | None
    detail: str
    span: tuple[int, int]
    section: str


class Command(NamedTuple):
    """A command of a `console` block.

    Args:
        line: What is typed; continued lines are joined.
        shown: The lines of output that the document shows.
        typed: The lines as the document has them.
    """

    line: str
    shown: list[str]
    typed: str

    @property
    def exit_code(self) -> int:
        """What it ends with."""
        found = EXIT.search(self.line)
        return int(found[1]) if found else 0


class Stale(AssertionError):
    """A command does not do what the document says."""


def blocks(text: str) -> list[Block]:
    """The code blocks of a document, in order."""
    return [
        Block(
            found["language"],
            found["text"],
            text.count("\n", 0, found.start("language")) + 1,
            found["note"],
            found["detail"] or "",
            found.span("text"),
            text[max(text.rfind("\n## ", 0, found.start()), text.rfind("\n### ", 0, found.start()), 0) : found.start()],
        )
        for found in BLOCK.finditer(text)
    ]


def console_commands(text: str) -> list[Command]:
    """The commands of a `console` block, each with the output that it shows."""
    found: list[Command] = []
    continued = False
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], [], line))
        elif continued:
            last = found.pop()
            found.append(Command(f"{last.line[:-1].rstrip()} {line.strip()}", [], f"{last.typed}\n{line}"))
        else:
            found[-1].shown.append(line)
        continued = (line.startswith("$ ") or continued) and line.endswith("\\")
    return found


def normal(line: str) -> str:
    """A line of output without what differs between runs and machines.

    >>> normal("trained: loss 6.261 at step 1, 0.006 at step 120; 9,971 tokens/s, 11 s")
    'trained: loss N at step 1, N at step 120; N tokens/s, N s'
    """
    is_measured = MEASURED.search(line)
    for pattern, replacement in VARYING:
        line = pattern.sub(replacement, line)
    return re.sub(r"\d+\.\d+", "N", line) if is_measured else line.rstrip()


def agree(shown: list[str], printed: list[str]) -> bool:
    """Whether a command printed what is shown. `...` as a line stands for any lines, and within a line for any text.

    Args:
        shown: Lines of the document.
        printed: Lines of the command.
    """
    lines = [normal(line) for line in shown]
    pattern = "".join(
        r"(?:.*\n)*?" if line == ELLIPSIS else re.escape(line).replace(re.escape(ELLIPSIS), ".*") + r"\n"
        for line in lines
    )
    return re.fullmatch(pattern, "".join(f"{normal(line)}\n" for line in printed)) is not None


def rewritten(shown: list[str], printed: list[str], *, fresh: bool = False) -> list[str]:
    """The lines to show from now on: those of before if they agree, else the new ones, shortened as before.

    Args:
        shown: Lines of the document.
        printed: Lines of the command.
        fresh: Show the new lines even if they agree, but for those that the document shortens.
    """
    if agree(shown, printed) and (not fresh or shown.count(ELLIPSIS) > 1):
        return shown
    head, tail = len(printed), 0
    if ELLIPSIS in shown:
        head = shown.index(ELLIPSIS)
        tail = len(shown) - 1 - head if shown.count(ELLIPSIS) == 1 else 0
    new = [*printed[:head], *([ELLIPSIS] if ELLIPSIS in shown else []), *(printed[-tail:] if tail else [])]
    if len(new) != len(shown):
        return new
    return [shortened(old, line) for old, line in zip(shown, new, strict=True)]


def shortened(shown: str, printed: str) -> str:
    """A new line, cut where the line of before is cut, at the same words.

    >>> shortened("| 13 | 75 ms | ... |", "| 14 | 8 ms | 44,611 | 0.07 s |")
    '| 14 | 8 ms | ... |'
    """
    if agree([shown], [printed]) and ELLIPSIS in shown:
        return shown
    before, dots, after = shown.partition(ELLIPSIS)
    start = printed.find(before[-6:])
    if not dots or start < 0 or not printed.endswith(after):
        return printed
    return printed[: start + len(before[-6:])] + dots + after


def run(line: str, folder: Path, *, exit_code: int = 0) -> str:
    """Runs a command in a folder and returns its output and errors, with paths as they are seen from the folder.

    Args:
        line: A line for bash. A plain call of a Lazarus command is forked, which saves the start of Python.
        folder: The current folder.
        exit_code: What it has to end with.

    Raises:
        Stale: It ended with another code.
    """
    printed, code = _forked(line, folder) or _by_bash(line, folder)
    if code != exit_code:
        raise Stale(f"exit {code}, not {exit_code}: {line}\n{printed}")
    return PROGRESS.sub("", printed).replace(f"{folder.resolve()}/", "")


def _forked(line: str, folder: Path) -> tuple[str, int] | None:
    """Runs a plain call of a Lazarus command; None if the line needs a shell.

    Plain is a call without variables, patterns and pipes; its output may go to a file, and its errors nowhere.
    """
    found = PLAIN.fullmatch(line)
    if found is None or SPECIAL.search(QUOTED.sub("", found["call"])) or "\n" in line:
        return None
    program, *words = shlex.split(found["call"])
    code = COMMAND.format(module=PROGRAMS[program], program=program)
    is_merged = not (found["file"] or found["quiet"])
    done = commands.Command([sys.executable, "-c", code, *words], cwd=folder, merged=is_merged).finish()
    if found["file"]:
        (folder / found["file"]).write_text(done.stdout, "utf-8")
    return ("" if found["file"] else done.stdout) + ("" if found["quiet"] else done.stderr), done.returncode


def _by_bash(line: str, folder: Path) -> tuple[str, int]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout, done.returncode


def play(block: Block, folder: Path, *, fresh: bool = False) -> str:
    """Runs a block, except one of Python, and returns its text as it should be now.

    Args:
        block: The block.
        folder: The folder of its document.
        fresh: Show times, speeds and digests of this run.

    Raises:
        Stale: A command ended with another code, or a file is not of its format.
    """
    if block.note == "not run":
        return block.text
    if block.note == "file":
        path = folder / block.detail
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")
    match block.language:
        case "console":
            return "".join(_played(command, folder, fresh=fresh) for command in console_commands(block.text))
        case "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                run(line, folder)
        case "toml":
            tomllib.loads(block.text)
        case "yaml":
            import yaml

            yaml.safe_load(block.text)
        case "json":
            json.loads(block.text)
        case "jsonl":
            [json.loads(line) for line in block.text.splitlines()]
        case language if not block.note:
            raise Stale(f"line {block.line}: a block of `{language}` is not run: give it a language or a reason")
        case _:
            pass
    return block.text


def _played(command: Command, folder: Path, *, fresh: bool) -> str:
    printed = run(command.line, folder, exit_code=command.exit_code).splitlines()
    return "".join(f"{line}\n" for line in [command.typed, *rewritten(command.shown, printed, fresh=fresh)])


def runs_python_itself(document: Path) -> bool:
    """Whether the Python of a README runs in the tests of its package, which also run without this folder."""
    return any("find_examples" in path.read_text("utf-8") for path in document.parent.glob("tests/test_*.py"))


@functools.cache
def uncommitted() -> frozenset[Path]:
    """Files of the clone that differ from the last commit; none where it is no clone."""
    listed = ["git", "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all"]
    try:
        said = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return frozenset()
    return frozenset(ROOT / line[3:] for line in said.split("\0") if line)


def copy_of_clone(folder: Path) -> Path:
    """The files that git tracks or would track, in a folder of their own."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def prepare(document: Path, folder: Path) -> Path:
    """The folder in which the blocks of a document run, below a new folder.

    Args:
        document: The document.
        folder: An empty folder.
    """
    os.environ.update(ENVIRONMENT, HF_HOME=str(folder / "hub"), XDG_CACHE_HOME=str(folder / "cache"))
    work = folder / "work"
    work.mkdir()
    return copy_of_clone(work) if document in IN_A_CLONE else work


def replay(document: Path, *, fresh: bool = False) -> Iterator[tuple[Block, str]]:
    """The blocks of a document, those of Python aside, each with its text as it should be now.

    Args:
        document: The document.
        fresh: Show times, speeds and digests of this run.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = prepare(document, Path(folder))
        names: dict[str, object] = {"__name__": "__main__"}
        for block in blocks(document.read_text("utf-8")):
            if block.language == "python":
                if block.note == "not run" or runs_python_itself(document):
                    continue
                with (
                    contextlib.chdir(work),
                    contextlib.redirect_stdout(io.StringIO()),
                ):  # later blocks may need its files
                    exec(compile(block.text, f"{document.name}:{block.line}", "exec"), names)
            else:
                yield block, play(block, work, fresh=fresh)


def main(arguments: list[str]) -> int:
    """Names the documents whose output is stale, or writes the new output."""
    names = [Path(word).resolve() for word in arguments if not word.startswith("-")]
    stale = 0
    for document in names or (*GUIDES, *READMES):
        text = document.read_text("utf-8")
        try:
            new = list(replay(document, fresh="--fresh" in arguments))
        except Stale as error:
            print(f"{document.relative_to(ROOT)}: {error}")
            stale += 1
            continue
        changed = [(block, after) for block, after in new if after != block.text]
        for block, after in reversed(changed):
            start, end = block.span
            text = text[:start] + after + text[end:]
            print(f"{document.relative_to(ROOT)}:{block.line}: the output changed")
        if "--write" in arguments:
            document.write_text(text, "utf-8")
        else:
            stale += len(changed)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
