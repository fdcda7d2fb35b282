"""Latency of generation: the first token, the speed of reading a prompt and of writing an answer, and memory.

Every combination of batch size and prompt length is run several times after unmeasured runs, which include one-time costs such
as compilation. Prompts are random ids, so no prompt has a prefix in the cache. Texts are not decoded, and no stop token ends
an answer: every answer has the requested length. A wait is the time from one token to the next, which a reader of a stream sees.

B = texts at once, P = tokens of a prompt, N = tokens of an answer
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from statistics import median
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from lazarus_models.backend import BLAS, mx
from lazarus_models.errors import GenerationError
from lazarus_models.generation.batch import BatchRunner, Entry
from lazarus_models.generation.diffusion import DiffusionConfig, diffuse
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.generation.steps import generate_tokens
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.trees import parameter_count

VERSION = 1
"""Version of the JSON report."""
MAX_BATCH, MAX_TOKENS = 1024, 1 << 20
MISFIT = "LM-E253"
Batches = Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_BATCH)], ...], Field(min_length=1, max_length=64)]
Lengths = Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_TOKENS)], ...], Field(min_length=1, max_length=64)]


MAX_RUNS = 10_000
"""Largest number of runs of a combination."""


class InferenceBenchmark(BaseModel):
    """Settings of a benchmark of generation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    batch_sizes: Batches = (1, 4)
    """Numbers of texts that are computed together."""
    prompt_tokens: Lengths = (32, 256)
    """Lengths of the prompts."""
    new_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 64
    """Tokens of every answer."""
    repeats: Annotated[int, Field(ge=1, le=MAX_RUNS)] = 5
    """Measured runs of every combination."""
    warm_up: Annotated[int, Field(ge=0, le=MAX_RUNS)] = 1
    """Unmeasured runs before them."""
    seed: NonNegativeInt = 0
    """Random seed of the prompts."""


class Sample(NamedTuple):
    """One measured run, in seconds from the start of the prompts."""

    first_token_s: float
    """Until every text had its first token. Masked diffusion gives all tokens at its end."""
    total_s: float
    """Until the last token."""
    waits_s: tuple[float, ...] = ()
    """Between a token of all texts and the next one, N - 1 numbers; empty for masked diffusion."""


class Percentiles(NamedTuple):
    """What half, nine tenths and 99 hundredths of the waits for a token do not exceed, in seconds."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Percentiles":
        """Percentiles of at least one value, linear between neighbours, as NumPy's default.

        >>> Percentiles.of([1.0, 2.0, 3.0])
        Percentiles(p50=2.0, p90=2.8, p99=2.98)
        """
        return cls(*(float(each) for each in np.percentile(values, (50, 90, 99))))


class Spread(NamedTuple):
    """Median and range of the measured runs."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value.

        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(median=2.0, low=1.0, high=3.0)
        """
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Case:
    """The runs of one combination."""

    batch_size: int
    """B."""
    prompt_tokens: int
    """P."""
    new_tokens: int
    """N."""
    samples: tuple[Sample, ...]
    """Measured runs."""
    peak_bytes: int
    """Largest memory of MLX during the measured runs, weights included."""
    steps: int | None = None
    """Forward passes of masked diffusion; None for autoregressive generation."""

    @property
    def first_token_s(self) -> Spread:
        """Seconds until every text had its first token."""
        return Spread.of([each.first_token_s for each in self.samples])

    @property
    def total_s(self) -> Spread:
        """Seconds until the last token."""
        return Spread.of([each.total_s for each in self.samples])

    @property
    def read_tokens_per_s(self) -> Spread | None:
        """Tokens of the prompts a second, B P / first token; None for masked diffusion, which reads them in every pass."""
        if self.steps is not None:
            return None
        return Spread.of([self.batch_size * self.prompt_tokens / each.first_token_s for each in self.samples])

    @property
    def write_tokens_per_s(self) -> Spread | None:
        """Tokens of the answers a second: B (N - 1) in the time after the first token; None for answers of one token.

        For masked diffusion: N in the whole time.
        """
        if self.steps is not None:
            return Spread.of([self.new_tokens / each.total_s for each in self.samples])
        if self.new_tokens == 1:
            return None
        later = self.batch_size * (self.new_tokens - 1)
        return Spread.of([later / (each.total_s - each.first_token_s) for each in self.samples])

    @property
    def wait_s(self) -> Percentiles | None:
        """Percentiles of the waits for a token after the first, of all runs; None where there are none."""
        waits = [each for sample in self.samples for each in sample.waits_s]
        return Percentiles.of(waits) if waits else None

    def to_json(self) -> dict[str, Any]:
        """Settings, spreads and samples, by name."""
        spreads = {
            name: None if spread is None else spread._asdict()
            for name in ("first_token_s", "total_s", "read_tokens_per_s", "write_tokens_per_s")
            for spread in [getattr(self, name)]
        }
        return {
            "batch_size": self.batch_size,
            "prompt_tokens": self.prompt_tokens,
            "new_tokens": self.new_tokens,
            "steps": self.steps,
            **spreads,
            "wait_s": None if self.wait_s is None else self.wait_s._asdict(),
            "peak_bytes": self.peak_bytes,
            "samples": [{"first_token_s": each.first_token_s, "total_s": each.total_s} for each in self.samples],
        }


def benchmark_inference(
    lm: LoadedModel,
    settings: InferenceBenchmark = InferenceBenchmark(),  # noqa: B008 (frozen)
    *,
    diffusion: DiffusionConfig | None = None,
    on_run: Callable[[], object] = lambda: None,
) -> Iterator[Case]:
    """Measures every combination of batch size and prompt length, in this order.

    Args:
        lm: The model.
        settings: Settings of the benchmark.
        diffusion: Settings of masked diffusion, for a model trained so; their `length` is that of the answers. None
            measures autoregressive generation.
        on_run: Called after every run, also after the unmeasured ones.

    Raises:
        GenerationError: A combination exceeds the model's context, or masked diffusion has a batch.
    """
    new_tokens = settings.new_tokens if diffusion is None else diffusion.length
    _check(lm, settings, new_tokens, is_diffusion=diffusion is not None)
    rng = np.random.default_rng(settings.seed)
    for batch_size in settings.batch_sizes:
        for length in settings.prompt_tokens:
            mx.clear_cache()
            samples: list[Sample] = []
            for run in range(settings.warm_up + settings.repeats):
                if run == settings.warm_up:
                    mx.reset_peak_memory()
                prompts = rng.integers(0, _vocabulary(lm), (batch_size, length)).tolist()
                sample = _diffuse(lm, prompts[0], diffusion) if diffusion else _generate(lm, prompts, new_tokens)
                samples.append(sample)
                on_run()
            measured = tuple(samples[settings.warm_up :])
            steps = None if diffusion is None else diffusion.steps
            yield Case(batch_size, length, new_tokens, measured, mx.get_peak_memory(), steps)


def describe_model(lm: LoadedModel) -> dict[str, Any]:
    """The model and the machine of a report, by name."""
    return {
        "model": lm.name,
        "family": lm.family,
        "parameters": parameter_count(lm.model),
        "quantization": None if lm.config.quantization is None else lm.config.quantization.bits,
        "mlx": version("mlx"),
        "device": mx.default_device().type.name,
        "blas": BLAS.library,
        "threads": BLAS.threads,
    }


def _check(lm: LoadedModel, settings: InferenceBenchmark, new_tokens: int, *, is_diffusion: bool) -> None:
    context = lm.config.max_position_embeddings
    longest = max(settings.prompt_tokens)
    if context is not None and longest + new_tokens > context:
        raise GenerationError(
            f"`prompt_tokens` {longest} and `new_tokens` {new_tokens} exceed the model's context of {context}; "
            "measure shorter ones",
            MISFIT,
        )
    if is_diffusion and settings.batch_sizes != (1,):
        raise GenerationError("masked diffusion answers one prompt at a time; measure `batch_sizes` 1", MISFIT)


def _vocabulary(lm: LoadedModel) -> int:
    return min(lm.tokenizer.vocab_size, lm.config.vocab_size)


def _generate(lm: LoadedModel, prompts: Sequence[list[int]], new_tokens: int) -> Sample:
    config = GenerationConfig(max_new_tokens=new_tokens, stop_ids=())
    start = time.perf_counter()
    times: list[float] = []
    if len(prompts) == 1:  # as `infer` with one prompt
        for _ in generate_tokens(lm.model, prompts[0], config):
            times.append(time.perf_counter())
    else:
        runner = BatchRunner(lm.model)
        runner.join([Entry(index, ids, config) for index, ids in enumerate(prompts)])
        while not times or len(runner):
            runner.step()
            times.append(time.perf_counter())
    waits = tuple(later - earlier for earlier, later in pairwise(times))
    return Sample(times[0] - start, time.perf_counter() - start, waits)


def _diffuse(lm: LoadedModel, prompt: Sequence[int], config: DiffusionConfig) -> Sample:
    start = time.perf_counter()
    diffuse(lm.model, prompt, config)
    took = time.perf_counter() - start
    return Sample(took, took)
