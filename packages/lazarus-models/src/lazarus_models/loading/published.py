"""Published models by short name: repository on the hub and family. A name is no file: loading it downloads it once."""

from typing import NamedTuple


class Published(NamedTuple):
    """A published model."""

    repository: str
    """`owner/name` on the hub."""
    family: str
    """The `model_type` of its text model."""


def _of(family: str, *models: tuple[str, str]) -> dict[str, Published]:
    return {name: Published(repository, family) for name, repository in models}


PUBLISHED: dict[str, Published] = {
    **_of(
        "gemma3_text",
        ("functiongemma", "google/functiongemma-270m-it"),
        ("functiongemma-270m", "google/functiongemma-270m-it"),
        ("gemma-3-270m", "google/gemma-3-270m-it"),
        ("gemma-3-1b", "google/gemma-3-1b-it"),
        ("gemma-3-4b", "google/gemma-3-4b-it"),
        ("gemma-3-12b", "google/gemma-3-12b-it"),
        ("gemma-3-27b", "google/gemma-3-27b-it"),
        ("gemma3-1b", "google/gemma-3-1b-it"),
    ),
    **_of("gpt_oss", ("gpt-oss-20b", "mlx-community/gpt-oss-20b-MXFP4-Q8")),
    **_of(
        "granite",
        ("granite-3.0-2b", "ibm-granite/granite-3.0-2b-instruct"),
        ("granite-3.0-8b", "ibm-granite/granite-3.0-8b-instruct"),
        ("granite-3.1-2b", "ibm-granite/granite-3.1-2b-instruct"),
        ("granite-3.1-8b", "ibm-granite/granite-3.1-8b-instruct"),
        ("granite-3.3-2b", "ibm-granite/granite-3.3-2b-instruct"),
        ("granite-3.3-8b", "ibm-granite/granite-3.3-8b-instruct"),
        ("granite3-2b", "ibm-granite/granite-3.3-2b-instruct"),
    ),
    **_of(
        "granitemoe",
        ("granite-3.0-1b-a400m", "ibm-granite/granite-3.0-1b-a400m-instruct"),
        ("granite-3.0-3b-a800m", "ibm-granite/granite-3.0-3b-a800m-instruct"),
        ("granite-3.1-1b-a400m", "ibm-granite/granite-3.1-1b-a400m-instruct"),
        ("granite-3.1-3b-a800m", "ibm-granite/granite-3.1-3b-a800m-instruct"),
    ),
    **_of(
        "granitemoehybrid",
        ("granite-4.0-350m", "ibm-granite/granite-4.0-350m"),
        ("granite-4.0-1b", "ibm-granite/granite-4.0-1b"),
        ("granite-4.0-micro", "ibm-granite/granite-4.0-micro"),
        ("granite-4.0-h-350m", "ibm-granite/granite-4.0-h-350m"),
        ("granite-4.0-h-1b", "ibm-granite/granite-4.0-h-1b"),
        ("granite-4.0-h-micro", "ibm-granite/granite-4.0-h-micro"),
        ("granite-4.0-h-tiny", "ibm-granite/granite-4.0-h-tiny"),
        ("granite-4.0-h-small", "ibm-granite/granite-4.0-h-small"),
        ("granite-4.0-tiny", "ibm-granite/granite-4.0-tiny-preview"),
        ("granite4-1b", "ibm-granite/granite-4.0-h-1b"),
    ),
    **_of(
        "jamba",
        ("jamba-3b", "ai21labs/AI21-Jamba-Reasoning-3B"),
        ("jamba-v0.1", "ai21labs/Jamba-v0.1"),
        ("jamba-1.5-mini", "ai21labs/AI21-Jamba-1.5-Mini"),
        ("jamba-1.5-large", "ai21labs/AI21-Jamba-1.5-Large"),
        ("jamba-1.6-mini", "ai21labs/AI21-Jamba-Mini-1.6"),
    ),
    **_of(
        "llama",
        ("llama-2-7b", "meta-llama/Llama-2-7b-chat-hf"),
        ("llama-2-13b", "meta-llama/Llama-2-13b-chat-hf"),
        ("llama-3-8b", "meta-llama/Meta-Llama-3-8B-Instruct"),
        ("llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"),
        ("llama-3.2-1b", "meta-llama/Llama-3.2-1B-Instruct"),
        ("llama-3.2-3b", "meta-llama/Llama-3.2-3B-Instruct"),
        ("llama-3.3-70b", "meta-llama/Llama-3.3-70B-Instruct"),
        ("llama3.2-1b", "meta-llama/Llama-3.2-1B-Instruct"),
        ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("smollm2-360m", "HuggingFaceTB/SmolLM2-360M-Instruct"),
        ("smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B-Instruct"),
        ("tinyllama", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
        ("tinyllama-1.1b", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
    ),
    **_of("llama4_text", ("llama-4-scout", "meta-llama/Llama-4-Scout-17B-16E-Instruct")),
    **_of(
        "mamba",
        ("mamba-130m", "state-spaces/mamba-130m-hf"),
        ("mamba-370m", "state-spaces/mamba-370m-hf"),
        ("mamba-790m", "state-spaces/mamba-790m-hf"),
        ("mamba-1.4b", "state-spaces/mamba-1.4b-hf"),
        ("mamba-2.8b", "state-spaces/mamba-2.8b-hf"),
    ),
    **_of("mistral", ("mistral-7b", "mistralai/Mistral-7B-Instruct-v0.3")),
    **_of("mixtral", ("mixtral-8x7b", "mistralai/Mixtral-8x7B-Instruct-v0.1")),
    **_of("olmoe", ("olmoe-1b-7b", "allenai/OLMoE-1B-7B-0125-Instruct")),
    **_of(
        "qwen2",
        ("qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("qwen2.5-1.5b", "Qwen/Qwen2.5-1.5B-Instruct"),
        ("qwen2.5-7b", "Qwen/Qwen2.5-7B-Instruct"),
    ),
    **_of(
        "qwen3",
        ("qwen3-0.6b", "Qwen/Qwen3-0.6B"),
        ("qwen3-1.7b", "Qwen/Qwen3-1.7B"),
        ("qwen3-4b", "Qwen/Qwen3-4B"),
        ("qwen3-8b", "Qwen/Qwen3-8B"),
    ),
    **_of(
        "starcoder2",
        ("starcoder2-3b", "bigcode/starcoder2-3b"),
        ("starcoder2-7b", "bigcode/starcoder2-7b"),
        ("starcoder2-15b", "bigcode/starcoder2-15b"),
    ),
}
"""Published models by short name, sorted by family. Several names can mean one repository."""

GROUPS: dict[str, tuple[str, ...]] = {
    "gemma": ("gemma3_text",),
    "gpt-oss": ("gpt_oss",),
    "granite": ("granite", "granitemoe", "granitemoehybrid"),
    "jamba": ("jamba",),
    "llama": ("llama", "mistral", "mixtral"),
    "llama4": ("llama4_text",),
    "mamba": ("mamba",),
    "olmoe": ("olmoe",),
    "qwen2": ("qwen2",),
    "qwen3": ("qwen3",),
    "starcoder2": ("starcoder2",),
}
"""Families that have an example in common, by the name of the example."""
