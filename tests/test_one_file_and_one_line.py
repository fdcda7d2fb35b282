"""A family, a reader and a command of a package are one new file and one line of it; tried on copies of the packages.

`test_objective_packages.py` has the same for objectives, `test_*_packages.py` for packages of somebody else.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
FAMILY = '''"""Llama under another name."""

from lazarus_models.families.family import Family
from lazarus_models.families.llama import FAMILY as LLAMA

FAMILY = Family(LLAMA.config, LLAMA.architecture)
'''
READER = '''"""Questions and answers, separated by a bar."""


def read(path):
    for line in path.read_text("utf-8").splitlines():
        question, _, answer = line.partition("|")
        yield {"prompt": question, "completion": answer}
'''
COMMAND = '''"""`lazarus data count`."""

from pathlib import Path


def count(path: Path) -> None:
    """Count the lines of a file."""
    print(len(path.read_bytes().splitlines()))
'''
CONFIG = {
    "model_type": "toy",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 300,
}


class Copy:
    """A package's source and metadata in a folder, first on the import path of new processes."""

    def __init__(self, folder: Path, package: str) -> None:
        module = package.replace("-", "_")
        about = distribution(package)
        assert about.files is not None
        shutil.copytree(ROOT / "packages" / package / "src" / module, folder / module)
        metadata = folder / f"{module}-{about.version}.dist-info"
        metadata.mkdir()
        for name in ("METADATA", "entry_points.txt"):
            (metadata / name).write_text(about.read_text(name) or "")
        self.folder = folder
        self.module = folder / module
        self.points = metadata / "entry_points.txt"

    def line(self, file: Path, after: str, line: str) -> None:
        """Adds one line below another."""
        text = file.read_text("utf-8")
        assert text.count(after) == 1
        file.write_text(text.replace(after, f"{after}{line}\n"), "utf-8")

    def run(self, *command: str) -> str:
        """What Python prints, started beside the copy."""
        environment = os.environ | {"PYTHONPATH": str(self.folder)}
        done = subprocess.run(
            [sys.executable, *command], env=environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_a_family(tmp_path: Path):
    copy = Copy(tmp_path, "lazarus-models")
    (copy.module / "families/toy.py").write_text(FAMILY)
    copy.line(copy.module / "families/__init__.py", '    STARCODER2 = "starcoder2"\n', '    TOY = "toy"')
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    said = copy.run(
        "-c",
        "from pathlib import Path\n"
        "import lazarus_models\n"
        "import mlx.core as mx\n"
        "from lazarus_tokenkit import load_tokenizer\n"
        "config = lazarus_models.read_config(Path('config.json'))\n"
        "loaded = lazarus_models.init_model(config, load_tokenizer('byte'), seed=1)\n"
        "print(loaded.config.model_type, loaded.model(mx.array([[1, 2, 3]])).shape, lazarus_models.__file__)",
    )
    assert said.startswith("toy (1, 3, ") and str(tmp_path) in said


def test_a_reader(tmp_path: Path):
    copy = Copy(tmp_path, "lazarus-tokenkit")
    (copy.module / "samples/bars.py").write_text(READER)
    with copy.points.open("a") as points:
        assert "lazarus.readers" not in copy.points.read_text()
        points.write("\n[lazarus.readers]\nbars = lazarus_tokenkit.samples.bars:read\n")
    (tmp_path / "d.bars").write_text("1+1=|2\n")
    said = copy.run("-c", "from lazarus_tokenkit import read_samples; print(next(iter(read_samples('d.bars'))))")
    assert "prompt='1+1='" in said and "completion='2'" in said


def test_a_command(tmp_path: Path):
    copy = Copy(tmp_path, "lazarus-tokenkit")
    (copy.module / "cli/count.py").write_text(COMMAND)
    copy.line(copy.points, "[lazarus.commands]\n", "data.count = lazarus_tokenkit.cli.count:count")
    (tmp_path / "rows.txt").write_text("a\nb\n")
    assert copy.run("-m", "lazarus_cli", "data", "count", "rows.txt") == "2\n"
    assert "  count " in copy.run("-m", "lazarus_cli", "data", "--help")
    assert "Count the lines of a file." in copy.run("-m", "lazarus_cli", "data", "count", "--help")
