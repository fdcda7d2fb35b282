"""`UnifiedPipeline`: one object that loads any supported model and generates with it."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from lazarus_models.adapters.files import load_adapter
from lazarus_models.backend import own_streams
from lazarus_models.chat.function_calling import CALL_ENDS, Tool, ToolCall, parse_calls, with_tools
from lazarus_models.chat.history import ChatHistory
from lazarus_models.config.huggingface import Precision, in_words
from lazarus_models.errors import GenerationError
from lazarus_models.families import ModelFamilyType, typed_family
from lazarus_models.generation.autoregressive import Generation, GenerationStats, generate, shortened, stream
from lazarus_models.generation.batch import generate_batch
from lazarus_models.generation.prompt_cache import PromptCache
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.loading.huggingface import load
from lazarus_models.loading.loaded_model import LoadedModel


class DType(StrEnum):
    """Precision of weights in memory."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"

    @property
    def precision(self) -> Precision:
        """The name in a `config.json`."""
        words: dict[str, Precision] = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16"}
        return words[self.value]


class UnifiedPipelineConfig(BaseModel):
    """Settings of loading and generation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dtype: DType | None = None
    """Precision in memory. None: float32 on a CPU, the file's precision on a GPU."""
    revision: str | None = None
    """Branch, tag or commit of a repository on the hub; None for the main branch."""
    adapter: Path | None = None
    """Directory of a LoRA adapter to load; None for none."""
    any_base: bool = False
    """Accept an adapter that was trained on other weights."""
    system: str | None = None
    """System message of every conversation; None for none."""
    generation: GenerationConfig = GenerationConfig()
    """Generation settings of calls that give none."""


@dataclass(frozen=True, repr=False)
class UnifiedPipeline:
    """A loaded model with generation settings.

    The methods that generate take a `GenerationConfig`, or its fields as keywords, such as `max_new_tokens=5`.
    """

    lm: LoadedModel
    config: UnifiedPipelineConfig = field(default_factory=UnifiedPipelineConfig)

    @classmethod
    def from_pretrained(
        cls,
        model: Path | str,
        config: UnifiedPipelineConfig | None = None,
        *,
        pipeline_config: UnifiedPipelineConfig | None = None,
    ) -> Self:
        """Loads a model.

        Args:
            model: A directory, a short name or a repository on the hub; see `lazarus_models.loading.locate`.
            config: Settings; None for the defaults.
            pipeline_config: Another name of `config`.

        Raises:
            ModelsError: The model or the adapter cannot be loaded, or both `config` and `pipeline_config` are given.
        """
        config = _one_config(config, pipeline_config)
        lm = load(model, dtype=config.dtype.precision if config.dtype else None, revision=config.revision)
        if config.adapter is not None:
            load_adapter(lm.model, config.adapter, any_base=config.any_base)
        return cls(lm, config)

    @classmethod
    async def from_pretrained_async(
        cls,
        model: Path | str,
        config: UnifiedPipelineConfig | None = None,
        *,
        pipeline_config: UnifiedPipelineConfig | None = None,
    ) -> Self:
        """Loads a model in a thread of its own, so that other tasks continue; see `from_pretrained`.

        Args:
            model: A directory, a short name or a repository on the hub.
            config: Settings; None for the defaults.
            pipeline_config: Another name of `config`.
        """

        def made() -> Self:
            with own_streams():
                return cls.from_pretrained(model, config, pipeline_config=pipeline_config)

        with ThreadPoolExecutor(1) as thread:  # a new thread: one whose MLX streams were cleared cannot be used again
            return await asyncio.get_running_loop().run_in_executor(thread, made)

    @property
    def family(self) -> ModelFamilyType | str:
        """The model's family; a plain string if it is one of another package."""
        return typed_family(self.lm.family)

    @property
    def family_type(self) -> ModelFamilyType | str:
        """The same as `family`."""
        return self.family

    def __repr__(self) -> str:
        return f"UnifiedPipeline({self.lm.summary})"

    def generate(self, prompt: str, config: GenerationConfig | None = None, **changes: Any) -> Generation:
        """Continues a text without a chat template.

        Args:
            prompt: The text.
            config: Generation settings; None for those of the pipeline.
            **changes: Fields of `GenerationConfig` that replace those of `config`.

        Raises:
            GenerationError: A field does not exist or its value is invalid, or the prompt cannot be used.
        """
        return generate(self.lm, prompt, self._settings(config, changes), raw=True)

    def generate_many(self, prompts: Sequence[str], config: GenerationConfig | None = None) -> list[Generation]:
        """Continues several texts in one batch.

        Args:
            prompts: The texts.
            config: Generation settings; None for those of the pipeline.

        Returns:
            One result a text, in the same order.
        """
        return generate_batch(self.lm, prompts, config or self.config.generation, raw=True)

    def generate_stream(self, prompt: str, config: GenerationConfig | None = None, **changes: Any) -> Iterator[str]:
        """Continues a text and yields the new text in pieces of whole characters.

        Args:
            prompt: The text.
            config: Generation settings; None for those of the pipeline.
            **changes: Fields of `GenerationConfig` that replace those of `config`.
        """
        return stream(self.lm, prompt, self._settings(config, changes), raw=True)

    def chat(
        self,
        said: str | ChatHistory,
        config: GenerationConfig | None = None,
        *,
        system_message: str | None = None,
        tools: Sequence[Tool] = (),
        cache: PromptCache | None = None,
        **changes: Any,
    ) -> "ChatReply":
        """Answers the last message of a conversation.

        Args:
            said: A user's message, which starts a conversation, or a conversation.
            config: Generation settings; None for those of the pipeline.
            system_message: System message of a conversation that `said` starts; None for that of the pipeline.
            tools: Functions that the model may call. With functions, the answer ends after the first call.
            cache: Cache of the conversation. If the same cache is given in every turn, only new messages are read.
            **changes: Fields of `GenerationConfig` that replace those of `config`.

        Raises:
            GenerationError: A field does not exist or its value is invalid, the prompt cannot be used, or
                `system_message` was given with a conversation.
        """
        if system_message is not None and not isinstance(said, str):
            raise GenerationError("`system_message` has no effect on a conversation; add it to the history", "LM-E144")
        if isinstance(said, str):
            history = ChatHistory.of(self.config.system if system_message is None else system_message).user(said)
        else:
            history = said
        asked = self._settings(config, changes)
        messages = history.messages
        if tools:
            messages = with_tools(messages, tools)
            asked = asked.model_copy(update={"stop": (*asked.stop, *CALL_ENDS)})
        done = generate(self.lm, messages, asked, cache=cache)
        return ChatReply(done, history.assistant(done.text), parse_calls(done.text) if tools else ())

    def chat_with_history(
        self, history: ChatHistory, config: GenerationConfig | None = None, **changes: Any
    ) -> "ChatReply":
        """Answers the last message of a conversation; see `chat`.

        Args:
            history: The conversation.
            config: Generation settings; None for those of the pipeline.
            **changes: Fields of `GenerationConfig` that replace those of `config`.
        """
        return self.chat(history, config, **changes)

    def _settings(self, config: GenerationConfig | None, changes: dict[str, Any]) -> GenerationConfig:
        asked = config or self.config.generation
        if not changes:
            return asked
        try:
            return GenerationConfig(**{**asked.model_dump(exclude_unset=True), **changes})
        except ValidationError as error:
            raise GenerationError(in_words(error), "LM-E144") from error


def _one_config(
    config: UnifiedPipelineConfig | None, pipeline_config: UnifiedPipelineConfig | None
) -> UnifiedPipelineConfig:
    if config is not None and pipeline_config is not None:
        raise GenerationError("`config` and `pipeline_config` are the same setting; give one of them", "LM-E144")
    return config or pipeline_config or UnifiedPipelineConfig()


@dataclass(frozen=True, repr=False)
class ChatReply:
    """An answer, and the conversation that includes it."""

    generation: Generation
    history: ChatHistory
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls in the answer; empty unless `tools` were given."""

    def __repr__(self) -> str:
        return f"ChatReply({shortened(self.text)}, {self.stats.summary}, {len(self.history)} messages)"

    @property
    def text(self) -> str:
        """The text of the answer."""
        return self.generation.text

    @property
    def stats(self) -> GenerationStats:
        """Token counts and time."""
        return self.generation.stats
