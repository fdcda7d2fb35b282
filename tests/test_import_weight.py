"""`--help` answers at once: it loads no array library, no model code, and nothing else that it does not show.

What counts is which modules are loaded; the time is printed beside (`pytest -s`), against that of `import typer`.
"""

import subprocess
import sys
import time

import pytest

# typer loads rich for the help of options before 0.21.1; the oldest versions are tested without this file
HEAVY = {"mlx", "mlx_lm", "transformers", "torch", "numpy", "pydantic", "tokenizers", "jinja2", "safetensors", "rich"}
SLOWEST = 5.0  # times `import typer`; measured 1 to 2, so only a blunder reaches it

HELP = [
    "lazarus_plan.__main__",
    "lazarus_tokenkit.__main__",
    "lazarus_models.__main__",
    "lazarus_train.__main__",
    "lazarus_introspect.__main__",
    "lazarus_gym.__main__",
    "lazarus_corpus.__main__",
    "lazarus_cli.__main__",
]


def loaded_by_help(module: str, *args: str) -> set[str]:
    """Runs `ARGS --help` by a module's `main` and returns the top-level names that are loaded at its end."""
    code = (
        f"import sys; from {module} import main; sys.argv[1:] = {[*args, '--help']!r}\n"
        "try: main()\n"
        "finally: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:6]) == (0, "Usage:"), done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("module", HELP)
def test_help_loads_nothing_heavy(module: str):
    assert loaded_by_help(module) & HEAVY == set()


@pytest.mark.parametrize("command", ["train", "train sft", "data", "tokenizer", "generate", "infer", "quickstart"])
def test_help_of_a_mounted_command_loads_nothing_heavy(command: str):
    loaded = loaded_by_help("lazarus_cli.__main__", *command.split())
    assert loaded & (HEAVY - {"pydantic"}) == set()  # typer reads the types of options by pydantic where it is there


@pytest.mark.slow
@pytest.mark.parametrize("module", ["lazarus_plan", "lazarus_tokenkit", "lazarus_models", "lazarus_train"])
def test_importing_a_package_loads_none_of_its_modules(module: str):
    code = f"import sys, {module}; print(*(name for name in sys.modules if name.startswith('{module}.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.slow
@pytest.mark.parametrize("module", ["lazarus_plan.__main__", "lazarus_cli.__main__"])
def test_help_takes_about_as_long_as_importing_typer(module: str):
    floor = _seconds("import typer")
    taken = _seconds(f"import sys; from {module} import main; sys.argv[1:] = ['--help']; main()")
    print(f"{module} --help: {taken:.2f} s, {taken / floor:.1f} times `import typer` ({floor:.2f} s)")
    assert taken < SLOWEST * floor


def _seconds(code: str) -> float:
    """The best of three processes."""
    times: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return min(times)
