"""The numbers that can be followed over checkpoints."""

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from lazarus_introspect.analysis import Prompt, read_prompt, resolve_token
from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import run_with_hooks
from lazarus_introspect.metrics import Numbers, log_softmax, numbers
from lazarus_introspect.reading import detect_heads
from lazarus_models import LoadedModel

Name = Literal["loss", "probability", "rank", "difference", "head"]


class Metric(Frozen):
    """A number that a model has, and what it needs."""

    name: Name
    """loss: mean negative log-probability of the prompt's tokens, nats. probability, rank: of the next token `positive`.
    difference: logit of `positive` minus logit of `negative`. head: score of an attention head minus its control."""
    prompt: str | None = None
    """All but head: the prompt."""
    positive: str | None = None
    """probability, rank, difference: text of the next token."""
    negative: str | None = None
    """difference: text of the token that is subtracted."""
    head: tuple[NonNegativeInt, NonNegativeInt] | None = None
    """head: layer and head."""
    kind: Literal["induction", "duplicate", "previous", "sink"] = "induction"
    """head: what the score is of; see `lazarus_introspect.reading.detect_heads`."""
    seed: Annotated[int, Field(ge=0)] = 0
    """head: random seed of the tokens that the head reads."""
    raw: bool = True
    """Whether the prompt is a text to continue; otherwise a user's message in the chat template."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        needed = {
            "prompt": self.name != "head",
            "positive": self.name in ("probability", "rank", "difference"),
            "negative": self.name == "difference",
            "head": self.name == "head",
        }
        for field, is_needed in needed.items():
            if is_needed != (getattr(self, field) is not None):
                words = f"needs `{field}`: give it" if is_needed else f"does not use `{field}`: omit it"
                raise ValueError(f"the metric {self.name} {words}")
        return self

    @property
    def unit(self) -> str:
        """What the number is."""
        return {
            "loss": "mean loss of a token, nats",
            "probability": f"probability of {self.positive!r}",
            "rank": f"rank of {self.positive!r}",
            "difference": f"logit of {self.positive!r} - {self.negative!r}",
            "head": f"{self.kind} score minus control",
        }[self.name]

    @property
    def label(self) -> str:
        """The metric in words."""
        if self.head is None:
            return self.unit
        return f"{self.unit}, layer {self.head[0]} head {self.head[1]}"

    def measure(self, lm: LoadedModel, where: Path) -> tuple[float, Prompt | None]:
        """The number of one model, and the prompt as it read it.

        Args:
            lm: The model.
            where: Its folder, for messages.

        Raises:
            RequestError: The prompt, a token or the head does not fit the model.
        """
        if self.name == "head":
            return self._head_score(lm), None
        prompt = read_prompt(lm, self.prompt or "", raw=self.raw)
        logs = log_softmax(numbers(run_with_hooks(lm, prompt.rows)[0]))  # (T, V)
        if self.name == "loss":
            value = _loss(prompt, logs)
        else:
            token = resolve_token(lm, self.positive or "").id
            last = logs[-1]
            value = {
                "probability": float(np.exp(last[token])),
                "rank": float(1 + (last > last[token]).sum()),
            }.get(self.name)
            if value is None:
                value = float(last[token] - last[resolve_token(lm, self.negative or "").id])
        if not np.isfinite(value):
            raise RequestError(f"{where}: the metric {self.name} is not finite", "LI-E106")
        return value, prompt

    def _head_score(self, lm: LoadedModel) -> float:
        assert self.head is not None
        first = lm.tokenizer.bos_id if lm.tokenizer.adds_bos else None
        every = detect_heads(lm, kinds=(self.kind,), seed=self.seed, first=first)
        found = {(each.layer, each.head): each.score - each.control for each in every}
        if self.head not in found:
            layers = 1 + max(layer for layer, _ in found)
            raise RequestError(
                f"layer {self.head[0]} has no head {self.head[1]} with a pattern; the model has {layers} layers",
                "LI-E140",
            )
        return found[self.head]


def _loss(prompt: Prompt, logs: Numbers) -> float:
    if len(prompt.ids) < 2:
        raise RequestError("a loss needs a prompt of two tokens or more", "LI-E106")
    targets = np.array(prompt.ids[1:])
    return float(-logs[np.arange(len(targets)), targets].mean())
