"""The form of a file of rewards: tables `[rewards.NAME]`, each a part with a type and a weight, and the limits `[jail]`.

A part has a value from 0 to 1. The reward of an answer is the sum of weight times value.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

MAX_PARTS = 64
_TAG = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
Tag = Annotated[str, Field(pattern=_TAG)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    weight: float = 1.0
    """Factor of the value in the sum; negative for a penalty."""


class _Compared(_Part):
    answer: str = "answer"
    """Field of the row with the right answer."""
    tag: Tag | None = None
    """Judge only the text inside the last `<tag>...</tag>`; an answer without it gets 0."""


class NumberPart(_Compared):
    """1 where a number of the completion is the row's number, compared as exact fractions."""

    type: Literal["number"]
    take: Literal["last", "only", "boxed"] = "last"
    r"""Which number counts: the last one, the only one, or the one in the last `\boxed{...}`."""
    absolute: NonNegativeFloat = 0.0
    """Allowed difference."""
    relative: NonNegativeFloat = 0.0
    """Allowed difference as a share of the right number."""


class ExactPart(_Compared):
    """1 where the completion is the row's text, or one of its list of texts, apart from white space around it."""

    type: Literal["exact"]
    ignore_case: bool = False
    """Whether capital letters do not matter."""
    ignore_space: bool = False
    """Whether runs of white space count as one blank."""


class Gsm8kPart(_Part):
    """1 where the number after the last `####` is that of the row."""

    type: Literal["gsm8k"]
    answer: str = "answer"
    """Field of the row: a number, or a worked answer that ends with `#### NUMBER`."""


class FormatPart(_Part):
    """1 where the completion has every tag once, in this order, and no other text around them."""

    type: Literal["format"]
    tags: tuple[Tag, ...] = Field(default=("think", "answer"), min_length=1, max_length=16)
    """Names of the tags, such as `think` for `<think>...</think>`."""
    allows_text: bool = False
    """Whether text between the tags is allowed."""

    @field_validator("tags")
    @classmethod
    def _are_different(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(tags)) < len(tags):
            raise ValueError("names a tag twice")
        return tags


class LengthPart(_Part):
    """1 for a length from `least` to `most`; outside it falls to 0 over `fall` units."""

    type: Literal["length"]
    unit: Literal["characters", "words"] = "characters"
    """What is counted."""
    least: NonNegativeInt = 0
    """Shortest length with value 1."""
    most: NonNegativeInt | None = None
    """Longest length with value 1; absent for no limit."""
    fall: NonNegativeInt = 0
    """Units over which the value falls from 1 to 0 outside the range."""

    @model_validator(mode="after")
    def _is_range(self) -> "LengthPart":
        if self.most is not None and self.most < self.least:
            raise ValueError("`most` is below `least`")
        return self


class RegexPart(_Part):
    """1 where a regular expression of Python matches. It runs in the jail, so a slow pattern ends with its time."""

    type: Literal["regex"]
    pattern: str = Field(max_length=10_000)
    """The regular expression."""
    whole: bool = False
    """Whether it must match the whole completion."""

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"is no regular expression ({error})") from None
        return pattern


class FunctionPart(_Part):
    """The value of a function `f(prompt, completion, row)`, a number from 0 to 1. It runs in the jail."""

    type: Literal["function"]
    function: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
    """The function as `module:function`; the folder of the file is searched first."""


class EnvironmentPart(_Part):
    """The reward of an episode that plays the completion: an action a line for a game, the whole text for a question.

    The row has `seed` and, unless they are set here, `environment` and `task`. Tasks of reasoning-gym run in the jail.
    """

    type: Literal["environment"]
    environment: str | None = None
    """Name of the environment, such as `sudoku` or `reasoning-gym:spell_backward`; absent for the row's."""
    task: str | None = None
    """Task of the environment, such as `easy`; absent for the row's, or the first."""
    tag: Tag | None = None
    """Play only the text inside the last `<tag>...</tag>`; an answer without it gets 0."""
    python: Path | None = None
    """Python of an environment with reasoning-gym."""


Part = Annotated[
    NumberPart | ExactPart | Gsm8kPart | FormatPart | LengthPart | RegexPart | FunctionPart | EnvironmentPart,
    Field(discriminator="type"),
]


TYPES = ("number", "exact", "gsm8k", "format", "length", "regex", "function", "environment")


class JailLimits(BaseModel):
    """Limits of one verdict of `regex` and `function`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    wall_s: PositiveFloat = 5.0
    """Seconds by the clock."""
    cpu_s: PositiveFloat = 5.0
    """Seconds of the processor."""
    memory_mb: PositiveInt = 512
    """Megabytes that verdicts may add."""


class RewardFile(BaseModel):
    """A file of rewards."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rewards: dict[str, Part] = Field(min_length=1, max_length=MAX_PARTS)
    """Parts by name; the names appear in logs."""
    jail: JailLimits = JailLimits()
    """Limits of the parts that run in the jail."""
