"""Ids of conversations against `apply_chat_template` of transformers; golden/make_conversation_ids.py made the numbers."""

import json
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lazarus_tokenkit import ChatSample, Encoder, Message
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.ids import ids_prefix
from suite import share

GOLDEN = json.loads((Path(__file__).parent / "golden" / "conversation_ids.json").read_text("utf-8"))
CONVERSATIONS = {name: tuple(Message(**turn) for turn in turns) for name, turns in GOLDEN["conversations"].items()}
CROSSING = {("llama3", "one"), ("llama3", "two"), ("llama3", "system"), ("llama3", "spaces")}
"""With GPT-2's tokens, line feeds at the end of a header are other tokens alone than in front of an answer. The ids of
the prompt, from which generation starts, are then those of training too."""
NAMES = list(GOLDEN["tokenizers"])


@cache
def file_of(folder: Path, base: str) -> str:
    return (folder / "tokenizers" / base / "tokenizer.json").read_text("utf-8")


def make(folder: Path, name: str, specials: list[str], rstrip: bool = False) -> HuggingFaceTokenizer:
    """The tokenizer of a golden case."""
    base, edits = GOLDEN["tokenizers"][name]
    file: dict[str, Any] = json.loads(file_of(folder, base)) | edits
    number = max(file["model"]["vocab"].values()) + 1
    flags = {"single_word": False, "lstrip": False, "rstrip": rstrip, "normalized": False, "special": True}
    file["added_tokens"] += [{"id": number + k, "content": text} | flags for k, text in enumerate(specials)]
    bos, eos = ("<|endoftext|>",) * 2 if base == "gpt2" else ("<s>", "</s>")
    files = {"tokenizer.json": file, "tokenizer_config.json": {"bos_token": bos, "eos_token": eos}}
    return HuggingFaceTokenizer.from_files({key: json.dumps(value).encode() for key, value in files.items()}, name)


def digest(ids: list[int]) -> str:
    return f"{len(ids)}:{ids_prefix(ids)}"


def differing(encoder: Encoder, case: dict[str, Any]) -> list[str]:
    """Conversations of a case whose ids, or whose prompt's ids, are others; templates that refuse one are left out."""
    begin = [encoder.tokenizer.bos_id] if encoder.chat_template.is_text and encoder.tokenizer.adds_bos else []
    wrong: list[str] = []
    for name, (whole, prompt) in case["ids"].items():
        turns = CONVERSATIONS[name]
        found: dict[str, list[int]] = {}
        for key, encode in (
            ("whole", lambda turns=turns: encoder.encode(ChatSample("0", turns)).ids),
            ("prompt", lambda turns=turns: encoder.prompt(turns[:-1])),
        ):
            try:
                found[key] = encode()
            except TemplateError as error:
                if key == "prompt" and error.code == "LT-E205":
                    raise
        for key, expected in (("whole", whole), ("prompt", prompt)):
            ids = found.get(key)
            if ids is not None and expected is not None and digest(ids[len(begin) :]) != expected:
                assert ids[: len(begin)] == begin
                wrong.append(f"{name} {key}")
    return wrong


def crosses(template: str, conversation: str) -> bool:
    """Whether a token of GPT-2 reaches from a header into its answer."""
    return conversation == "newlines" or (template, conversation) in CROSSING


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_built_in_templates_give_the_ids_of_apply_chat_template(real_data: Path, name: str):
    cases = [case for case in GOLDEN["cases"] if case["origin"] == "lazarus" and case["tokenizer"] == name]
    assert len(cases) >= 15
    for case in share(cases, 10, NAMES.index(name)):
        encoder = Encoder(make(real_data, name, case["specials"], case["rstrip"]), case["template"])
        wrong = differing(encoder, case)
        if name.startswith("gpt2"):
            wrong = [one for one in wrong if not crosses(case["template"], one.split()[0])]
        assert not wrong, (case["template"], case["specials"], case["rstrip"], wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_published_templates_give_the_ids_of_apply_chat_template(real_data: Path, tmp_path: Path, name: str):
    folder = Path(os.environ.get("LAZARUS_TRL_TEMPLATES", "missing"))
    if not folder.is_dir():
        pytest.skip("no chat templates: set LAZARUS_TRL_TEMPLATES to trl/chat_templates of trl 1.16")
    seen = Counter[str]()
    for case in (case for case in GOLDEN["cases"] if case["origin"] == "trl" and case["tokenizer"] == name):
        encoder = Encoder(make(real_data, name, case["specials"]), str(folder / f"{case['template']}.jinja"))
        if "strftime_now" in encoder.chat_template.source:  # the numbers have the date of the day they were made
            continue
        wrong = [one for one in differing(encoder, case) if not name.startswith("gpt2") or one.split()[0] != "newlines"]
        seen[f"{case['template']} {wrong}" if wrong else "equal"] += 1
    assert set(seen) == {"equal"} and seen["equal"] > 40, seen
