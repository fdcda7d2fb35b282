"""Preferences: does the model give better answers a higher probability than worse ones.

log p(answer) is the sum over the answer's tokens, as in training: special tokens at its end count, the prompt does not. The implicit
reward of an answer is beta * (log p - log p of the reference) (DPO, arXiv 2305.18290).

| metric | definition | baseline |
|---|---|---|
| `accuracy` | share of pairs with log p(chosen) > log p(rejected) | 0.5: random |
| `accuracy_norm` | the same of the means over tokens | 0.5: random |
| `win_rate` | share of pairs whose chosen answer has the higher implicit reward; a tie counts one half | 0.5: the reference |
| `margin` | mean difference of the implicit rewards | 0: the reference |

The last two need a reference model.
"""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.data import sampled
from lazarus_models.evaluation.task import Item, Metric, Subject, Task, TaskResult, TaskSettings
from lazarus_models.generation.prompt_scores import token_logprobs
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.vocabulary import check_ids
from lazarus_tokenkit import Encoder, PreferenceSample
from lazarus_tokenkit.samples import Row, read_rows


class PreferenceTaskSettings(TaskSettings, frozen=True):
    """Preferences between two answers."""

    kind: Literal["preference"] = "preference"
    beta: Annotated[float, Field(gt=0, le=1000)] = 0.1
    """Factor of the implicit rewards: that of the training."""


class AnswerScore(NamedTuple):
    """Log-probability of an answer.

    Args:
        logprob: Sum over its tokens.
        tokens: Number of its tokens.
    """

    logprob: float
    tokens: int

    @property
    def mean(self) -> float:
        """Log-probability a token."""
        return self.logprob / self.tokens


def measure_preferences(subject: Subject, settings: PreferenceTaskSettings) -> TaskResult:
    """Measures preferences.

    Args:
        subject: The model, and the reference for `win_rate` and `margin`.
        settings: The pairs.

    Raises:
        EvaluationError: A row is no pair of answers, or an answer does not fit the context.
    """
    rows = sampled(_pairs(settings), settings)
    items: list[Item] = []
    for number, row in enumerate(rows, 1):
        items.append(_item(subject, settings.beta, row))
        subject.on_progress(number, len(rows))
    metrics = [
        Metric("accuracy", "proportion", "higher", 0.5, "random"),
        Metric("accuracy_norm", "proportion", "higher", 0.5, "random"),
    ]
    if subject.reference is not None:
        metrics += [
            Metric("win_rate", "proportion", "higher", 0.5, "reference"),
            Metric("margin", "mean", "higher", 0.0, "reference"),
        ]
    return TaskResult(metrics, items, "pairs")


def pair_scores(lm: LoadedModel, row: Row) -> tuple[AnswerScore, AnswerScore]:
    """The log-probabilities of the chosen and the rejected answer.

    Args:
        lm: The model.
        row: A row whose sample is a preference.

    Raises:
        EvaluationError: An answer exceeds the model's context, or has no tokens.
    """
    encoded = Encoder(lm.tokenizer).encode(row.sample)
    assert encoded.parts is not None
    split = encoded.parts[0]
    check_ids(encoded.ids, lm.config.vocab_size, row.place)
    parts = ((encoded.ids[:split], encoded.loss_mask[:split]), (encoded.ids[split:], encoded.loss_mask[split:]))
    chosen, rejected = (_answer(lm, ids, mask, row.place) for ids, mask in parts)
    return chosen, rejected


def _answer(lm: LoadedModel, ids: list[int], mask: list[int], place: str) -> AnswerScore:
    context = lm.config.max_position_embeddings
    if context is not None and len(ids) - 1 > context:
        raise EvaluationError(
            f"{place}: prompt and answer have {len(ids)} tokens, the model's context {context}; leave the row out",
            "LM-E505",
        )
    if 1 not in mask[1:]:
        raise EvaluationError(f"{place}: an answer has no tokens; leave the row out", "LM-E505")
    first = mask.index(1, 1)
    found = token_logprobs(lm.model, ids, first)
    counted = [float(logprob) for logprob, is_counted in zip(found, mask[first:], strict=True) if is_counted]
    return AnswerScore(sum(counted), len(counted))


def _pairs(settings: PreferenceTaskSettings) -> list[Row]:
    rows = list(read_rows(settings.data))
    wrong = next((row for row in rows if not isinstance(row.sample, PreferenceSample)), None)
    if wrong is not None:
        raise EvaluationError(
            f"{wrong.place}: no pair of answers; give rows with `prompt`, `chosen` and `rejected`", "LM-E502"
        )
    return rows


def _item(subject: Subject, beta: float, row: Row) -> Item:
    chosen, rejected = pair_scores(subject.model, row)
    values = {
        "accuracy": (float(chosen.logprob > rejected.logprob), 1.0),
        "accuracy_norm": (float(chosen.mean > rejected.mean), 1.0),
    }
    details = {"chosen": chosen.logprob, "rejected": rejected.logprob, "tokens": [chosen.tokens, rejected.tokens]}
    if subject.reference is not None:
        base_chosen, base_rejected = pair_scores(subject.reference, row)
        margin = beta * ((chosen.logprob - base_chosen.logprob) - (rejected.logprob - base_rejected.logprob))
        values |= {"win_rate": (0.5 if margin == 0 else float(margin > 0), 1.0), "margin": (margin, 1.0)}
        details |= {"reference_chosen": base_chosen.logprob, "reference_rejected": base_rejected.logprob}
    return Item(row.sample.id, values, details)


TASK = Task(
    PreferenceTaskSettings,
    measure_preferences,
    "Preferences between two answers, alone or against a reference model.",
    reference="optional",
)
