import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import ChatSample, Encoder, Message, PreferenceSample, PromptSample, TextSample
from lazarus_tokenkit.encoding.continuation import ContinuationRules
from lazarus_tokenkit.tokenizers.backends.assembly import begins_with, bpe, tokenizer_file
from lazarus_tokenkit.tokenizers.backends.dummy_prefix import without_prefix
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

SPACE = "\u2581"
SPECIALS = {"<unk>": 0, "<s>": 1, "</s>": 2, "<|user|>": 3, "<|end|>": 4}
LETTERS = {letter: number for number, letter in enumerate(f"{SPACE} \nabcmrus[]/|:<>", len(SPECIALS))}
PREPEND = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": SPACE},
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
    ],
}
STRIPPING = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Replace", "pattern": {"Regex": rf"\A +|[ {SPACE}]+\z"}, "content": ""},
        *PREPEND["normalizers"],
    ],
}
METASPACE = {"type": "Metaspace", "replacement": SPACE, "split": False}
KINDS: dict[str, dict[str, Any]] = {
    "prepend": {"normalizer": PREPEND},
    "prepend, ends stripped": {"normalizer": STRIPPING},
    "metaspace always": {"pre_tokenizer": METASPACE | {"prepend_scheme": "always"}},
    "metaspace first": {"pre_tokenizer": METASPACE | {"prepend_scheme": "first"}},
    "metaspace never": {"pre_tokenizer": METASPACE | {"prepend_scheme": "never"}},
    "none": {},
}
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>\n{{ m.content }}<|end|>\n"
    "{% else %}[a]\n{{ m.content + '</s>' }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}[a]\n{% endif %}"
)
CONTENTS = st.text("ab \n", max_size=6)


def make(kind: str, rstrip: bool = False) -> HuggingFaceTokenizer:
    """A tokenizer of one token a character, so that no token reaches over a cut."""
    model = bpe(SPECIALS | LETTERS, [], unk_token="<unk>")
    content = tokenizer_file(model, SPECIALS, post_processor=begins_with("<s>", 1), **KINDS[kind])
    file = json.loads(content)
    for token in file["added_tokens"]:
        token["rstrip"] = rstrip and token["content"] in ("<|user|>", "<|end|>", "</s>")
    config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": TEMPLATE}
    files = {"tokenizer.json": file, "tokenizer_config.json": config}
    return HuggingFaceTokenizer.from_files({key: json.dumps(value).encode() for key, value in files.items()}, kind)


MADE = {(kind, rstrip): make(kind, rstrip) for kind in KINDS for rstrip in (False, True)}


def chat(*contents: str) -> tuple[Message, ...]:
    roles = ("user", "assistant") * len(contents)
    return tuple(Message(role, text) for role, text in zip(roles, contents, strict=False))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rstrip", [False, True])
@pytest.mark.parametrize(
    "template", [TEMPLATE, TEMPLATE.replace("[a]\n", "[a] "), TEMPLATE.replace("[a]\n", "<|user|>")]
)
@given(contents=st.lists(CONTENTS, min_size=1, max_size=5))
def test_pieces_have_the_ids_of_the_whole_text(kind: str, rstrip: bool, template: str, contents: list[str]):
    encoder = Encoder(replace(MADE[kind, rstrip], chat_template=template))
    messages = chat(*contents)
    render, encode = encoder.chat_template.render, encoder.tokenizer.encode
    assert encoder.encode(ChatSample("0", messages)).ids == encode(render(messages))
    assert encoder.prompt(messages) == encode(render(messages, add_generation_prompt=True))


@pytest.mark.parametrize("kind", KINDS)
@given(contents=st.lists(CONTENTS, min_size=2, max_size=5))
def test_a_prompt_of_several_turns_begins_its_sample(kind: str, contents: list[str]):
    encoder = Encoder(MADE[kind, False])
    messages = chat(*contents)
    turns = len(messages) - len(messages) % 2
    prompt = encoder.prompt(messages[: turns - 1])
    ids = encoder.encode(ChatSample("0", messages[:turns])).ids
    assert ids[: len(prompt)] == prompt
    assert encoder.encode(PromptSample("0", messages[: turns - 1])).ids == prompt


@pytest.mark.parametrize("kind", KINDS)
def test_preferred_answers_have_the_ids_of_conversations(kind: str):
    encoder = Encoder(MADE[kind, False])
    turns, good, bad = chat("a", " b", "c"), Message("assistant", "ab"), Message("assistant", "\nb")
    parts = [encoder.encode(ChatSample("0", (*turns, answer))).ids for answer in (good, bad)]
    assert encoder.encode(PreferenceSample("0", turns, (good,), (bad,))).ids == parts[0] + parts[1]


@pytest.mark.parametrize("kind", KINDS)
@given(before=CONTENTS, after=CONTENTS)
def test_written_special_tokens_are_spelled_where_they_stand(kind: str, before: str, after: str):
    encoder = Encoder(MADE[kind, False])
    tokenizer = encoder.tokenizer
    for place in (0, 1):
        texts = [["a", "b"], ["a", "b"]]
        for turns, end in zip(texts, ("</s>", "</c>"), strict=True):
            turns[place] = f"{before}{end}{after}"
        marked = [encoder.encode(ChatSample("0", chat(*turns))).ids for turns in texts]
        assert marked[0] == [LETTERS["s"] if number == LETTERS["c"] else number for number in marked[1]]
        assert marked[0].count(tokenizer.special_tokens["</s>"]) == 1


def test_a_document_begins_with_the_prefix_and_bos():
    assert Encoder(MADE["prepend", False]).encode(TextSample("0", "a")).ids == [1, LETTERS[SPACE], LETTERS["a"], 2]


def test_tokenizers_without_a_prefix_or_swallowing_tokens_need_no_rules():
    needed = {key: ContinuationRules.of(tokenizer) is not None for key, tokenizer in MADE.items()}
    assert needed == {key: key[1] or key[0] not in ("none", "metaspace never") for key in MADE}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"type": "Metaspace"}, {"type": "Metaspace", "prepend_scheme": "never"}),
        ({"type": "Metaspace", "add_prefix_space": False}, None),
        ({"type": "ByteLevel"}, {"type": "ByteLevel", "add_prefix_space": False}),
        ({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace"}]}, None),
        ({"type": "Whitespace"}, None),
    ],
)
def test_only_a_prefix_of_texts_is_taken_out(step: dict[str, Any], expected: dict[str, Any] | None):
    plain = without_prefix({"normalizer": None, "pre_tokenizer": step})
    assert (plain and plain["pre_tokenizer"]) == expected


def test_spaces_at_the_start_stay_where_a_text_continues():
    plain = without_prefix({"normalizer": STRIPPING})
    assert plain is not None and plain["normalizer"]["normalizers"][0]["pattern"] == {"Regex": rf"[ {SPACE}]+\z"}
