"""Which prompts of a step are answered: those whose groups most likely have different rewards, for the tokens that they cost."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FORGETTING = 0.9
"""Weight of a count after one more step: the model changes, and with it what it can do."""
PRIOR = 1.0
"""Groups with signal, and groups without, that a prompt is assumed to have had."""


@dataclass
class _Counts:
    step: int = 0
    groups: float = 0.0
    signals: float = 0.0
    tokens: float = 0.0

    def at(self, step: int) -> "_Counts":
        """The counts, discounted to a later step."""
        kept = FORGETTING ** max(0, step - self.step)
        return _Counts(step, self.groups * kept, self.signals * kept, self.tokens * kept)


@dataclass
class SignalHistory:
    """Signal of earlier groups by key, such as the difficulty of a task. It is a function of the roll-outs so far."""

    counts: dict[str, _Counts] = field(default_factory=dict[str, _Counts])

    def record(self, step: int, key: str, *, has_signal: bool, tokens: int) -> None:
        """Counts a group.

        Args:
            step: Step of the group.
            key: Key of its prompt.
            has_signal: Whether the rewards of its answers differed.
            tokens: Tokens of its answers.
        """
        before = self.counts.get(key, _Counts(step)).at(step)
        self.counts[key] = _Counts(step, before.groups + 1, before.signals + has_signal, before.tokens + tokens)

    def expected(self, step: int, key: str) -> float:
        """Expected groups with signal for each drawn token, with `PRIOR` groups of each kind of average length.

        Args:
            step: Step that the prompt would be answered in.
            key: Key of the prompt.
        """
        everything = [each.at(step) for each in self.counts.values()]
        groups = sum(each.groups for each in everything)
        average = sum(each.tokens for each in everything) / groups if groups else 1.0
        own = self.counts.get(key, _Counts(step)).at(step)
        rate = (own.signals + PRIOR) / (own.groups + 2 * PRIOR)
        return rate / ((own.tokens + 2 * PRIOR * average) / (own.groups + 2 * PRIOR))


def order_by_signal(
    samples: Sequence[int], keys: Mapping[int, str], history: SignalHistory, *, seed: int, step: int
) -> list[int]:
    """Prompts of a step, the most promising first; equal ones in a seeded order.

    Args:
        samples: Sample ids of the prompts.
        keys: Key of each prompt by sample id.
        history: Earlier groups.
        seed: Seed of the run.
        step: The step.
    """
    value = {key: history.expected(step, key) for key in set(keys.values())}

    def place(sample: int) -> tuple[float, bytes]:
        text = f"lazarus-train/1|signal|{seed}|{step}|{sample}"
        return -value[keys[sample]], hashlib.sha256(text.encode("ascii")).digest()

    return sorted(samples, key=place)
