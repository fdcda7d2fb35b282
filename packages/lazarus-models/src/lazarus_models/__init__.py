"""Language models on MLX: load, save, adapt and generate in the Hugging Face layout."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazarus_models.adapters import AdapterSet as AdapterSet
    from lazarus_models.adapters import load_adapter as load_adapter
    from lazarus_models.adapters import merge_adapter as merge_adapter
    from lazarus_models.adapters import save_adapter as save_adapter
    from lazarus_models.architecture import AttentionConfig as AttentionConfig
    from lazarus_models.architecture import BlockConfig as BlockConfig
    from lazarus_models.architecture import DecoderConfig as DecoderConfig
    from lazarus_models.architecture import Mamba2Config as Mamba2Config
    from lazarus_models.architecture import MambaConfig as MambaConfig
    from lazarus_models.architecture import MLPConfig as MLPConfig
    from lazarus_models.architecture import MoEConfig as MoEConfig
    from lazarus_models.architecture import NormConfig as NormConfig
    from lazarus_models.architecture import RecurrentConfig as RecurrentConfig
    from lazarus_models.architecture import RopeConfig as RopeConfig
    from lazarus_models.attention import mask_caches as mask_caches
    from lazarus_models.attention import segment_caches as segment_caches
    from lazarus_models.batch import generate_batch as generate_batch
    from lazarus_models.blas import BlasInfo as BlasInfo
    from lazarus_models.blas import ensure_fast_blas as ensure_fast_blas
    from lazarus_models.cache import PromptCache as PromptCache
    from lazarus_models.chat import ChatHistory as ChatHistory
    from lazarus_models.chat import Role as Role
    from lazarus_models.compose import model_config as model_config
    from lazarus_models.config import ModelConfig as ModelConfig
    from lazarus_models.config import Quantization as Quantization
    from lazarus_models.diffusion import DiffusionConfig as DiffusionConfig
    from lazarus_models.diffusion import diffuse as diffuse
    from lazarus_models.errors import AdapterError as AdapterError
    from lazarus_models.errors import BlasError as BlasError
    from lazarus_models.errors import ConfigError as ConfigError
    from lazarus_models.errors import GenerationError as GenerationError
    from lazarus_models.errors import ModelsError as ModelsError
    from lazarus_models.errors import UnsupportedModel as UnsupportedModel
    from lazarus_models.errors import WeightsError as WeightsError
    from lazarus_models.estimates import Estimate as Estimate
    from lazarus_models.estimates import estimate as estimate
    from lazarus_models.families import ModelFamilyType as ModelFamilyType
    from lazarus_models.families import read_config as read_config
    from lazarus_models.generation import Generation as Generation
    from lazarus_models.generation import GenerationStats as GenerationStats
    from lazarus_models.generation import generate as generate
    from lazarus_models.generation import generate_steps as generate_steps
    from lazarus_models.generation import generate_tokens as generate_tokens
    from lazarus_models.generation import prompt_ids as prompt_ids
    from lazarus_models.generation import stream as stream
    from lazarus_models.gguf import export_gguf as export_gguf
    from lazarus_models.heads import SequenceModel as SequenceModel
    from lazarus_models.hub import MODELS as MODELS
    from lazarus_models.hub import locate as locate
    from lazarus_models.huggingface import LoadedModel as LoadedModel
    from lazarus_models.huggingface import load as load
    from lazarus_models.huggingface import loaded_files as loaded_files
    from lazarus_models.huggingface import save as save
    from lazarus_models.huggingface import supports_packing as supports_packing
    from lazarus_models.lora import LoraConfig as LoraConfig
    from lazarus_models.lora import adapter_weights as adapter_weights
    from lazarus_models.lora import apply_lora as apply_lora
    from lazarus_models.lora import merge_lora as merge_lora
    from lazarus_models.lora import unmerge_lora as unmerge_lora
    from lazarus_models.masks import segment_mask as segment_mask
    from lazarus_models.parameters import evaluate as evaluate
    from lazarus_models.parameters import flatten as flatten
    from lazarus_models.parameters import parameter_count as parameter_count
    from lazarus_models.parameters import set_weights as set_weights
    from lazarus_models.parameters import unflatten as unflatten
    from lazarus_models.parameters import weights as weights
    from lazarus_models.pipeline import ChatReply as ChatReply
    from lazarus_models.pipeline import DType as DType
    from lazarus_models.pipeline import UnifiedPipeline as UnifiedPipeline
    from lazarus_models.pipeline import UnifiedPipelineConfig as UnifiedPipelineConfig
    from lazarus_models.presets import PRESETS as PRESETS
    from lazarus_models.presets import new as new
    from lazarus_models.presets import preset as preset
    from lazarus_models.quantization import perplexity as perplexity
    from lazarus_models.quantization import quantize as quantize
    from lazarus_models.reading import HashedFiles as HashedFiles
    from lazarus_models.sample import GenerationConfig as GenerationConfig
    from lazarus_models.sample import TokenLogprob as TokenLogprob
    from lazarus_models.speculative import generate_with_draft as generate_with_draft
    from lazarus_models.speculative import speculative_tokens as speculative_tokens
    from lazarus_models.streaming import decode_stream as decode_stream
    from lazarus_models.tensors import load_tensors as load_tensors
    from lazarus_models.tensors import save_tensors as save_tensors
    from lazarus_models.tools import Tool as Tool
    from lazarus_models.tools import ToolCall as ToolCall
    from lazarus_models.tools import parse_calls as parse_calls

_HOME = {  # public name -> module that defines it, imported at first use
    "adapter_weights": "lora",
    "AdapterError": "errors",
    "AdapterSet": "adapters",
    "apply_lora": "lora",
    "AttentionConfig": "architecture",
    "BlasError": "errors",
    "BlasInfo": "blas",
    "BlockConfig": "architecture",
    "ChatHistory": "chat",
    "ChatReply": "pipeline",
    "ConfigError": "errors",
    "decode_stream": "streaming",
    "DecoderConfig": "architecture",
    "diffuse": "diffusion",
    "DiffusionConfig": "diffusion",
    "DType": "pipeline",
    "ensure_fast_blas": "blas",
    "estimate": "estimates",
    "Estimate": "estimates",
    "evaluate": "parameters",
    "export_gguf": "gguf",
    "flatten": "parameters",
    "generate": "generation",
    "generate_batch": "batch",
    "generate_steps": "generation",
    "generate_tokens": "generation",
    "generate_with_draft": "speculative",
    "Generation": "generation",
    "GenerationConfig": "sample",
    "HashedFiles": "reading",
    "GenerationError": "errors",
    "GenerationStats": "generation",
    "load": "huggingface",
    "load_adapter": "adapters",
    "load_tensors": "tensors",
    "loaded_files": "huggingface",
    "LoadedModel": "huggingface",
    "locate": "hub",
    "LoraConfig": "lora",
    "Mamba2Config": "architecture",
    "MambaConfig": "architecture",
    "mask_caches": "attention",
    "merge_adapter": "adapters",
    "merge_lora": "lora",
    "MLPConfig": "architecture",
    "model_config": "compose",
    "ModelConfig": "config",
    "ModelFamilyType": "families",
    "MODELS": "hub",
    "ModelsError": "errors",
    "MoEConfig": "architecture",
    "new": "presets",
    "NormConfig": "architecture",
    "parameter_count": "parameters",
    "parse_calls": "tools",
    "perplexity": "quantization",
    "preset": "presets",
    "PRESETS": "presets",
    "prompt_ids": "generation",
    "PromptCache": "cache",
    "Quantization": "config",
    "quantize": "quantization",
    "read_config": "families",
    "RecurrentConfig": "architecture",
    "Role": "chat",
    "RopeConfig": "architecture",
    "save": "huggingface",
    "save_adapter": "adapters",
    "save_tensors": "tensors",
    "segment_caches": "attention",
    "segment_mask": "masks",
    "SequenceModel": "heads",
    "set_weights": "parameters",
    "speculative_tokens": "speculative",
    "stream": "generation",
    "supports_packing": "huggingface",
    "TokenLogprob": "sample",
    "Tool": "tools",
    "ToolCall": "tools",
    "unflatten": "parameters",
    "UnifiedPipeline": "pipeline",
    "UnifiedPipelineConfig": "pipeline",
    "unmerge_lora": "lora",
    "UnsupportedModel": "errors",
    "weights": "parameters",
    "WeightsError": "errors",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
