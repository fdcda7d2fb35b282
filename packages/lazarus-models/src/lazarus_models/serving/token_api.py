"""The tokenizer over HTTP, in the form that evaluation harnesses read: `/tokenizer_info`, `/tokenize`, `/detokenize`."""

from typing import Annotated, Any

from pydantic import Field

from lazarus_models.generation.autoregressive import prompt_ids
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.serving.messages import Fields
from lazarus_models.serving.reading import read_request
from lazarus_models.vocabulary import check_ids


class TokenizeRequest(Fields):
    """The body of `/tokenize`."""

    prompt: str
    add_special_tokens: bool = True
    """Whether BOS is added if the tokenizer adds it."""
    model: str | None = None


class DetokenizeRequest(Fields):
    """The body of `/detokenize`."""

    tokens: Annotated[list[Annotated[int, Field(ge=0)]], Field(fail_fast=True)]
    model: str | None = None


def describe_tokenizer(lm: LoadedModel) -> dict[str, Any]:
    """The tokenizer's special tokens, size and chat template."""
    tokenizer = lm.tokenizer
    texts = {token: text for text, token in tokenizer.special_tokens.items()}
    roles = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "pad": tokenizer.pad_id, "unk": tokenizer.unk_id}
    return {
        "tokenizer_class": tokenizer.name,
        **{f"{role}_token": texts.get(-1 if token is None else token) for role, token in roles.items()},
        **{f"{role}_token_id": token for role, token in roles.items()},
        "add_bos_token": tokenizer.adds_bos,
        "vocab_size": tokenizer.vocab_size,
        "model_max_length": lm.config.max_position_embeddings,
        "chat_template": tokenizer.chat_template,
    }


def tokenize(content: bytes, lm: LoadedModel) -> dict[str, Any]:
    """Encodes a text as `/v1/completions` does.

    Args:
        content: Body of the request.
        lm: The model, with its tokenizer.
    """
    said = read_request(content, TokenizeRequest)
    ids = prompt_ids(lm, said.prompt, raw=True) if said.add_special_tokens else lm.tokenizer.encode(said.prompt)
    return {"tokens": ids, "count": len(ids), "max_model_len": lm.config.max_position_embeddings}


def detokenize(content: bytes, lm: LoadedModel) -> dict[str, Any]:
    """Decodes token ids to a text, special tokens included.

    Args:
        content: Body of the request.
        lm: The model, with its tokenizer.
    """
    said = read_request(content, DetokenizeRequest)
    check_ids(said.tokens, lm.tokenizer.vocab_size, "`tokens`")
    return {"prompt": lm.tokenizer.decode(said.tokens)}
