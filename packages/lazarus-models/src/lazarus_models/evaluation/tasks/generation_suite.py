"""A suite of prompts whose answers are checked, from a TOML or JSON file.

    [[prompt]]
    id = "capital"
    prompt = "What is the capital of France?"
    contains = ["Paris"]              # each of these texts
    excludes = ["London"]             # none of these texts
    regex = "(?i)paris"               # found in the answer, in at most a second
    max_repetition = 0.5              # largest share of repeated 4-grams of words

| metric | definition | baseline |
|---|---|---|
| `passed` | share of prompts whose checks all pass | empty answers |
| `contains`, `excludes`, `regex`, `repetition_ok` | share of the prompts with such a check that pass it | empty answers |
| `repetition` | mean share of 4-grams of words that occurred before in the answer | shuffled words |
| `distinct_1`, `distinct_2` | mean share of different words, and of different pairs of words, in an answer | shuffled words |
| `end_of_text` | share of answers that the model ended itself | a model that draws every token with equal probability |

Shuffled words are those of all answers in random order, in answers of the same lengths. Answers without a 4-gram, a word or a pair
do not count in `repetition`, `distinct_1` and `distinct_2`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lazarus_core.settings import read_settings
from lazarus_models.config.huggingface import in_words
from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.answers import Asked, PromptStyle, answers_to, random_end
from lazarus_models.evaluation.data import BAD_ROW, sampled
from lazarus_models.evaluation.patterns import compiled, is_found
from lazarus_models.evaluation.task import Better, Item, Metric, Subject, Task, TaskResult, TaskSettings
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_tokenkit import Message

GRAM = 4
"""Words of the n-grams whose repetition is measured."""
MAX_PROMPTS = 100_000
MEASURES: Mapping[str, Better] = {"repetition": "lower", "distinct_1": "higher", "distinct_2": "higher"}
CHECKS = ("contains", "excludes", "regex", "repetition_ok")

Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Texts = Annotated[tuple[Text, ...], Field(max_length=1000)]


class SuiteSettings(TaskSettings, frozen=True):
    """Checked answers to the prompts of a file."""

    kind: Literal["generation"] = "generation"
    prompt_style: PromptStyle = "auto"
    """`chat` uses the chat template, `raw` continues the prompt; `auto` uses the template if there is one."""
    max_new_tokens: Annotated[int, Field(ge=1, le=1 << 17)] = 128
    """Largest number of tokens of an answer."""
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Divisor of the logits; 0 takes the most likely token."""
    ignore_case: bool = False
    """Whether `contains` and `excludes` ignore the case of letters."""


class SuitePrompt(BaseModel):
    """One prompt of a suite, with its checks."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: Text | None = None
    """Unique in the file [default: the prompt's number from 1]."""
    prompt: Text
    """The user's message, or the text to continue."""
    system: Text | None = None
    """System message of a conversation."""
    contains: Texts = ()
    """Texts that the answer must contain."""
    excludes: Texts = ()
    """Texts that the answer must not contain."""
    regex: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """Regular expression that must match a part of the answer."""
    max_repetition: Annotated[float, Field(ge=0, le=1)] | None = None
    """Largest share of repeated 4-grams of words."""


class Suite(BaseModel):
    """The file of a suite."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[tuple[SuitePrompt, ...], Field(min_length=1, max_length=MAX_PROMPTS)]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        names = [each.id for each in self.named()]
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"`id` {twice!r} occurs twice")
        return self

    def named(self) -> tuple[SuitePrompt, ...]:
        """The prompts, each with an id."""
        return tuple(
            each if each.id is not None else each.model_copy(update={"id": str(number)})
            for number, each in enumerate(self.prompt, 1)
        )


def run_suite(subject: Subject, settings: SuiteSettings) -> TaskResult:
    """Answers the prompts of a suite and checks the answers.

    Args:
        subject: The model.
        settings: The file, and settings of generation.

    Raises:
        EvaluationError: The file is no suite, a prompt exceeds the context, or a regular expression takes too long.
    """
    prompts = sampled(load_suite(settings.data), settings)
    config = GenerationConfig(
        max_new_tokens=settings.max_new_tokens, temperature=settings.temperature, seed=settings.seed
    )
    asked = [_asked(each, settings.data) for each in prompts]
    answers = answers_to(subject, asked, config, settings.prompt_style)
    items = [
        Item(
            str(prompt.id),
            _values(prompt, answer.text, settings) | {"end_of_text": (float(answer.finish_reason == "stop"), 1.0)},
            {"answer": answer.text, "tokens": len(answer.ids)},
        )
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    empty = [_values(each, "", settings) for each in prompts]
    ends = random_end(subject.model, settings.max_new_tokens)
    present = {name for each in items for name in each.values}
    metrics = [
        Metric(name, "proportion", "higher", _mean(empty, name), "empty answer")
        for name in ("passed", *CHECKS)
        if name in present
    ]
    shuffled = [_measured(text) for text in shuffled_words([answer.text for answer in answers], settings.seed)]
    metrics += [
        Metric(name, "mean", better, _mean(shuffled, name), "random")
        for name, better in MEASURES.items()
        if name in present
    ]
    metrics.append(Metric("end_of_text", "proportion", "higher", ends, "random"))
    return TaskResult(metrics, items, "prompts")


def load_suite(path: Path) -> tuple[SuitePrompt, ...]:
    """The prompts of a suite, each with an id.

    Args:
        path: TOML if its name ends with `.toml`, else a JSON object.

    Raises:
        EvaluationError: A value is missing, unknown or out of range, or a regular expression is invalid.
        InputError: The file cannot be read.
    """
    if not path.exists():
        raise EvaluationError(f"{path} does not exist: correct the path", BAD_ROW)
    try:
        prompts = Suite.model_validate(read_settings(path).tree).named()
    except ValidationError as error:
        raise EvaluationError(f"{path}: {in_words(error)}", BAD_ROW) from error
    for each in prompts:
        if each.regex is not None:
            compiled(each.regex, f"{path}: prompt {each.id}")
    return prompts


def repetition(text: str) -> float:
    """Share of 4-grams of words that occurred before in the text; 0 for fewer than five words.

    >>> repetition("to be or not to be or not"), repetition("one two three")
    (0.2, 0.0)
    """
    grams = _grams(text, GRAM)
    return (len(grams) - len(set(grams))) / len(grams) if grams else 0.0


def distinct(text: str, n: int) -> float:
    """Share of different n-grams of words (Li et al. 2016, arXiv 1510.03055); 0 for a text without one.

    >>> distinct("a b a b", 1), distinct("a b a b", 2)
    (0.5, 0.6666666666666666)

    Args:
        text: The text.
        n: Words of an n-gram.
    """
    grams = _grams(text, n)
    return len(set(grams)) / len(grams) if grams else 0.0


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return list(zip(*(words[start:] for start in range(n)), strict=False))


def shuffled_words(texts: Sequence[str], seed: int) -> list[str]:
    """Texts of the same numbers of words, with the words of all texts in random order.

    Args:
        texts: The texts.
        seed: Random seed of the order.
    """
    split = [text.split() for text in texts]
    words = [word for each in split for word in each]
    order = iter(cast("list[int]", np.random.default_rng(seed).permutation(len(words)).tolist()))
    return [" ".join(words[next(order)] for _ in each) for each in split]


def _values(prompt: SuitePrompt, text: str, settings: SuiteSettings) -> dict[str, tuple[float, float]]:
    checks = _checks(prompt, text, settings)
    if checks:
        checks["passed"] = all(checks.values())
    return {name: (float(passes), 1.0) for name, passes in checks.items()} | _measured(text)


def _measured(text: str) -> dict[str, tuple[float, float]]:
    """The measures of a text that has n-grams of their sizes."""
    found = {
        "repetition": (GRAM, repetition(text)),
        "distinct_1": (1, distinct(text, 1)),
        "distinct_2": (2, distinct(text, 2)),
    }
    return {name: (value, 1.0) for name, (size, value) in found.items() if len(text.split()) >= size}


def _checks(prompt: SuitePrompt, text: str, settings: SuiteSettings) -> dict[str, bool]:
    """Which checks of a prompt pass; checks that it does not have are absent."""
    fold = str.casefold if settings.ignore_case else str
    found: dict[str, bool] = {}
    if prompt.contains:
        found["contains"] = all(fold(each) in fold(text) for each in prompt.contains)
    if prompt.excludes:
        found["excludes"] = not any(fold(each) in fold(text) for each in prompt.excludes)
    if prompt.regex is not None:
        found["regex"] = is_found(prompt.regex, text, f"{settings.data}: prompt {prompt.id}")
    if prompt.max_repetition is not None:
        found["repetition_ok"] = repetition(text) <= prompt.max_repetition
    return found


def _mean(values: Sequence[Mapping[str, tuple[float, Any]]], name: str) -> float:
    found = [each[name][0] for each in values if name in each]
    return sum(found) / len(found)


def _asked(prompt: SuitePrompt, path: Path) -> Asked:
    system = () if prompt.system is None else (Message("system", prompt.system),)
    text = prompt.prompt if prompt.system is None else f"{prompt.system}\n{prompt.prompt}"
    return Asked(f"{path}: prompt {prompt.id}", (*system, Message("user", prompt.prompt)), text)


TASK = Task(
    SuiteSettings, run_suite, "Checked answers to the prompts of a file: texts, expressions, repetition, endings."
)
