r"""Loading a model and generating with it: the names that a script needs, in one module.

`UnifiedPipeline` finds the family of a model and applies its chat template. `HFLoader` does the steps one by one.

>>> from lazarus_tokenkit import load_tokenizer
>>> format_chat_prompt(load_tokenizer("byte"), "Hello", "Be brief.")
'<|bos|><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n'
"""

from collections.abc import Iterable
from pathlib import Path

from lazarus_models.chat.history import ChatHistory as ChatHistory
from lazarus_models.chat.history import Role as Role
from lazarus_models.chat.pipeline import ChatReply as ChatReply
from lazarus_models.chat.pipeline import DType as DType
from lazarus_models.chat.pipeline import UnifiedPipeline as UnifiedPipeline
from lazarus_models.chat.pipeline import UnifiedPipelineConfig as UnifiedPipelineConfig
from lazarus_models.families import ModelFamilyType as ModelFamilyType
from lazarus_models.families import read_config, typed_family
from lazarus_models.generation.autoregressive import Generation as Generation
from lazarus_models.generation.autoregressive import GenerationStats as GenerationStats
from lazarus_models.generation.autoregressive import generate as generate
from lazarus_models.generation.autoregressive import stream as stream
from lazarus_models.generation.sampling import GenerationConfig as GenerationConfig
from lazarus_models.loading.hub import Source, locate
from lazarus_models.loading.huggingface import load
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_tokenkit import Encoder, Message, Tokenizer, load_tokenizer


def family_type(model: LoadedModel | Path | str) -> ModelFamilyType | str:
    """The family of a model; a plain string if it is one of another package.

    Args:
        model: A loaded model, a directory, a short name or a repository on the hub. Of a repository that is not cached,
            all files are downloaded.

    Raises:
        ConfigError: There is no such model, or its config is invalid.
    """
    if isinstance(model, LoadedModel):
        return typed_family(model.family)
    return typed_family(read_config(locate(model).path).model_type)


def format_chat_prompt(
    tokenizer: Tokenizer, message: str | Iterable[Message], system_message: str | None = None
) -> str:
    """The text of a prompt: the conversation in the tokenizer's chat template, and the header of the answer.

    `generate` and `UnifiedPipeline.chat` encode this text. A tokenizer without a template uses `plain`.

    Args:
        tokenizer: The tokenizer of the model, such as `LoadedModel.tokenizer`.
        message: A user's message, or a conversation such as a `ChatHistory`.
        system_message: Text of a system message before the conversation; None for none.

    Raises:
        TemplateError: The template refuses the conversation.
    """
    turns = [Message(Role.USER.value, message)] if isinstance(message, str) else list(message)
    first = [] if system_message is None else [Message(Role.SYSTEM.value, system_message)]
    return Encoder(tokenizer).chat_template.render([*first, *turns], add_generation_prompt=True)


class HFLoader:
    """The steps of loading a model in Hugging Face's layout."""

    @staticmethod
    def download(model_id: Path | str, revision: str | None = None) -> Source:
        """Finds a model, and downloads it if it is a repository that is not cached.

        Args:
            model_id: A directory, a short name or a repository on the hub.
            revision: Branch, tag or commit of the repository; None for the main branch.

        Returns:
            Its directory as `model_path`, and the commit as `revision`.

        Raises:
            ConfigError: There is no such model, or the hub cannot be reached.
        """
        return locate(model_id, revision)

    @staticmethod
    def load_tokenizer(model_path: Path | str) -> Tokenizer:
        """Opens the tokenizer of a model's directory."""
        return load_tokenizer(model_path)

    @staticmethod
    def load(model_id: Path | str, dtype: DType | None = None) -> LoadedModel:
        """Loads config, weights and tokenizer.

        Args:
            model_id: A directory, a short name or a repository on the hub.
            dtype: Precision in memory. None: float32 on a CPU, the file's precision on a GPU.

        Raises:
            ModelsError: The model cannot be loaded.
        """
        return load(model_id, dtype=dtype.precision if dtype else None)
