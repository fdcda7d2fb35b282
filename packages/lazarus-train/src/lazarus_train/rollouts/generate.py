"""Seeded answers to prompts by continuous batching, with the log-probabilities that they were drawn by.

B = texts in the batch, V = vocabulary

The seed of an answer decides its draws, as `lazarus infer --seed` does. Equal prompts that join together are read once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_models import GenerationConfig
from lazarus_models.backend import mx
from lazarus_models.generation import BatchRunner, Entry

KEPT_NUMBERS = 2**22
"""Most log-probabilities of whole vocabularies that are kept for the comparison with the training pass: 16 MiB."""


class Request(NamedTuple):
    """An answer to generate.

    Args:
        ids: Token ids of everything before the answer.
        seed: Seed of its draws, in [0, 2**32).
        limit: Largest number of new tokens, above 0.
    """

    ids: Sequence[int]
    seed: int
    limit: int


@dataclass
class Drawn:
    """A generated answer.

    Args:
        ids: Its tokens, with the stop token if it ended by one.
        logprobs: Log-probability of each token by the generating pass, at the temperature.
        lines: Log-probabilities of the whole vocabulary at some of its tokens, float32 (V,) by position in `ids`.
        has_ended: Whether the model ended it by a stop token.
    """

    ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    lines: dict[int, NDArray[np.float32]] = field(default_factory=dict[int, "NDArray[np.float32]"])
    has_ended: bool = False


def rollout_seed(seed: int, step: int, sample: int, copy: int, turn: int = 0) -> int:
    """Seed of an answer's draws: a function of run, step, prompt, copy and turn, in [0, 2**32).

    Args:
        seed: Seed of the run.
        step: Index of the step, from 0.
        sample: Sample id of the prompt.
        copy: Number of the answer among the answers to the prompt in this step, from 0.
        turn: Number of the model's earlier answers in the same conversation.
    """
    text = f"lazarus-train/1|rollout|{seed}|{step}|{sample}|{copy}|{turn}"
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:4], "little")


def draw_answers(
    model: Any, requests: Sequence[Request], *, temperature: float, stop_ids: Sequence[int], batch_size: int
) -> list[Drawn]:
    """Generates answers, with the model in evaluation mode. The same arguments give the same bits.

    Args:
        model: A `Decoder`.
        requests: The answers to generate; equal prompts should be next to each other.
        temperature: Divisor of the logits, above 0.
        stop_ids: Tokens that end an answer.
        batch_size: Largest number of texts in the batch.
    """
    answers = [Drawn() for _ in requests]
    runner, waiting, kept = BatchRunner(model), 0, 0
    stops = frozenset(stop_ids)
    while True:
        joining = range(waiting, min(len(requests), waiting + batch_size - len(runner)))
        runner.join([_entry(index, requests[index], temperature, stop_ids) for index in joining])
        waiting += len(joining)
        if not len(runner):
            return answers
        took = runner.step()
        lines = runner.log_probabilities(temperature)
        tokens = [row.ids[-1] for row, _ in took]
        drawn = np.array(lines[mx.arange(len(tokens)), mx.array(tokens)]).tolist()
        keeps = kept + lines.size <= KEPT_NUMBERS
        whole = cast("NDArray[np.float32]", np.array(lines)) if keeps else None
        kept += lines.size if keeps else 0
        for place, ((row, _), token) in enumerate(zip(took, tokens, strict=True)):
            answer = answers[row.index]
            if whole is not None:
                answer.lines[len(answer.ids)] = whole[place]
            answer.ids.append(token)
            answer.logprobs.append(drawn[place])
            answer.has_ended = token in stops


def _entry(index: int, request: Request, temperature: float, stop_ids: Sequence[int]) -> Entry:
    config = GenerationConfig(
        max_new_tokens=request.limit, temperature=temperature, seed=request.seed, stop_ids=tuple(stop_ids)
    )
    return Entry(index, list(request.ids), config)
