"""Estimates the peak memory of a run before the first step, and the largest micro-batch that fits this machine.

T = tokens per row, D = model width, I = feed-forward width, V = vocabulary

A step adds gradients, moments, updated weights, activations and logits to the memory that the process already uses.
Activations are counted layer by layer from the model's description, as numbers kept per token for the gradient. The
factors below were fitted to measured peaks of all families. `tests/test_memory.py` checks that the estimate is within
a factor of two.
"""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lazarus_models import SequenceModel
from lazarus_models.backend import mx, nn
from lazarus_models.config import (
    AttentionConfig,
    BlockConfig,
    DecoderConfig,
    FeedForward,
    Mamba2Config,
    MambaConfig,
    Mixer,
    MoEConfig,
)
from lazarus_models.trees import flatten, weights
from lazarus_train.callbacks.reports import MemoryEstimate, mib
from lazarus_train.config import OptimizerSettings, TrainConfig
from lazarus_train.devices import DevicePolicy
from lazarus_train.errors import SetupError

_FLOAT = 4
SPARE = 0.9
"""Fraction of the memory that a run may use. The rest is for the system and for the error of the estimate."""
_TRANSIENT = 1.9
"""Temporary memory of a layer in both passes, as a multiple of the memory kept for the gradient."""
_UNLEAN = 3.5
"""Memory of standard layers relative to low-memory layers (480 MiB against 127; eight layers of 256 at 4 x 512)."""
_SCORES = 2.5
"""Arrays of attention scores that a layer keeps if attention uses a mask; with sinks twice as many."""
_MOMENTS = {"adamw": 2.0, "muon": 1.5, "adafactor": 0.1, "lion": 1.0, "sgd": 1.0}
"""Optimizer state per parameter, in numbers. Muon has one for hidden matrices and AdamW's two for the rest."""


def fitting_rows(model: nn.Module, config: TrainConfig, policy: DevicePolicy, shape: "StepShape") -> MemoryEstimate:
    """Estimate for the micro-batch of a run: the requested number of rows, or as many as fit.

    Args:
        model: The model, ready for training, with its adapters.
        config: Settings of the run.
        policy: Device policy.
        shape: Shape of the largest step.

    Raises:
        SetupError: The run does not fit into the memory of this machine, and no smaller micro-batch is allowed.
    """
    requested = min(config.micro_rows or shape.rows, shape.rows)
    limit = int(SPARE * memory_limit())
    found = estimate_memory(model, config, policy, shape, requested)
    while found.total > limit and found.rows > 1 and _may_split(config):
        found = estimate_memory(model, config, policy, shape, (found.rows + 1) // 2)
    if found.total > limit:
        raise SetupError(
            f"the run needs {found.in_words()}; this process may take {mib(limit)} MiB: {_way_out(config, found)}",
            "LR-E125",
        )
    return found


@dataclass(frozen=True)
class StepShape:
    """The largest step of a plan, as one process computes it.

    Args:
        rows: Rows per process.
        row_len: Tokens per row.
        processes: Number of processes.
    """

    rows: int
    row_len: int
    processes: int = 1


def estimate_memory(
    model: nn.Module, config: TrainConfig, policy: DevicePolicy, shape: StepShape, rows: int
) -> MemoryEstimate:
    """Estimated peak memory of one process.

    Args:
        model: The model with its adapters, if any.
        config: Settings: optimizer, EMA, precision, gradient checkpointing and optimizer sharding.
        policy: Device policy: number of threads and low-memory layers.
        shape: The largest step of the plan.
        rows: Rows per forward pass, from 1 to `shape.rows`.
    """
    learnt = sum(each.nbytes for each in flatten(model.trainable_parameters()).values())
    weight_bytes = sum(each.nbytes for each in weights(model).values())
    threads = min(config.threads_of(policy.threads), rows)
    sums = threads + (shape.rows > rows)  # a micro-batch's, and the sum of those before
    kept = learnt // (shape.processes if config.shards_optimizer else 1)
    ema = 2 * learnt if config.ema is not None else 0
    description = cast("DecoderConfig", cast("Any", model).config)
    is_sequence = isinstance(model, SequenceModel)  # few scores instead of logits
    return MemoryEstimate(
        resident=resident_bytes(),
        weights=weight_bytes,
        gradients=learnt * (1 + sums),
        moments=round(kept * moments_per_parameter(config.optimizer)) + ema,
        activations=rows * shape.row_len * activation_bytes(description, config, policy, shape.row_len),
        logits=0 if is_sequence else rows * shape.row_len * _logit_bytes(description, policy),
        rows=rows,
    )


def activation_bytes(model: DecoderConfig, config: TrainConfig, policy: DevicePolicy, row_len: int) -> int:
    """Bytes of activations per token, over all layers.

    Args:
        model: Description of the model.
        config: Settings: gradient checkpointing and precision.
        policy: Device policy: whether low-memory layers are used.
        row_len: T; attention scores grow with it if attention uses a mask.
    """
    is_lean = policy.is_lean and not config.mixed_precision
    layers = [_block_numbers(block, model.width, row_len, is_lean=is_lean) for block in model.blocks]
    kept = len(layers) * 2 * model.width + 2 * max(layers) if config.recomputes else sum(layers)
    size = 2 if config.mixed_precision else _FLOAT
    return round(size * _TRANSIENT * (kept + 4 * model.width))


def _block_numbers(block: BlockConfig, width: int, row_len: int, *, is_lean: bool) -> float:
    """Activation numbers that a block keeps per token."""
    dense = _mixer_numbers(block.mixer, width) + sum(_feed_numbers(feed, width) for feed in block.feed_forward)
    return (dense + 2 * width * (1 + bool(block.feed_forward))) * (1 if is_lean else _UNLEAN) + _scores(
        block.mixer, row_len
    )


def _mixer_numbers(mixer: Mixer, width: int) -> float:
    match mixer:
        case AttentionConfig():
            heads = (mixer.num_heads + 2 * mixer.num_key_value_heads) * mixer.head_dim
            return 2 * heads + 2 * mixer.num_heads * mixer.head_dim + width
        case MambaConfig():
            states = mixer.state / 16 + 1
            return mixer.inner * (7 + states) + 4 * (mixer.rank + 2 * mixer.state) + width
        case Mamba2Config():
            inner = mixer.num_heads * mixer.head_dim
            return 9 * inner + 6 * mixer.groups * mixer.state + 6 * mixer.num_heads + width
        case _:
            return 16 * mixer.inner + width


def _feed_numbers(feed: FeedForward, width: int) -> float:
    if isinstance(feed, MoEConfig):
        inside = (10 if feed.clamp is None else 20) * feed.width
        experts = feed.num_experts_per_tok * (inside + 4 * width) + 6 * feed.num_experts
        return experts + (0 if feed.shared is None else _feed_numbers(feed.shared, width))
    plain = 3 if feed.activation == "silu" else 12  # other activations keep each of their own steps
    return plain * feed.width + width


def _scores(mixer: Mixer, row_len: int) -> float:
    """Attention scores per token, in numbers. They exist only if attention uses a mask."""
    if not isinstance(mixer, AttentionConfig):
        return 0
    is_masked = (mixer.window is not None and row_len > mixer.window) or mixer.chunk is not None
    on_gpu = mx.default_device().type != mx.cpu  # one fused kernel
    return 0 if on_gpu or not is_masked else _SCORES * (1 + mixer.sinks) * mixer.num_heads * row_len


def _logit_bytes(model: DecoderConfig, policy: DevicePolicy) -> int:
    """Bytes per token of the logits and of their gradient."""
    return (2 if policy.labels_only else 3) * _FLOAT * model.vocab_size


def moments_per_parameter(settings: OptimizerSettings) -> float:
    """Optimizer state per parameter, in numbers."""
    return _MOMENTS[settings.name]


def _may_split(config: TrainConfig) -> bool:
    """Whether the micro-batch size is unset and the settings allow micro-batches."""
    if config.micro_rows is not None:
        return False
    with contextlib.suppress(ValueError):
        TrainConfig.model_validate({**config.model_dump(), "micro_rows": 1})
        return True
    return False


def _way_out(config: TrainConfig, found: MemoryEstimate) -> str:
    ways = ["plan shorter rows"]
    if config.micro_rows is not None and found.rows > 1:
        ways = ["set `micro_rows` lower", *ways]
    if not config.recomputes and found.activations > found.gradients:
        ways.append("set `recomputes`")
    if config.lora is None:
        ways.append("train adapters (`lora`)")
    return f"{', '.join(ways)}, or use a machine with more memory"


def resident_bytes() -> int:
    """Memory that this process uses now; on a GPU, the memory of MLX's arrays."""
    if mx.default_device().type != mx.cpu:
        return mx.get_active_memory()
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # peak in bytes on macOS


def _reserved_bytes() -> int:
    """Address space that this process has reserved but does not use: thread stacks and mapped files."""
    if sys.platform != "linux":
        return 0
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE") - resident_bytes()


def check_weights_fit(stored: int) -> None:
    """Refuses a model whose weights alone exceed the memory limit, before they are loaded.

    Args:
        stored: Bytes of the weight files.

    Raises:
        SetupError: The weights do not fit.
    """
    limit = memory_limit()
    if stored > limit:
        raise SetupError(
            f"the weights of the model are {mib(stored)} MiB, and this process may take {mib(limit)} MiB: take a smaller or "
            "quantized model, or a machine with more memory",
            "LR-E125",
        )


def memory_limit() -> int:
    """Memory limit of this process in bytes: the minimum of machine or GPU memory, cgroup limit and process limits."""
    if mx.default_device().type != mx.cpu:
        return int(mx.device_info()["memory_size"])
    return min(_limits())


def _limits() -> Iterator[int]:
    yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield from cgroup_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield soft - _reserved_bytes()


def cgroup_limits(own: Path, root: Path) -> Iterator[int]:
    """Limits of this process's control groups, versions 1 and 2; empty if there are no such groups.

    Args:
        own: Path of the process's group list, `/proc/self/cgroup`.
        root: Mount point of the groups.
    """
    lines = own.read_text(encoding="utf-8").splitlines() if own.is_file() else []
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory") and "memory" not in kinds.split(","):
            continue
        base, name = (root, "memory.max") if not kinds else (root / "memory", "memory.limit_in_bytes")
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder == base.parent:
                break
            with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
                yield int((folder / name).read_text(encoding="ascii"))
