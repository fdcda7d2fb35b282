from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import (
    ChatSample,
    CompletionSample,
    Encoded,
    Encoder,
    Message,
    PreferenceSample,
    PromptSample,
    Sample,
    TextSample,
    ToolCall,
    load_tokenizer,
)
from lazarus_tokenkit.encoding.loss_spans import SpanFinder
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.templates.render import ChatTemplate

BYTE = load_tokenizer("byte")
SPECIALS = list(BYTE.special_tokens)
END = BYTE.special_tokens["<|im_end|>"]

CONTENTS = st.lists(
    st.text(max_size=8) | st.sampled_from([*SPECIALS, " ", "\n", "<|im_", "\ufdd0\ufdd1"]), max_size=5
).map("".join)
ANSWER = st.builds(Message, st.just("assistant"), CONTENTS)
QUESTION = st.builds(Message, st.sampled_from(["user", "system"]), CONTENTS)
CONVERSATIONS = st.lists(st.tuples(QUESTION, ANSWER), min_size=1, max_size=3).map(
    lambda turns: tuple(message for turn in turns for message in turn)
)
SAMPLES = (
    st.builds(ChatSample, st.just("c"), CONVERSATIONS)
    | st.builds(CompletionSample, st.just("p"), CONTENTS, CONTENTS)
    | st.builds(TextSample, st.just("t"), CONTENTS)
)

# Shaped like the published templates of these families; shortened, white space as there.
LLAMA3 = (
    "{% for m in messages %}{% set c = '<|user|>' + m['role'] + '<|assistant|>\n\n' + m['content'] | trim + '<|end|>' %}"
    "{% if loop.index0 == 0 %}{% set c = bos_token + c %}{% endif %}{{ c }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|user|>assistant<|assistant|>\n\n' }}{% endif %}"
)
PHI3 = (
    "{% for m in messages %}{{ '<|user|>' if m.role == 'user' else '<|assistant|>' }}{{ '\n' + m.content + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
GENERATION = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{% generation %}{{ m.content }}{{ eos_token }}"
    "{% endgeneration %}\n{% else %}<|user|>{{ m.content }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKING = (  # drops the thoughts of all turns but the last, as Qwen3 does
    "{% for m in messages %}<|user|>{{ m.content.split('#')[-1] if not loop.last else m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|>{% endif %}"
)


def lossy(encoder: Encoder, encoded: Encoded) -> str:
    """The text that carries loss."""
    ids = [token for token, has_loss in zip(encoded.ids, encoded.loss_mask, strict=True) if has_loss]
    return encoder.tokenizer.decode(ids)


def chat(*contents: str) -> ChatSample:
    roles = ("user", "assistant") * len(contents)
    return ChatSample("0", tuple(Message(role, text) for role, text in zip(roles, contents, strict=False)))


@given(CONVERSATIONS, st.sampled_from(["own", "plain", "chatml"]))
def test_ids_before_an_answer_are_the_ids_of_its_prompt(messages: tuple[Message, ...], template: str):
    encoder = Encoder(BYTE, template)
    ids = encoder.encode(ChatSample("0", messages)).ids
    for turn, message in enumerate(messages):
        if message.role == "assistant":
            prompt = encoder.prompt(messages[:turn])
            assert ids[: len(prompt)] == prompt


@given(CONVERSATIONS)
def test_loss_lies_exactly_on_answers_and_their_end_of_turn(messages: tuple[Message, ...]):
    encoder = Encoder(BYTE)
    answers = [message.content + "<|im_end|>" for message in messages if message.role == "assistant"]
    assert lossy(encoder, encoder.encode(ChatSample("0", messages))) == "".join(answers)


@given(CONVERSATIONS)
def test_what_people_wrote_never_becomes_a_special_token(messages: tuple[Message, ...]):
    ids = Encoder(BYTE).encode(ChatSample("0", messages)).ids
    starts, ends = (ids.count(BYTE.special_tokens[text]) for text in ("<|im_start|>", "<|im_end|>"))
    assert starts == ends == len(messages)
    assert ids.count(BYTE.bos_id) == 1 and BYTE.pad_id not in ids


@given(CONVERSATIONS)
def test_the_whole_text_is_what_the_template_renders(messages: tuple[Message, ...]):
    encoder = Encoder(BYTE)
    assert BYTE.decode(encoder.encode(ChatSample("0", messages)).ids) == encoder.chat_template.render(messages)


@given(st.lists(SAMPLES, max_size=6))
def test_batches_equal_single_samples(samples: list[Sample]):
    encoder = Encoder(BYTE)
    assert encoder.encode_batch(samples) == [encoder.encode(sample) for sample in samples]


@given(CONTENTS)
def test_a_text_has_loss_on_all_but_bos(text: str):
    encoded = Encoder(BYTE).encode(TextSample("0", text))
    assert encoded.ids == [BYTE.bos_id, *text.encode(), END]
    assert encoded.loss_mask == [0] + [1] * (len(encoded.ids) - 1)


def test_a_completion_is_a_conversation_of_two_turns():
    encoder = Encoder(BYTE)
    assert encoder.encode(CompletionSample("0", "q", "a")) == encoder.encode(chat("q", "a"))


@pytest.mark.parametrize(
    ("template", "loss"),
    [
        (LLAMA3, "one<|end|>two<|end|>"),
        (PHI3, "  one <|end|>two<|end|>"),
        (GENERATION, "  one </s>two</s>"),
    ],
)
def test_loss_ends_with_the_end_of_turn_in_templates_of_all_shapes(build: Any, template: str, loss: str):
    encoder = Encoder(build({"bos_token": "<s>", "eos_token": "</s>", "chat_template": template}))
    messages = chat("Why? ", "  one ", "And?", "two").messages
    encoded = encoder.encode(ChatSample("0", messages))
    assert lossy(encoder, encoded) == loss
    assert encoder.tokenizer.decode(encoded.ids) == encoder.chat_template.render(messages)


@pytest.mark.parametrize("template", [LLAMA3, PHI3, GENERATION])
def test_pieces_give_the_ids_of_the_whole_text_where_merges_do_not_cross_turns(build: Any, template: str):
    tokenizer = build({"bos_token": "<s>", "eos_token": "</s>", "chat_template": template})
    encoder = Encoder(tokenizer)
    messages = chat("sea", "shells").messages
    assert encoder.encode(ChatSample("0", messages)).ids == tokenizer.encode(encoder.chat_template.render(messages))


def test_special_text_stays_text_where_the_template_trims_around_it(build: Any):
    tokenizer = build({"bos_token": "<s>", "eos_token": "</s>", "chat_template": LLAMA3})
    encoder = Encoder(tokenizer)
    encoded = encoder.encode(chat(" <|end|> ", "<s> sea <|end|>\n"))
    ids = tokenizer.special_tokens
    assert [encoded.ids.count(ids[text]) for text in ("<s>", "<|end|>")] == [1, 2]
    assert lossy(encoder, encoded) == "<s> sea <|end|><|end|>"


def test_overlapping_special_texts_stay_text(build: Any, small_file: dict[str, Any]):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    small_file["added_tokens"] += [{"id": 900 + i, "content": text} | flags for i, text in enumerate(["[ab", "b]"])]
    ids = Encoder(build(file=small_file), "plain").encode(CompletionSample("0", "[ab]", "[ab]")).ids
    assert not {900, 901} & set(ids)


def test_a_token_that_swallows_white_space_does_so_beside_user_text_too(build: Any, small_file: dict[str, Any]):
    for token in small_file["added_tokens"]:
        token["rstrip"] = token["content"] in ("<|user|>", "<|assistant|>", "<|end|>")
    encoder = Encoder(build({"bos_token": "<s>", "eos_token": "</s>", "chat_template": PHI3}, small_file))
    plain, special = (encoder.encode(chat(text, "a")).ids for text in ("b", "</s>"))
    literal = encoder.tokenizer.encode("</s>", parse_special=False)
    start = plain.index(encoder.tokenizer.encode("b")[0])
    assert special == [*plain[:start], *literal, *plain[start + 1 :]]


def test_bos_is_written_once_by_the_template_or_added_to_plain_text():
    for template in ("own", "plain"):
        ids = Encoder(BYTE, template).encode(chat("<|bos|>", "a")).ids
        assert ids[0] == BYTE.bos_id and ids.count(BYTE.bos_id) == 1


def test_a_chat_template_without_bos_gets_none():
    encoder = Encoder(BYTE, "chatml")
    assert BYTE.bos_id not in encoder.encode(chat("<|bos|>", "a")).ids + encoder.prompt(chat("a").messages)
    assert encoder.encode(TextSample("0", "a")).ids[0] == BYTE.bos_id


def test_a_template_that_rewrites_earlier_turns_is_refused(build: Any):
    encoder = Encoder(build({"eos_token": "</s>", "chat_template": THINKING}))
    assert lossy(encoder, encoder.encode(chat("q", "x#y"))) == "x#y<|end|>"
    with pytest.raises(
        TemplateError, match=r"sample '0': template `own` does not determine which tokens of message 1 carry loss"
    ):
        encoder.encode(chat("q", "x#y", "q", "x#y"))


def test_text_of_all_noncharacters_is_refused():
    with pytest.raises(TemplateError, match="noncharacter U"):
        Encoder(BYTE).encode(TextSample("0", "".join(map(chr, range(0xFDD0, 0xFDF0)))))


def test_a_template_that_the_vocabulary_cannot_spell_is_refused(build: Any):
    with pytest.raises(TemplateError, match=r"`chatml` needs the special tokens `<\|im_start\|>`, `<\|im_end\|>`"):
        Encoder(build(), "chatml").prompt([Message("user", "a")])
    with pytest.raises(TemplateError, match="`plain` needs the special tokens `eos`"):
        Encoder(build({"bos_token": "<s>"}), "plain").prompt([Message("user", "a")])


def test_everything_that_changes_ids_changes_a_digest():
    base = Encoder(BYTE)
    assert base.template_digest != Encoder(BYTE, "plain").template_digest
    assert base.template_digest != Encoder(BYTE, pinned_date="2026-01-02").template_digest
    assert base.parameters == {"encode_version": 2, "template": "own", "pinned_date": "2026-01-01"}


TOOLS = (
    "{% if tools %}<|user|>{% for t in tools %}{{ t | tojson }}{% endfor %}<|end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<s>{{ c.function.name }} {{ c.function.arguments | tojson }}</s>{% endfor %}<|end|>\n"
    "{% else %}<|user|>{{ m.role }} {{ m.content }}<|end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_a_preference_is_two_conversations_with_loss_on_the_answers():
    encoder = Encoder(BYTE)
    question, good, bad = Message("user", "q"), Message("assistant", "good"), Message("assistant", "bad")
    encoded = encoder.encode(PreferenceSample("0", (question,), (good,), (bad,)))
    parts = [encoder.encode(ChatSample("0", (question, answer))) for answer in (good, bad)]
    assert encoded.ids == parts[0].ids + parts[1].ids
    assert encoded.parts == (len(parts[0].ids), len(parts[1].ids))
    assert lossy(encoder, encoded) == "good<|im_end|>bad<|im_end|>"


def test_answers_before_the_preferred_ones_carry_no_loss():
    turns = chat("a", "b", "c").messages
    encoder = Encoder(BYTE)
    encoded = encoder.encode(PreferenceSample("0", turns, (Message("assistant", "x"),), (Message("assistant", "y"),)))
    assert lossy(encoder, encoded) == "x<|im_end|>y<|im_end|>"


def test_a_prompt_is_what_generation_starts_from():
    encoder = Encoder(BYTE)
    turns = chat("a", "b", "c").messages
    encoded = encoder.encode(PromptSample("0", turns))
    assert encoded.ids == encoder.prompt(turns) and sum(encoded.loss_mask) == 0


def test_calls_carry_loss_to_their_end_of_turn_and_cannot_smuggle_tokens(build: Any):
    encoder = Encoder(build({"bos_token": "<s>", "eos_token": "</s>", "chat_template": TOOLS}))
    call = ToolCall("add", {"a": ["<|end|>", 1.5]})
    turns = (
        Message("user", "q"),
        Message("assistant", "so", (call,)),
        Message("tool", "3", name="add"),
        Message("assistant", "3"),
    )
    sample = ChatSample("0", turns, ({"name": "add"},))
    encoded = encoder.encode(sample)
    assert lossy(encoder, encoded) == 'so<s>add {"a": ["<|end|>", 1.5]}</s><|end|>3<|end|>'
    assert encoder.tokenizer.decode(encoded.ids) == encoder.chat_template.render(turns, tools=sample.tools)
    assert encoded.ids.count(encoder.tokenizer.special_tokens["<|end|>"]) == 5
    assert encoded.ids[: len(encoder.prompt(turns[:1], sample.tools))] == encoder.prompt(turns[:1], sample.tools)


@pytest.mark.parametrize("template", [LLAMA3, PHI3, GENERATION, "plain", "own"])
def test_filling_a_skeleton_is_rendering(build: Any, template: str, monkeypatch: pytest.MonkeyPatch):
    """The short way for templates that only pass contents on gives the pieces of the long way."""
    config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": PHI3 if template == "own" else template}
    tokenizer = build({**config, "chat_template": PHI3} if template == "plain" else config)
    encoder = Encoder(tokenizer, "plain" if template == "plain" else None)
    finder = SpanFinder(tokenizer, encoder.chat_template)
    for contents in (["a", "b"], ["", ""], [" x\n", "  y  "], ["<|end|>", "\ufdef"], ["q", "a", "r", "c d"], ["only"]):
        messages = chat(*contents).messages
        for first, prompt in ((0, False), (0, True), (len(messages), True)):
            assert finder._pieces(messages, (), first, prompt) == finder._cut(messages, (), first, prompt)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", True),
        ("{% for m in messages %}{{ m['role'] + m['content'] ~ 'x' }}{% endfor %}", True),
        ("{% for m in messages %}{{ m.content if m.role == 'user' else 'x' }}{% endfor %}", True),
        ("{% for m in messages if m.role != 'system' %}{% if loop.last %}{{ m.content }}{% endif %}{% endfor %}", True),
        ("{% for m in messages %}{{ m.content | trim }}{% endfor %}", False),
        ("{% for m in messages %}{{ m.content.strip() }}{% endfor %}", False),
        ("{% for m in messages %}{% set x = m.content %}{{ x }}{% endfor %}", False),
        ("{% for m in messages %}{{ 'x' if m.content else 'y' }}{% endfor %}", False),
        ("{% for m in messages %}{{ loop.previtem.content }}{% endfor %}", False),
        ("{% for m in messages %}{{ m }}{% endfor %}", False),
        ("{% for m in messages %}{{ m.content * 2 }}{% endfor %}", False),
        ("{% for m in messages %}{{ m.content == 'a' }}{% endfor %}", False),
        ("{{ messages[0].content }}", False),
        ("{{ messages | tojson }}", False),
        ("{% for m in messages[1:] %}{{ m.content }}{% endfor %}", False),
        ("{% for m in messages %}{% for k in m.content %}x{% endfor %}{% endfor %}", False),
        ("{% set all = messages %}{% for m in all %}{{ m.content | length }}{% endfor %}", False),
        ("{% for m in messages %}{{ m[k] }}{% endfor %}", False),
        ("{% macro f(x) %}{{ x | upper }}{% endmacro %}{% for m in messages %}{{ f(m.content) }}{% endfor %}", False),
    ],
)
def test_a_template_is_opaque_only_if_it_passes_contents_on(source: str, expected: bool):
    assert ChatTemplate("t", source).is_content_independent is expected


@pytest.mark.parametrize("prompt", ["plain", "a<|end|>b", "<", "<|", "caf\u00e9 <|user|>", "\ufdd0", "</s>", ""])
@pytest.mark.parametrize("name", ["plain", "own"])
def test_the_short_way_for_questions_and_answers_is_the_long_one(build: Any, prompt: str, name: str):
    tokenizer = build({"bos_token": "<s>", "eos_token": "</s>", "chat_template": PHI3})
    encoder = Encoder(tokenizer, name)
    sample = CompletionSample("0", prompt, "yes")
    expected = encoder.encode(ChatSample("0", sample.messages))
    assert encoder.encode(sample) == expected  # by a cached that is there now
    assert Encoder(tokenizer, name).encode(sample) == expected


@given(st.text(), st.text())
def test_loss_bytes_are_those_of_the_answer_as_it_was_written(prompt: str, answer: str):
    """Ends of turns and special tokens count nothing, texts that look like them do."""
    for text in (answer, f"{answer}<|im_end|>", f"<|im_start|>{answer}"):
        sample = CompletionSample("0", prompt, text)
        for template in ("plain", "chatml"):
            assert Encoder(load_tokenizer("byte"), template).encode(sample).loss_bytes == len(text.encode())
        assert Encoder(load_tokenizer("byte")).encode(TextSample("0", text)).loss_bytes == len(text.encode())
