"""Measures one setup in a separate process: `python -m lazarus_train.tune.measure SETUP`. A crash there does not
stop the sweep.

Reads a `Setup` as JSON, computes training steps on full rows of random tokens, and prints time and memory as JSON.
"""

import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from lazarus_core.console import show, warn
from lazarus_core.errors import LazarusError

if TYPE_CHECKING:
    from lazarus_train.data.batches import Batch

OUT_OF_MEMORY = 77
"""Exit code of a trial that exceeded its memory limit."""
WATCH_EVERY_S = 0.02


class Setup(BaseModel):
    """A setup to measure: all settings that determine the speed and memory of a step."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Path
    """Directory of the model."""
    row_len: PositiveInt
    """Tokens per row, without padding."""
    rows: PositiveInt
    """Rows per micro-batch."""
    lora_rank: NonNegativeInt = 0
    """Rank of the adapters; 0 trains all weights."""
    recomputes: bool = False
    """Whether to use gradient checkpointing."""
    steps: PositiveInt = 3
    """Number of measured steps, after one warm-up step."""
    memory_bytes: PositiveInt | None = None
    """Memory limit of the process; None sets no limit."""


class Measured(BaseModel):
    """Results of a measurement."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tokens_per_s: float
    """Real tokens per second, median over the steps."""
    step_seconds: float
    """Seconds per step, median over the steps."""
    peak_bytes: int
    """Peak memory of arrays."""


def measure(setup: Setup) -> Measured:
    """Measures training steps, computed as in a run."""
    from lazarus_models.backend import mx
    from lazarus_train.config import LoraConfig, TrainConfig
    from lazarus_train.cpu.thread_parallel import Replicas
    from lazarus_train.devices import prepare_device, weight_bytes
    from lazarus_train.engine.gradients import LossGradients
    from lazarus_train.engine.state import TrainState
    from lazarus_train.engine.step import compute_gradients
    from lazarus_train.engine.whole_step import WholeStep
    from lazarus_train.objectives.causal import CausalObjective

    nowhere = Path("nowhere")
    lora = LoraConfig(rank=setup.lora_rank) if setup.lora_rank else None
    config = TrainConfig(
        model=setup.model, data=nowhere, batch_plan=nowhere, output=nowhere, lora=lora, recomputes=setup.recomputes
    )
    policy = prepare_device(weight_bytes(setup.model))
    state = TrainState.fresh(config, None)
    threads = min(setup.rows, config.threads_of(policy.threads))
    replicas, gradients = Replicas(state.lm.model, threads), LossGradients(CausalObjective().loss)
    is_one_graph = policy.compiles and threads == 1
    whole = WholeStep(gradients, state.lm.model, state.optimizer, 1.0) if is_one_graph else None
    batches = full_batches(setup, state.lm.config.vocab_size, threads)
    labels = setup.rows * (setup.row_len - 1)
    seconds: list[float] = []
    mx.reset_peak_memory()
    for _ in range(1 + setup.steps):
        began = time.perf_counter()
        if whole is not None:
            arrays = whole(batches[0], labels, config.optimizer.learning_rate)
            arrays.begin()
            arrays.read()
        else:
            found = compute_gradients(replicas, gradients, [batches], labels, 1.0)
            state.optimizer.update(found.tree, config.optimizer.learning_rate)
            state.optimizer.evaluate()
        seconds.append(time.perf_counter() - began)
    median = float(np.median(seconds[1:]))
    return Measured(
        tokens_per_s=setup.rows * setup.row_len / median, step_seconds=median, peak_bytes=mx.get_peak_memory()
    )


def full_batches(setup: Setup, vocab_size: int, threads: int) -> "list[Batch]":
    """The rows of a setup, assigned to threads: one sample per row without padding, the highest cost of a row.

    Args:
        setup: Rows of the whole batch and their length in tokens.
        vocab_size: Number of token ids.
        threads: Number of threads.
    """
    shares = [len(range(thread, setup.rows, threads)) for thread in range(threads)]
    return [_full_batch(rows, setup.row_len, vocab_size) for rows in shares]


def _full_batch(rows: int, row_len: int, vocab_size: int) -> "Batch":
    from lazarus_models.backend import mx
    from lazarus_train.data.batches import Batch, Part

    shape = (rows, row_len)
    ids = np.random.default_rng(0).integers(0, vocab_size, size=shape, dtype=np.int32)
    is_label = np.ones(shape, dtype=np.bool_)
    is_label[:, 0] = False
    return Batch(
        ids=mx.array(ids),
        segment_ids=mx.array(np.ones(shape, dtype=np.int32)),  # computed: a promise cannot go to another thread
        is_label=mx.array(is_label.tolist()),
        places=mx.array(np.flatnonzero(is_label).astype(np.int32)),
        parts=tuple(Part(row, row, 0, row_len, row_len - 1, 1) for row in range(rows)),
        numbers=tuple(range(rows)),
        step_rows=rows,
    )


def main(text: str) -> int:
    """Measures a setup given as JSON and prints the result; returns the exit code."""
    setup = Setup.model_validate_json(text)
    if setup.memory_bytes is not None:
        threading.Thread(target=_watch_memory, args=(setup.memory_bytes,), daemon=True).start()
    try:
        show(measure(setup).model_dump_json())
    except LazarusError as error:  # the sweep repeats the last line
        warn(error.message)
        return error.exit_code
    return 0


def _watch_memory(most: int) -> None:
    """Ends the process if it exceeds the limit, because measurements on a swapping machine are invalid."""
    unit = (
        1 if sys.platform == "darwin" else 1024
    )  # of ru_maxrss, https://man7.org/linux/man-pages/man2/getrusage.2.html
    while resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit <= most:
        time.sleep(WATCH_EVERY_S)
    os._exit(OUT_OF_MEMORY)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
