"""Seeded synthetic dialogues from a file of facts.

```json
{"capitals": {"France": "Paris", "Peru": "Lima"},
 "opening hours": [{"question": "When does the shop open?", "answer": "At nine."}]}
```

A category is an object of names and values, from which questions are made, or a list of questions with answers. A question or answer
may be a list of wordings, of which each dialogue draws one.
"""

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lazarus_core.strict_json import read_object
from lazarus_corpus.documents import content_digest, order_key
from lazarus_corpus.errors import SettingError

logger = logging.getLogger(__name__)

Fact = tuple[list[str], list[str]]
"""Wordings of a question, and of its answer."""
QUESTIONS = (
    "What do you know about {name} ({category})?",
    "{category}: {name}?",
    "Please tell me: {name}, {category}.",
    "I have a question on {category}. What about {name}?",
)
ANSWERS = ("{value}", "{name}: {value}", "For {name} it is {value}.")
OPENINGS = ("Hello!", "Hi there.", "Good morning.", "Hey,")
GREETINGS = ("Hello! How can I help?", "Hi! What would you like to know?", "Good day. What is your question?")
THANKS = ("Thank you!", "Thanks, that helps.", "Great, thanks.")
CLOSINGS = ("You are welcome.", "Glad to help.", "Any time.")
MAX_ATTEMPTS = 32
"""Dialogues drawn for one that no other equals; few facts allow few dialogues."""
MAX_FACTS = 100_000
MAX_PER_CATEGORY = 1_000_000


def read_facts(path: Path) -> dict[str, list[Fact]]:
    """The facts of each category: wordings of the question and of the answer.

    Args:
        path: The file.

    Raises:
        SettingError: The file has another form; the message names the category.
    """
    found: dict[str, list[Fact]] = {}
    try:
        categories = _CATEGORIES.validate_python(read_object(path))
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"][:2])
        raise SettingError(
            f"{path}: {place}: a category is an object of names with values, or a list of objects with `question` and `answer`",
            "LD-E129",
        ) from error
    for category, facts in categories.items():
        made = list(_facts(category, facts))
        if not made:
            raise SettingError(f"{path}: the category {category!r} has no facts", "LD-E129")
        found[category] = made
    if not found:
        raise SettingError(f"{path}: no categories", "LD-E129")
    if sum(map(len, found.values())) > MAX_FACTS:
        raise SettingError(f"{path}: more than {MAX_FACTS:,} facts", "LD-E129")
    return found


def dialogues(facts: dict[str, list[Fact]], per_category: int, seed: int) -> Iterator[dict[str, Any]]:
    """Dialogues as chat samples, the same for the same arguments on every machine.

    A dialogue asks one to three different facts of its category, with or without a greeting and thanks. One that equals an earlier
    one is drawn again, at most 32 times; a warning counts those that still equal one.

    Args:
        facts: Of `read_facts`.
        per_category: Dialogues of each category, 1 to 1,000,000.
        seed: Seed.

    Raises:
        SettingError: The number is out of range.
    """
    if not 1 <= per_category <= MAX_PER_CATEGORY:
        raise SettingError(f"the number per category must be from 1 to {MAX_PER_CATEGORY:,}", "LD-E129")
    for category, known in sorted(facts.items()):
        seen: set[bytes] = set()
        equal = 0
        for number in range(per_category):
            messages: list[dict[str, str]] = []
            for attempt in range(MAX_ATTEMPTS):
                generator = random.Random(order_key(seed, "dialogue", f"{category}\0{number}\0{attempt}"))
                messages = _dialogue(known, generator)
                digest = content_digest("\0".join(message["content"] for message in messages))
                if digest not in seen:
                    seen.add(digest)
                    break
            else:
                equal += 1
            yield {"id": f"{category}-{number}", "category": category, "messages": messages}
        if equal:
            logger.warning(
                "%d dialogues of %r equal others: give more facts or wordings, or ask for fewer", equal, category
            )


def _dialogue(known: list[Fact], generator: random.Random) -> list[dict[str, str]]:
    turns: list[str] = []
    opening = ""
    style = generator.randrange(4)
    if style == 1:
        turns += [generator.choice(OPENINGS), generator.choice(GREETINGS)]
    elif style == 2:
        opening = generator.choice(OPENINGS) + " "
    for place in generator.sample(range(len(known)), min(len(known), 1 + generator.randrange(3))):
        questions, answers = known[place]
        turns += [opening + generator.choice(questions), generator.choice(answers)]
        opening = ""
    if generator.randrange(3) == 0:
        turns += [generator.choice(THANKS), generator.choice(CLOSINGS)]
    return [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(turns)]


class _Fact(BaseModel):
    """A question with its answer, each one text or a list of wordings."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: str | list[str] = Field(min_length=1)
    answer: str | list[str] = Field(min_length=1)


_CATEGORIES = TypeAdapter[dict[str, dict[str, str | int | float] | list[_Fact]]](
    dict[str, dict[str, str | int | float] | list[_Fact]], config=ConfigDict(strict=True)
)


def _facts(category: str, facts: dict[str, str | int | float] | list[_Fact]) -> Iterator[Fact]:
    """Wordings of the questions and answers of a category."""
    if isinstance(facts, dict):
        for name, value in facts.items():
            words = {"name": name, "value": value, "category": category}
            yield [each.format(**words) for each in QUESTIONS], [each.format(**words) for each in ANSWERS]
    else:
        for fact in facts:
            question, answer = ([each] if isinstance(each, str) else each for each in (fact.question, fact.answer))
            yield question, answer
