"""Log-likelihoods of texts that continue a text, as multiple choice needs them.

The ids are those of lm-evaluation-harness: context and continuation are encoded as one text, and the tokens after the context's
number of tokens belong to the continuation. Spaces at the end of a context move to the continuation.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lazarus_models.errors import EvaluationError
from lazarus_models.generation.autoregressive import prompt_ids
from lazarus_models.generation.prompt_scores import choice_logprobs, token_logprobs
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.vocabulary import check_ids

TOO_LONG = "LM-E505"


class Pair(NamedTuple):
    """The ids of a context and its continuation.

    Args:
        context: At least one id.
        continuation: At least one id.
        is_cut: Whether ids at the start of the context were left out.
    """

    context: list[int]
    continuation: list[int]
    is_cut: bool = False


class Likelihood(NamedTuple):
    """The likelihood of a continuation.

    Args:
        logprob: Natural logarithm of its probability.
        tokens: Its number of tokens.
    """

    logprob: float
    tokens: int


def first_context(lm: LoadedModel) -> int | None:
    """The id before the first token of a text: beginning of text, or end of text where there is none; None without both."""
    bos, eos = lm.tokenizer.bos_id, lm.tokenizer.eos_id
    return eos if bos is None else bos


def encode_pair(lm: LoadedModel, context: str, continuation: str, place: str) -> Pair:
    """Encodes a context and its continuation. Special tokens of the text are ordinary text.

    A context that exceeds the model's context loses its first tokens.

    Args:
        lm: The model.
        context: Text before; it may be empty.
        continuation: Text whose likelihood is asked for; not empty.
        place: Place of the item, for messages.

    Raises:
        EvaluationError: The continuation has no token, or does not fit the model's context, or an empty context has no
            special token in its place.
    """
    tokenizer = lm.tokenizer
    kept = context.rstrip(" ")
    whole = tokenizer.encode(context + continuation, parse_special=False)
    own = tokenizer.encode(kept, parse_special=False) if kept else []
    after = whole[len(own) :]
    before = whole[: len(own)]
    if tokenizer.adds_bos and tokenizer.bos_id is not None:
        before = [tokenizer.bos_id, *before]
    if not before:
        start = first_context(lm)
        if start is None:
            raise EvaluationError(
                f"{place}: the context is empty, and the tokenizer has no token that begins a text; give a context",
                TOO_LONG,
            )
        before = [start]
    if not after:
        raise EvaluationError(f"{place}: the choice {continuation!r} has no token of its own; correct it", TOO_LONG)
    check_ids([*before, *after], lm.config.vocab_size, place)
    return _fitting(before, after, lm.config.max_position_embeddings, place)


def encode_answer(lm: LoadedModel, question: str, answer: str, place: str) -> Pair:
    """Encodes a question in the chat template, and the assistant's answer without its end.

    Args:
        lm: The model.
        question: The user's message.
        answer: The answer whose likelihood is asked for; not empty.
        place: Place of the item, for messages.

    Raises:
        EvaluationError: The answer has no token, or does not fit the model's context.
        TemplateError: The template refuses the question.
    """
    before = prompt_ids(lm, question)
    tokenizer = lm.tokenizer.continuation or lm.tokenizer
    after = tokenizer.encode(answer, parse_special=False)
    if not after:
        raise EvaluationError(f"{place}: the choice {answer!r} has no token; correct it", TOO_LONG)
    check_ids([*before, *after], lm.config.vocab_size, place)
    return _fitting(before, after, lm.config.max_position_embeddings, place)


def likelihoods(lm: LoadedModel, pairs: Sequence[Pair]) -> list[Likelihood]:
    """The likelihood of each continuation.

    Each text is read alone, so that no bit of a result depends on other texts. Continuations of one token after the same
    context share one reading.

    Args:
        lm: The model.
        pairs: Contexts with continuations.
    """
    first = pairs[0].context if pairs else []
    if len(pairs) > 1 and all(len(each.continuation) == 1 and each.context == first for each in pairs):
        found = choice_logprobs(lm.model, first, [each.continuation[0] for each in pairs])
        return [Likelihood(float(each.sum()), 1) for each in found]
    return [
        Likelihood(
            float(token_logprobs(lm.model, [*each.context, *each.continuation], len(each.context)).sum()),
            len(each.continuation),
        )
        for each in pairs
    ]


def _fitting(before: list[int], after: list[int], context: int | None, place: str) -> Pair:
    surplus = 0 if context is None else len(before) + len(after) - 1 - context  # the last token is no input
    if surplus <= 0:
        return Pair(before, after)
    if surplus >= len(before):
        raise EvaluationError(
            f"{place}: a choice of {len(after)} tokens does not fit the model's context of {context}; leave the item out",
            TOO_LONG,
        )
    return Pair(before[surplus:], after, is_cut=True)
