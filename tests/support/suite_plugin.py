"""Settings of the whole test suite: the default run and the thorough run, parallel workers, threads of BLAS libraries, shapes.

`pytest` runs the default suite in at most one worker a core. `pytest --thorough` (or `HYPOTHESIS_PROFILE=thorough`)
runs every test: all steps of a law, all parameters, all Hypothesis examples, each command in a Python of its own.
"""

import ctypes.util
import gc
import os
import shutil
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import suite

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # before the tests load NumPy
    os.environ.setdefault(_name, "1")  # each worker has one core, and two threads of a BLAS wait for each other
if sys.platform == "linux" and ctypes.util.find_library("openblas") is None:
    os.environ.setdefault("LAZARUS_BLAS", "off")  # or each command of a test warns of the slow BLAS
os.environ.setdefault("MLX_DISABLE_COMPILE", "1")  # MLX starts g++ for each kernel, which takes longer than a test

SHAPES_OF = (
    *(f"lazarus_models.components{part}" for part in ("", ".masks", ".decoder")),
    "lazarus_models.generation.sampling",
    "lazarus_train.data.batches",
    *(f"lazarus_train.objectives.{part}" for part in ("next_token", "masking")),
    *(f"lazarus_train.objectives.losses.{part}_losses" for part in ("preference", "score")),
)
"""Modules whose array shapes are checked at run time: jaxtyping's axes by beartype, from the first import of the package. It
takes a fifth of the time of tests that compute, so a run of everything leaves it out."""

GARBAGE_THRESHOLDS = (20_000, 10, 50)
"""New objects before a young collection, young ones before a middle one, middle ones before a full one; Python's own are
700, 10 and 10."""
MAX_WORKERS = 8
"""Each worker needs up to 1.5 GB of memory."""
IN_MEMORY = Path("/dev/shm")
"""Linux's folder of files in memory. There a file is durable at once: a training step of the tests waits for no disk."""
ROOM_IN_MEMORY = 8 << 30
"""Free bytes that the temporary files of a default run must find there; they need 2 GB. A thorough run uses the disk."""

settings.register_profile("default", max_examples=suite.DEFAULT_EXAMPLES, deadline=None)
settings.register_profile("thorough", max_examples=100, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--thorough`."""
    parser.addoption("--thorough", action="store_true", help="run every step, parameter and example (CI does)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Chooses the profile before any test module is imported, for this process and for the workers it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell that starts the tests in the background ignores it
        signal.signal(signal.SIGINT, signal.default_int_handler)  # commands that tests interrupt must not inherit that
    if config.getoption("--thorough"):
        os.environ[suite.PROFILE] = "thorough"
    if not suite.is_thorough() and "TMPDIR" not in os.environ and has_room_in_memory():
        os.environ["TMPDIR"] = str(IN_MEMORY)
    settings.load_profile("thorough" if suite.is_thorough() else "default")
    if not takes_few(config):
        from jaxtyping import install_import_hook

        install_import_hook(list(SHAPES_OF), "beartype.beartype")


def has_room_in_memory() -> bool:
    """Whether temporary files can lie in memory."""
    if not os.path.ismount(IN_MEMORY) or not os.access(IN_MEMORY, os.W_OK):
        return False
    return shutil.disk_usage(IN_MEMORY).free >= ROOM_IN_MEMORY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Names the device of a run of device tests (`-m device`), and what differs between devices."""
    if "device" not in str(config.getoption("markexpr")):
        return
    from lazarus_models.backend import mx

    terminalreporter.write_line(f"device tests ran on {mx.default_device()}; {suite.DIFFERS_ON_A_GPU}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker a core for `-n auto`; none where single tests or files are named, which start faster without."""
    names = [argument.partition("::") for argument in config.args]
    if all(chosen or Path(path).is_file() for path, _, chosen in names):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Passes to a worker whether it takes three parameters of a test. A worker does not know the arguments of pytest."""
    node.workerinput["takes_few"] = takes_few(node.config)


def takes_few(config: pytest.Config) -> bool:
    """Whether a test with many parameters runs with three of them: in a default run that names no folder, file or test."""
    if hasattr(config, "workerinput"):
        return config.workerinput["takes_few"]
    return not suite.is_thorough() and config.args_source is pytest.Config.ArgsSource.TESTPATHS


def pytest_collection_finish(session: pytest.Session) -> None:
    """Makes garbage collection rarer: a full one walks through all that was imported and collected.

    `gc.freeze` saves as much and hides objects from `gc.get_referrers`, by which Hypothesis 6.120 checks its generator.
    """
    if session.items:
        gc.set_threshold(*GARBAGE_THRESHOLDS)


def pytest_runtest_setup() -> None:
    """Names commands below `lazarus`, whatever console script an earlier test ran in this process."""
    from lazarus_core.command_names import set_script

    set_script("lazarus")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is marked `thorough`, unless that was asked for, and parameters of tests in a run of everything."""
    if suite.is_thorough():
        return
    kept = [item for item in items if not item.get_closest_marker("thorough")]
    if takes_few(config):
        tests = defaultdict[str, list[pytest.Item]](list)
        for item in kept:
            tests[item.nodeid.partition("[")[0]].append(item)
        few = {item for same in tests.values() for item in suite.chosen(same)}
        kept = [item for item in kept if item in few or item.get_closest_marker("every_parameter")]
    taken = {*kept}
    if len(taken) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in taken])
        items[:] = kept
