"""Answers to prompts of an evaluation: prompts are checked with their places, then answered in batches."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.task import Subject
from lazarus_models.generation.autoregressive import Generation, prompt_ids
from lazarus_models.generation.batch import generate_batch
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_tokenkit import Message

PromptStyle = Literal["auto", "chat", "raw"]
TOO_LONG = "LM-E505"


class Asked(NamedTuple):
    """A prompt of an evaluation.

    Args:
        place: File and line.
        messages: The conversation for a chat template.
        text: The text to continue, for a model without one.
    """

    place: str
    messages: tuple[Message, ...]
    text: str


def is_chat(lm: LoadedModel, style: PromptStyle) -> bool:
    """Whether prompts are conversations: `auto` takes the chat template if the tokenizer has one.

    Args:
        lm: The model.
        style: The setting.
    """
    return style == "chat" or (style == "auto" and lm.tokenizer.chat_template is not None)


def random_end(lm: LoadedModel, max_new_tokens: int) -> float:
    """Probability that a model which draws every token with equal probability ends its answer.

    Args:
        lm: The model; its stop tokens and vocabulary count.
        max_new_tokens: Largest number of tokens of an answer.
    """
    return 1 - (1 - len(lm.stop_ids) / lm.config.vocab_size) ** max_new_tokens


def answers_to(
    subject: Subject,
    asked: Sequence[Asked],
    config: GenerationConfig,
    style: PromptStyle,
    on_progress: Callable[[int, int], object] | None = None,
) -> list[Generation]:
    """Answers prompts.

    Args:
        subject: The model, and the size of a batch.
        asked: The prompts.
        config: Settings of generation.
        style: Form of the prompts.
        on_progress: Called with the numbers of finished and of all answers; None calls that of `subject`.

    Raises:
        EvaluationError: A prompt does not fit the model's context.
    """
    lm, tell = subject.model, on_progress or subject.on_progress
    chat = is_chat(lm, style)
    prompts = [each.messages if chat else each.text for each in asked]
    context = lm.config.max_position_embeddings
    for each, prompt in zip(asked, prompts, strict=True):
        length = len(prompt_ids(lm, prompt, raw=not chat))
        if context is not None and length >= context:
            raise EvaluationError(
                f"{each.place}: the prompt has {length} tokens, the model's context {context}; shorten it or leave it out",
                TOO_LONG,
            )
    done = 0

    def finished(_: int, __: Generation) -> None:
        nonlocal done
        done += 1
        tell(done, len(asked))

    return generate_batch(lm, prompts, config, raw=not chat, batch_size=subject.batch_size, on_done=finished)
