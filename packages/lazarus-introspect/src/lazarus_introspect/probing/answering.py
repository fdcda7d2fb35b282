"""Uncertainty of a model about prompts, and whether its confidence in answers is calibrated.

V = vocabulary, A = tokens of an answer

The answer of a prompt is greedy, with as many tokens as the right one; its confidence is the product of their probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lazarus_core.jsonl import read_objects
from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.analysis.tokens import Prompt, token_text
from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import run_with_hooks
from lazarus_introspect.metrics import log_softmax, numbers
from lazarus_introspect.probing.calibration import calibrate
from lazarus_introspect.probing.findings import about_set, read_prompts
from lazarus_introspect.probing.labelled_prompts import MAX_CHARS, MAX_PROMPTS
from lazarus_introspect.probing.uncertainty_results import NextToken, UncertaintyResult, calibration_figures
from lazarus_models import LoadedModel
from lazarus_models.vocabulary import check_ids

Numbers = NDArray[np.float64]
MAX_ANSWER = 256
"""Tokens of an answer."""


class UncertaintyConfig(Frozen):
    """Settings of uncertainty and calibration."""

    bins: Annotated[int, Field(ge=2, le=100)] = 10
    """Bins of the calibration error."""
    samples: Annotated[int, Field(ge=0, le=1000)] = 0
    """Sampled answers whose agreement with the greedy one is a second confidence; 0 for none."""
    temperature: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Temperature of the samples."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Random seed of samples and intervals."""
    raw: bool = True
    """Whether prompts are texts to continue."""


@dataclass(frozen=True)
class Question:
    """A prompt, with its right answer if it is known."""

    prompt: str
    answer: str | None = None


def read_questions(path: Path | str) -> list[Question]:
    """Reads prompts with answers.

    Args:
        path: JSON Lines; each row has `prompt` and `answer`, the text that continues the prompt.

    Raises:
        RequestError: A row has other members or types, or there are too many rows.
        InputError: The file is no JSON Lines.
    """
    found: list[Question] = []
    for members, line, _ in read_objects(path):
        prompt, answer = members.get("prompt"), members.get("answer")
        for name, text in (("prompt", prompt), ("answer", answer)):
            if not isinstance(text, str) or not text or len(text) > MAX_CHARS:
                raise RequestError(
                    f"{path}:{line}: `{name}` must be a text of 1 to {MAX_CHARS:,} characters; write "
                    '{"prompt": "...", "answer": "..."}',
                    "LI-E088",
                )
        if len(found) == MAX_PROMPTS:
            raise RequestError(f"{path} has more than {MAX_PROMPTS:,} rows: give fewer", "LI-E088")
        found.append(Question(str(prompt), str(answer)))
    if not found:
        raise RequestError(f'{path} is empty: give rows such as {{"prompt": "...", "answer": "..."}}', "LI-E088")
    return found


def uncertainty(
    analyzer: ModelAnalyzer, questions: Sequence[Question], config: UncertaintyConfig | None = None
) -> UncertaintyResult:
    """Entropy and top probability of prompts, and calibration of the confidence in answers where they are known.

    Args:
        analyzer: The model.
        questions: Prompts, all with answers or all without.
        config: Settings; None for the defaults.

    Raises:
        RequestError: Only some prompts have answers, an answer is too long, or samples are asked for without answers.
    """
    config = config or UncertaintyConfig()
    has_answers = {each.answer is not None for each in questions}
    if not questions or len(has_answers) > 1:
        raise RequestError("give prompts, all with answers or all without", "LI-E088")
    if config.samples and has_answers == {False}:
        raise RequestError("`samples` needs answers: their length is that of the samples", "LI-E088")
    read = read_prompts(analyzer, [each.prompt for each in questions], raw=config.raw)
    rows = [
        _row(analyzer.lm, prompt, each.answer, config, place)
        for place, (prompt, each) in enumerate(zip(read, questions, strict=True))
    ]
    right = np.array([bool(each.is_right) for each in rows])
    figures = [
        calibration_figures(
            name, calibrate(np.array(values, float), right, bins=config.bins, seed=config.seed), len(rows)
        )
        for name, values in (
            ("probability", [each.confidence for each in rows]),
            ("agreement", [each.agreement for each in rows]),
        )
        if None not in values
    ]
    request = {**config.model_dump(mode="json"), "answers": [each.answer for each in questions]}
    return UncertaintyResult(
        **about_set(analyzer, "uncertainty", read, request), rows=tuple(rows), calibration=tuple(figures)
    )


def _row(lm: LoadedModel, prompt: Prompt, answer: str | None, config: UncertaintyConfig, place: int) -> NextToken:
    target: tuple[int, ...] = ()
    if answer is not None:
        target = tuple((lm.tokenizer.continuation or lm.tokenizer).encode(answer))
        check_ids(target, lm.config.vocab_size, "the answer")
        if not 1 <= len(target) <= MAX_ANSWER:
            raise RequestError(
                f"the answer {answer[:40]!r} has {len(target)} tokens: give 1 to {MAX_ANSWER}", "LI-E088"
            )
    logs, greedy, chosen = _greedy(lm, prompt, max(1, len(target)))
    first = np.exp(logs)
    order = np.argsort(-first, kind="stable")
    entropy = float(-(first * logs).sum())
    agreement = None
    if config.samples:
        rng = np.random.default_rng([config.seed, 18, place])
        agreement = _agreement(lm, prompt, greedy, config, rng)
    return NextToken(
        prompt=prompt.text,
        entropy=max(0.0, entropy),
        normalised_entropy=max(0.0, entropy) / float(np.log(len(first))),
        top_token=token_text(lm, int(order[0])),
        top_probability=float(first[order[0]]),
        margin=float(first[order[0]] - first[order[1]]),
        predicted=None if answer is None else lm.tokenizer.decode(list(greedy)),
        confidence=None if answer is None else float(min(1.0, np.exp(chosen))),
        answer=answer,
        is_right=None if answer is None else greedy == target,
        agreement=agreement,
    )


def _greedy(lm: LoadedModel, prompt: Prompt, count: int) -> tuple[Numbers, tuple[int, ...], float]:
    """Log-probabilities of the first token, (V,), the greedy answer and its log-probability."""
    ids = list(prompt.ids)
    first: Numbers | None = None
    total = 0.0
    for _ in range(count):
        logs = log_softmax(numbers(run_with_hooks(lm, [ids])[0, -1]))
        first = logs if first is None else first
        best = int(logs.argmax())
        total += float(logs[best])
        ids.append(best)
    assert first is not None
    return first, tuple(ids[len(prompt.ids) :]), total


def _agreement(
    lm: LoadedModel, prompt: Prompt, greedy: tuple[int, ...], config: UncertaintyConfig, rng: np.random.Generator
) -> float:
    """The share of sampled answers that are equal to the greedy one.

    A sample leaves the greedy answer at its first other token, and can be dropped there: only those that still agree are
    continued. All that agree have the same tokens, so one forward pass a token is enough.
    """
    ids = list(prompt.ids)
    agree = config.samples
    for token in greedy:
        if not agree:
            break
        logs = log_softmax(numbers(run_with_hooks(lm, [ids])[0, -1]) / config.temperature)
        agree = int(rng.binomial(agree, min(1.0, float(np.exp(logs[token])))))
        ids.append(token)
    return agree / config.samples
