"""Forward passes of a batch for objectives. Each part is computed independently of other parts of its row.

R = rows, T = tokens per row, D = model width, L = labels, P = parts, O = outputs

On a CPU the head runs only at positions before labels. On a GPU it runs at all positions, so that shapes stay
fixed.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float, Int

from lazarus_models import SequenceModel, segment_caches
from lazarus_models.backend import mx, nn
from lazarus_models.components import SegmentCache, bidirectional_mask
from lazarus_models.ops import gather_rows, log_probabilities
from lazarus_models.packed_rows import mask_caches
from lazarus_models.trees import evaluate
from lazarus_train.data.batches import Batch
from lazarus_train.devices import device_policy
from lazarus_train.errors import SetupError
from lazarus_train.objectives.fused_head import blockwise_causal_nll
from lazarus_train.objectives.next_token import before_labels, causal_nll, token_nll, token_nll_in_place

if TYPE_CHECKING:
    from lazarus_models.components import Body, Decoder

_NUMBERS = 2**22
"""Logits that a pass over whole distributions computes at once."""


def causal_sum(model: nn.Module, batch: Batch) -> Float[mx.array, ""]:
    """Sum of the negative log-likelihoods of all labels given the preceding tokens, in nats.

    Args:
        model: A `Decoder` with a language-model head.
        batch: Packed rows; attention does not cross segments.
    """
    if not device_policy().labels_only:
        decoder = cast("Decoder", model)
        states = decoder.body(batch.ids, _caches(decoder, batch))  # (R, T, D)
        if decoder.training:  # the gradient is computed with the loss
            return blockwise_causal_nll(decoder, states, batch.ids, batch.is_label)
        return causal_nll(decoder.head(states), batch.ids, batch.is_label)
    return label_nll(model, batch).sum()


def label_nll(model: nn.Module, batch: Batch, temperature: float = 1.0) -> Float[mx.array, " L"]:
    """-log p of every label, in the order of rows and tokens; float32 (L,).

    Args:
        model: A `Decoder` with a language-model head.
        batch: Packed rows; `places` are the flat indices of its labels.
        temperature: Divisor of the logits, above 0.
    """
    return _nll(model, batch, _states_before_labels(model, batch), temperature)


def label_log_probabilities(model: nn.Module, batch: Batch, temperature: float) -> Float[mx.array, " L"]:
    """Log-probability of every label, in the order of rows and tokens; float32 (L,).

    Args:
        model: A `Decoder` with a language-model head.
        batch: Packed rows.
        temperature: Divisor of the logits, above 0.
    """
    return -label_nll(model, batch, temperature)


def log_probabilities_and_values(
    model: nn.Module, batch: Batch, temperature: float
) -> tuple[Float[mx.array, " L"], Float[mx.array, " L"]]:
    """`label_log_probabilities`, and the value of the state before every label, float32 (L,), in one pass.

    Args:
        model: A `Decoder` with a `value_head`.
        batch: Packed rows.
        temperature: Divisor of the logits, above 0.
    """
    before = _states_before_labels(model, batch)
    return -_nll(model, batch, before, temperature), _values(model, before)


class LabelSurvey(NamedTuple):
    """What a pass without gradients finds at every label.

    Args:
        log_probability: Bitwise equal to `label_log_probabilities`, (L,).
        entropy: Entropy of the distribution, in nats, (L,).
        lines: Log-probabilities of the whole vocabulary at the labels that were asked for, (K, V).
        value: Value of the state before it; None if the model has no value head, (L,).
    """

    log_probability: Float[mx.array, " L"]
    entropy: Float[mx.array, " L"]
    lines: Float[mx.array, "K V"]
    value: Float[mx.array, " L"] | None


def survey_labels(model: nn.Module, batch: Batch, temperature: float, wanted: Sequence[int]) -> LabelSurvey:
    """One pass without gradients over the labels of a batch; all arrays are evaluated.

    Args:
        model: A `Decoder`, possibly with a `value_head`.
        batch: Packed rows.
        temperature: Divisor of the logits, above 0.
        wanted: Labels whose whole distribution is returned.
    """
    before = _states_before_labels(model, batch)
    entropies: list[mx.array] = []
    decoder, size = cast("Decoder", model), _vocabulary_rows(model)
    for first in range(0, before.shape[0], size):
        line = log_probabilities(decoder.head(before[first : first + size]), temperature)
        entropies.append(-(mx.exp(line) * line).sum(axis=-1))
        evaluate(entropies[-1])
    chosen = before[mx.array(list(wanted))] if wanted else before[:0]
    lines = log_probabilities(decoder.head(chosen), temperature) if wanted else mx.zeros((0, 0))
    value = _values(model, before) if "value_head" in model else None
    found = LabelSurvey(
        -_nll(model, batch, before, temperature),
        mx.concatenate(entropies) if entropies else mx.zeros((0,)),
        lines,
        value,
    )
    evaluate([each for each in found if each is not None])
    return found


def _states_before_labels(model: nn.Module, batch: Batch) -> Float[mx.array, "L D"]:
    decoder = cast("Decoder", model)
    states = decoder.body(batch.ids, _caches(decoder, batch))  # (R, T, D)
    # Gather the positions before labels first, so the head multiplies L rows instead of R * T.
    return gather_rows(mx.flatten(states, 0, 1), before_labels(batch.places), is_distinct=True)


def _nll(model: nn.Module, batch: Batch, before: Float[mx.array, "L D"], temperature: float) -> Float[mx.array, " L"]:
    # In place on a CPU: the logits are the largest array.
    nll = token_nll_in_place if device_policy().labels_only else token_nll
    logits = cast("Decoder", model).head(before)
    if temperature != 1:
        logits = (
            logits.astype(mx.float32) / temperature
        )  # in float32 as in `log_probabilities`, by which answers are drawn
    return nll(logits, mx.flatten(batch.ids)[batch.places])


def _values(model: nn.Module, before: Float[mx.array, "L D"]) -> Float[mx.array, " L"]:
    return cast("Any", model).value_head(before)[:, 0].astype(mx.float32)


def _vocabulary_rows(model: nn.Module) -> int:
    """Lines of the vocabulary that are computed at once."""
    return max(1, _NUMBERS // cast("Decoder", model).config.vocab_size)


def part_log_probabilities(model: nn.Module, batch: Batch) -> Float[mx.array, " P"]:
    """Joint log-probability of the labels of each part given the preceding tokens; float32 (P,).

    Args:
        model: A `Decoder` with a language-model head.
        batch: Packed rows with P parts.
    """
    return -_part_sums(label_nll(model, batch), batch)


def log_probabilities_with_prompts(
    model: nn.Module, batch: Batch
) -> tuple[Float[mx.array, " P"], Float[mx.array, " P"]]:
    """`part_log_probabilities`, and the log-probability of all tokens of each part but the first, in one forward
    pass.

    For rejected answers both values cover the labels only, because no loss reads their prompts.

    Args:
        model: A `Decoder` with a language-model head.
        batch: Whole pairs; parts alternate between chosen and rejected.
    """
    wider = _with_prompts(batch)
    nll = label_nll(model, wider)
    # Labels of the wider batch that are prompt tokens count as 0 in the answers' sum.
    of_answers = mx.where(mx.flatten(batch.is_label)[wider.places], nll, 0.0)
    return -_part_sums(of_answers, wider), -_part_sums(nll, wider)


def _part_sums(values: Float[mx.array, " L"], batch: Batch) -> Float[mx.array, " P"]:
    """Sums of label values by part."""
    sums: list[mx.array] = []
    first = 0
    for each in batch.parts:
        # Labels are ordered by row and token, as parts are: each part's labels are one slice.
        sums.append(values[first : first + each.labels].sum())
        first += each.labels
    return mx.stack(sums)


def _with_prompts(batch: Batch) -> Batch:
    """A batch in which every token of a first part but the first is a label; `is_label` is unchanged."""
    is_label = np.array(batch.is_label, dtype=np.bool_)
    parts = list(batch.parts)
    for number, part in enumerate(batch.parts):
        # Rejected answers keep their labels.
        if part.side:
            continue
        is_label[part.row, part.start + 1 : part.end] = True
        parts[number] = part._replace(labels=part.end - part.start - 1)
    return replace(batch, places=mx.array(np.flatnonzero(is_label).astype(np.int32)), parts=tuple(parts))


def bidirectional_logits(
    model: nn.Module, ids: Int[mx.array, "R T"], segment_ids: Int[mx.array, "R T"]
) -> Float[mx.array, "R T V"]:
    """Logits of rows in which every token attends to all tokens of its part.

    Args:
        model: A model whose layers support bidirectional attention by a mask.
        ids: Token ids with masks, int (R, T).
        segment_ids: Part of each token, int (R, T).
    """
    decoder = cast("Decoder", model)
    return decoder(ids, cache=mask_caches(model, bidirectional_mask(segment_ids)))


def part_scores(model: SequenceModel, batch: Batch, places: list[int]) -> Float[mx.array, "P O"]:
    """Scores of each part, read at one of its tokens; (P, O).

    Args:
        model: A body with a linear layer.
        batch: The parts.
        places: Position of that token in its row, for each part.
    """
    states = model.body(batch.ids, _caches(model.body, batch))  # (R, T, D)
    row_len = batch.ids.shape[1]
    # Index in the flattened rows: row * T + position.
    flat = [each.row * row_len + place for each, place in zip(batch.parts, places, strict=True)]
    return model.head(gather_rows(mx.flatten(states, 0, 1), mx.array(flat), is_distinct=True)).astype(mx.float32)


def _caches(model: "Decoder | Body", batch: Batch) -> Sequence[SegmentCache | None] | None:
    """Caches that separate the parts of a row. If the model's layers have a recurrent state, a row is one part, and
    attention layers need no cache. On a CPU they get one: segment attention keeps no scores for the gradient.
    """
    if model.config.supports_packing:
        return segment_caches(model, batch.segment_ids)
    if any(part.start for part in batch.parts):
        raise SetupError("this model carries state from one part of a row to the next; use one part per row", "LR-E101")
    if not device_policy().is_lean:
        return None
    cache = SegmentCache(batch.segment_ids)
    return [None if layer.reach is None else cache for layer in model.layers]
