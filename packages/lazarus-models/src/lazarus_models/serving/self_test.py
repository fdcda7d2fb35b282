"""The self-test of a server: mixed requests, each alone and then all at once, must give the same tokens.

The reference of a request is its answer by an engine that computes nothing else. In the crowd, every request waits in the same
engine, in another order, so that prompts join and leave batches of all sizes.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lazarus_models.generation.autoregressive import bounded
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.serving.engine import Engine, Job

SEED = 17
"""Seed of the requests."""
LONGEST_PROMPT, LONGEST_TEXT = 160, 48
"""Tokens: long enough for several sizes of caches, short enough for a small machine."""
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "temperature": {"temperature": 0.8},
    "top-k, top-p": {"temperature": 1.0, "top_k": 40, "top_p": 0.9},
    "min-p": {"temperature": 1.2, "min_p": 0.05},
    "penalties": {"temperature": 0.7, "repetition_penalty": 1.1, "frequency_penalty": 0.2, "presence_penalty": 0.1},
    "log-probabilities": {"logprobs": 5},
    "scored prompt": {"logprobs": 1},
}
"""Kinds of requests, which take turns."""
_WORDS = [
    "the",
    "a",
    "one",
    "day",
    "there",
    "was",
    "little",
    "girl",
    "boy",
    "dog",
    "cat",
    "big",
    "small",
    "red",
    "tree",
    "house",
    "to",
    "and",
    "in",
    "of",
    "she",
    "he",
    "they",
    "went",
    "said",
    "play",
    "happy",
    "found",
    "saw",
    "liked",
    "mother",
    "friend",
    "water",
    "what",
    "is",
    "why",
    "how",
    "many",
    "answer",
    "question",
    "number",
    "city",
    "year",
    "name",
    "write",
    "list",
    "explain",
]


class Asked(NamedTuple):
    """A request of the self-test."""

    kind: str
    ids: list[int]
    config: GenerationConfig

    @property
    def is_scored(self) -> bool:
        """Whether the prompt's own tokens are scored, too."""
        return self.kind == "scored prompt"


class Outcome(NamedTuple):
    """The tokens of a request, alone and in the crowd."""

    asked: Asked
    alone: list[int]
    crowd: list[int]

    @property
    def is_equal(self) -> bool:
        """Whether both are the same."""
        return self.alone == self.crowd

    @property
    def first_difference(self) -> int:
        """The first position at which they differ; their length if they do not."""
        pairs = zip(self.alone, self.crowd, strict=False)
        return next((place for place, (one, other) in enumerate(pairs) if one != other), len(self.alone))


@dataclass(frozen=True)
class SelfTest:
    """The result of a self-test."""

    outcomes: list[Outcome]
    alone_s: float
    """Seconds for all requests, one after the other."""
    crowd_s: float
    """Seconds for all requests at once."""

    @property
    def equal(self) -> int:
        """Requests with the same tokens both times."""
        return sum(outcome.is_equal for outcome in self.outcomes)


def requests(lm: LoadedModel, number: int) -> list[Asked]:
    """Mixed requests: prompts of many lengths, each kind of settings, texts of 1 to 48 tokens; the same at every call.

    Args:
        lm: The model.
        number: How many.
    """
    rng = random.Random(SEED)
    context = lm.config.max_position_embeddings or LONGEST_PROMPT + LONGEST_TEXT
    longest = max(1, min(LONGEST_PROMPT, context - LONGEST_TEXT))
    kinds = list(SETTINGS)
    asked: list[Asked] = []
    for place in range(number):
        words = " ".join(rng.choices(_WORDS, k=longest))
        bos = [] if lm.tokenizer.bos_id is None else [lm.tokenizer.bos_id]
        ids = [*bos, *lm.tokenizer.encode(words)][: rng.randint(1, longest)] or [0]
        kind = kinds[place % len(kinds)]
        config = GenerationConfig(
            max_new_tokens=rng.randint(1, LONGEST_TEXT), seed=rng.randrange(2**32), **SETTINGS[kind]
        )
        asked.append(Asked(kind, ids, bounded(lm, ids, config)))
    return asked


def run_self_test(
    lm: LoadedModel,
    number: int,
    *,
    batch_size: int,
    is_exact: bool,
    on_done: Callable[[int], object] = lambda done: None,
) -> SelfTest:
    """Asks mixed requests alone and at once.

    Args:
        lm: The model.
        number: Number of requests, at least 1.
        batch_size: Largest number of texts in progress, as in the server.
        is_exact: Whether each text is computed by itself, as in the server.
        on_done: Called with the number of finished answers, of twice `number`.
    """
    asked = requests(lm, number)
    engine = Engine(lm.model, batch_size=batch_size, is_exact=is_exact)
    jobs: list[Job] = []

    def submit(one: Asked) -> Job:
        jobs.append(engine.submit(one.ids, one.config, is_scored=one.is_scored))
        return jobs[-1]

    try:
        start = time.perf_counter()
        alone: list[list[int]] = []
        for one in asked:
            alone.append(list(submit(one).tokens()))
            on_done(len(alone))
        between = time.perf_counter()
        crowd = _at_once(submit, asked, lambda done: on_done(number + done))
        end = time.perf_counter()
    finally:
        for job in jobs:  # after Ctrl-C, the engine would answer those that wait first
            job.leave()
        engine.stop()
    outcomes = [Outcome(*each) for each in zip(asked, alone, crowd, strict=True)]
    return SelfTest(outcomes, between - start, end - between)


def _at_once(
    submit: Callable[[Asked], Job], asked: Sequence[Asked], on_done: Callable[[int], object]
) -> list[list[int]]:
    order = list(range(len(asked)))
    random.Random(SEED).shuffle(order)
    jobs = {place: submit(asked[place]) for place in order}
    texts: list[list[int]] = []
    for place in range(len(asked)):
        texts.append(list(jobs[place].tokens()))
        on_done(len(texts))
    return texts


def table(result: SelfTest) -> Iterator[tuple[str, str, str, str, str]]:
    """The rows of a table: kind, requests, equal ones, tokens, and the first difference.

    Args:
        result: The result.
    """
    yield ("settings", "requests", "equal", "tokens", "first difference")
    for kind in dict.fromkeys(outcome.asked.kind for outcome in result.outcomes):
        own = [outcome for outcome in result.outcomes if outcome.asked.kind == kind]
        wrong = next((outcome for outcome in own if not outcome.is_equal), None)
        place = "-" if wrong is None else f"request {result.outcomes.index(wrong)}, token {wrong.first_difference}"
        tokens = sum(len(outcome.alone) for outcome in own)
        yield (kind, str(len(own)), str(sum(outcome.is_equal for outcome in own)), str(tokens), place)
