"""Runs the console blocks of the README in a copy of this clone, and writes the output into them.

    uv run python tools/readme_example.py           # shows the blocks
    uv run python tools/readme_example.py --write   # writes them into README.md

A command that ends in `# exit N` is expected to end with that code, any other with 0.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
EXIT = re.compile(r"  # exit (\d+)$")
PROGRESS = re.compile(r"^\w+: [\d,]+/[\d,]+ \w+, .*\n", re.MULTILINE)
"""A line that a slow machine prints and a fast one does not."""


class Command(NamedTuple):
    """A line of a console block that begins with `$ `."""

    line: str
    output: list[str]

    @property
    def exit_code(self) -> int:
        found = EXIT.search(self.line)
        return int(found[1]) if found else 0


def commands(block: str) -> list[Command]:
    """The commands of a console block, each with the output that the block shows."""
    found: list[Command] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        else:
            found[-1].output.append(line)
    return found


def copy_of_clone(folder: Path) -> Path:
    """The files that git tracks or would track, in a folder of their own."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def run(command: Command, folder: Path) -> str:
    """Output and errors of a command of this environment, with paths as they are seen from the folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command.line],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != command.exit_code:
        raise SystemExit(f"exit {done.returncode}: {command.line}\n{done.stdout}")
    return PROGRESS.sub("", done.stdout).replace(f"{folder.resolve()}/", "")


def played(text: str, folder: Path) -> Iterator[str]:
    """Each console block of a page as it is now."""
    for block in BLOCK.findall(text):
        yield "".join(f"$ {command.line}\n{run(command, folder)}" for command in commands(block))


def main() -> None:
    text = README.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        blocks = played(text, copy_of_clone(Path(folder)))
        new = BLOCK.sub(lambda _: next(blocks), text)
    if "--write" in sys.argv[1:]:
        README.write_text(new, "utf-8")
    else:
        print("\n".join(BLOCK.findall(new)))


if __name__ == "__main__":
    main()
