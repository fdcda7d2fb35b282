"""One object for people who want answers: any supported model, loaded, asked, streamed, chatted with."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from lazarus_models.adapters.files import load_adapter
from lazarus_models.backend import own_streams
from lazarus_models.chat.function_calling import CALL_ENDS, Tool, ToolCall, parse_calls, told_of
from lazarus_models.chat.history import ChatHistory
from lazarus_models.config.huggingface import Precision
from lazarus_models.families import ModelFamilyType
from lazarus_models.generation.batch import generate_batch
from lazarus_models.generation.generate import Generation, GenerationStats, generate, stream
from lazarus_models.generation.prompt_cache import PromptCache
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.loading.huggingface import load
from lazarus_models.loading.loaded_model import LoadedModel


class DType(StrEnum):
    """Precisions of weights in memory."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"

    @property
    def precision(self) -> Precision:
        """Its word in a `config.json`."""
        words: dict[str, Precision] = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16"}
        return words[self.value]


class UnifiedPipelineConfig(BaseModel):
    """How a model is loaded and asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dtype: DType | None = None
    """Precision in memory; float32 on a CPU, the file's on a GPU unless given."""
    revision: str | None = None
    """Of a repository of the hub: a branch, tag or commit."""
    adapter: Path | None = None
    """Directory of a LoRA adapter to add."""
    any_base: bool = False
    """Take an adapter that was trained on other weights too."""
    system: str | None = None
    """Instructions that every conversation begins with."""
    generation: GenerationConfig = GenerationConfig()
    """How answers are drawn unless a call says otherwise."""


@dataclass(frozen=True)
class UnifiedPipeline:
    """A model, ready to be asked."""

    lm: LoadedModel
    config: UnifiedPipelineConfig = field(default_factory=UnifiedPipelineConfig)

    @classmethod
    def from_pretrained(
        cls,
        model: Path | str,
        config: UnifiedPipelineConfig = UnifiedPipelineConfig(),  # noqa: B008 (frozen)
    ) -> Self:
        """Loads a directory, a short name or a repository of the hub; its family is found from its config."""
        lm = load(model, dtype=config.dtype.precision if config.dtype else None, revision=config.revision)
        if config.adapter is not None:
            load_adapter(lm.model, config.adapter, any_base=config.any_base)
        return cls(lm, config)

    @classmethod
    async def from_pretrained_async(
        cls,
        model: Path | str,
        config: UnifiedPipelineConfig = UnifiedPipelineConfig(),  # noqa: B008 (frozen)
    ) -> Self:
        """The same beside other tasks; every array is computed before it is handed over."""

        def made() -> Self:
            with own_streams():
                return cls.from_pretrained(model, config)

        with ThreadPoolExecutor(1) as thread:  # one of its own: a thread whose streams have ended is of no more use
            return await asyncio.get_running_loop().run_in_executor(thread, made)

    @property
    def family(self) -> ModelFamilyType:
        """The model's family."""
        return ModelFamilyType(self.lm.family)

    def generate(self, prompt: str, config: GenerationConfig | None = None) -> Generation:
        """Continues a text as it is, without a chat template."""
        return generate(self.lm, prompt, config or self.config.generation, raw=True)

    def generate_many(self, prompts: Sequence[str], config: GenerationConfig | None = None) -> list[Generation]:
        """Continues several texts together, in their order."""
        return generate_batch(self.lm, prompts, config or self.config.generation, raw=True)

    def generate_stream(self, prompt: str, config: GenerationConfig | None = None) -> Iterator[str]:
        """Continues a text piece by piece, in whole characters."""
        return stream(self.lm, prompt, config or self.config.generation, raw=True)

    def chat(
        self,
        said: str | ChatHistory,
        config: GenerationConfig | None = None,
        *,
        tools: Sequence[Tool] = (),
        cache: PromptCache | None = None,
    ) -> "ChatReply":
        """Answers a person, or the last message of a conversation.

        Args:
            said: A text, which begins a conversation, or a conversation.
            config: How to answer.
            tools: Functions that the model may call; the answer then ends with the call.
            cache: Of the conversation so far; given to every turn, only what is new is read.
        """
        history = ChatHistory.of(self.config.system).user(said) if isinstance(said, str) else said
        asked = config or self.config.generation
        messages = history.messages
        if tools:
            messages = told_of(messages, tools)
            asked = asked.model_copy(update={"stop": (*asked.stop, *CALL_ENDS)})
        done = generate(self.lm, messages, asked, cache=cache)
        return ChatReply(done, history.assistant(done.text), parse_calls(done.text) if tools else ())


@dataclass(frozen=True)
class ChatReply:
    """An answer, and the conversation with it."""

    generation: Generation
    history: ChatHistory
    tool_calls: tuple[ToolCall, ...] = ()
    """Functions that the model asks for; none unless `tools` were given."""

    @property
    def text(self) -> str:
        """What the model says."""
        return self.generation.text

    @property
    def stats(self) -> GenerationStats:
        """How long it took."""
        return self.generation.stats
