"""One roll-out: an answer of the model, or a conversation with an environment, with its reward; and its line in `rollouts.jsonl`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lazarus_train.rollouts.rewards import OK

JSON = dict[str, Any]
TRUNCATED = "truncated"
"""Status of an answer that reached the largest number of tokens."""


@dataclass(frozen=True)
class Rollout:
    """A roll-out.

    Args:
        step: Steps done when it was drawn, plus 1.
        sample: Sample id of its prompt.
        copy: Number of the answer among the answers to the prompt in this step, from 0.
        seeds: Seed of each answer of the model.
        ids: Tokens after the prompt.
        is_drawn: Whether the model drew each of `ids`; an environment wrote the others.
        logprobs: Log-probability of each drawn token by the generating pass, rounded to 6 digits.
        texts: Text of each answer of the model.
        status: `ok`, `truncated`, or why there is no reward.
        reward: The reward that is trained on; None unless the status is `ok`.
        parts: Components of the reward.
        true_reward: The reward of the verifier; differs from `reward` in a control run.
    """

    step: int
    sample: int
    copy: int
    seeds: tuple[int, ...]
    ids: tuple[int, ...]
    is_drawn: tuple[bool, ...]
    logprobs: tuple[float, ...]
    texts: tuple[str, ...]
    status: str
    reward: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    true_reward: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it may be trained on and counts in the statistics of its group."""
        return self.status == OK and self.reward is not None

    @property
    def length(self) -> int:
        """Tokens that the model drew."""
        return sum(self.is_drawn)

    def to_json(self) -> JSON:
        """The members of its line."""
        written = [place for place, drawn in enumerate(self.is_drawn) if not drawn]
        return {
            "step": self.step,
            "sample": self.sample,
            "copy": self.copy,
            "seeds": list(self.seeds),
            "ids": list(self.ids),
            **({"written": written} if written else {}),
            "logprobs": list(self.logprobs),
            "texts": list(self.texts),
            "status": self.status,
            "reward": self.reward,
            **({"parts": dict(self.parts)} if self.parts else {}),
            **({"true_reward": self.true_reward} if self.true_reward != self.reward else {}),
        }

    @classmethod
    def of(cls, members: JSON) -> "Rollout":
        """The roll-out of a line.

        Raises:
            KeyError: A member is missing.
        """
        written = set(members.get("written", ()))
        return cls(
            step=members["step"],
            sample=members["sample"],
            copy=members["copy"],
            seeds=tuple(members["seeds"]),
            ids=tuple(members["ids"]),
            is_drawn=tuple(place not in written for place in range(len(members["ids"]))),
            logprobs=tuple(members["logprobs"]),
            texts=tuple(members["texts"]),
            status=members["status"],
            reward=members["reward"],
            parts=members.get("parts", {}),
            true_reward=members.get("true_reward", members["reward"]),
        )


def rounded(value: float) -> float:
    """A number with 6 digits, so that its decimal form in a file is the same number."""
    return float(f"{value:.6g}")


def digest_of(rollouts: Sequence[Rollout]) -> str:
    """SHA-256 over the lines of the roll-outs of a step, 64 hex."""
    return hashlib.sha256(b"".join(line_of(each) for each in rollouts)).hexdigest()


def line_of(rollout: Rollout) -> bytes:
    """The line of a roll-out in `rollouts.jsonl`."""
    return json.dumps(rollout.to_json(), separators=(",", ":"), allow_nan=False).encode() + b"\n"
