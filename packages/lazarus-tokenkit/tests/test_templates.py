import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import ChatSample, Encoder, Message, PreferenceSample, PromptSample, ToolCall
from lazarus_tokenkit.checks.templates import failures, validate_template
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.templates.registry import REGISTRY, choose_template, missing_tokens
from lazarus_tokenkit.templates.render import ChatTemplate
from lazarus_tokenkit.tokenizers.backends.alphabet import byte_alphabet
from lazarus_tokenkit.tokenizers.backends.assembly import BYTE_LEVEL, bpe, config_file, tokenizer_file
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

MARKS = {text for entry in REGISTRY.values() for text in entry.special_tokens}
SPECIAL = {text: 256 + place for place, text in enumerate(["<s>", "</s>", *sorted(MARKS)])}
ALL = HuggingFaceTokenizer.from_files(
    {
        "tokenizer.json": tokenizer_file(
            bpe(dict(byte_alphabet()) | SPECIAL, []), SPECIAL, pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL
        ),
        "tokenizer_config.json": config_file({"bos": "<s>", "eos": "</s>", "pad": None, "unk": None}),
    },
    "all",
)
TURNS = (Message("user", "Hi"), Message("assistant", "Yo."), Message("user", "Bye"), Message("assistant", "So."))
SYSTEM = Message("system", "Be.")
WORDS = st.text(min_size=1).filter(
    lambda text: text.strip() == text and not set(text) & {chr(n) for n in range(0xFDD0, 0xFDF0)}
)
GOLDEN = {
    "chatml": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo.<|im_end|>\n",
    "chatml-tools": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo.<|im_end|>\n",
    "plain": "Hi\nYo.</s>",
    "llama2": "<s>[INST] Hi [/INST] Yo. </s>",
    "llama3": "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nYo.<|eot_id|>",
    "phi": "<|user|>\nHi<|end|>\n<|assistant|>\nYo.<|end|>\n",
    "gemma": "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nYo.<end_of_turn>\n",
    "zephyr": "<|user|>\nHi</s>\n<|assistant|>\nYo.</s>\n",
    "qwen3": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nYo.<|im_end|>\n",
    "vicuna": "USER: Hi ASSISTANT: Yo.</s>",
    "alpaca": "### Instruction:\nHi\n\n### Response:\nYo.</s>\n\n",
    "instruct": "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nHi\n\n### Response:\nYo.</s>\n\n",
    "chat": "Human: Hi\n\nAssistant: Yo.</s>\n\n",
}
NAMES = list(REGISTRY)


def template(name: str) -> ChatTemplate:
    return choose_template(ALL, name, "2026-01-01")


@pytest.mark.parametrize("name", NAMES)
def test_white_space_is_exact(name: str):
    assert template(name).render(TURNS[:2]) == GOLDEN[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_property_that_matters_holds(name: str):
    found = validate_template(template(name), ALL)
    assert failures(found) == []
    by_name = {each.name: each.holds for each in found}
    assert by_name["prefix-stable"] and by_name["dateless"]
    assert by_name["system"] is REGISTRY[name].has_system and by_name["tools"] is REGISTRY[name].has_tools


@pytest.mark.parametrize("name", NAMES)
@given(question=WORDS, answer=WORDS)
def test_loss_lies_on_the_answer_and_its_end(name: str, question: str, answer: str):
    encoder = Encoder(ALL, name)
    encoded = encoder.encode(ChatSample("0", (Message("user", question), Message("assistant", answer))))
    ids = [token for token, has_loss in zip(encoded.ids, encoded.loss_mask, strict=True) if has_loss]
    end = REGISTRY[name].end_of_turn
    thoughts = "<think>\n\n</think>\n\n" if name == "qwen3" else ""
    end = (" " if name == "llama2" else "") + ("</s>" if end == "eos" else end)
    assert ALL.decode(ids).strip() == thoughts + answer + end
    prompt = encoder.prompt([Message("user", question)])
    assert encoded.ids[: len(prompt)] == prompt


WEATHER = {"type": "function", "function": {"name": "weather"}}
ASKED = (
    SYSTEM,
    Message("user", "Rain?"),
    Message("assistant", "", (ToolCall("weather", {"city": "Bern"}), ToolCall("weather", {"city": "Rom"}))),
    Message("tool", "no", name="weather"),
    Message("assistant", "No."),
)


def test_tools_and_calls_are_exact_and_calls_carry_loss():
    sample = ChatSample("0", ASKED, (WEATHER,))
    assert template("chatml-tools").render(ASKED, tools=sample.tools) == (
        "<|im_start|>system\nBe.\n\nYou may call these functions:\n<tools>\n"
        '{"type": "function", "function": {"name": "weather"}}\n</tools>\n'
        "To call one, answer with its name and arguments as JSON between tags and nothing else:\n"
        '<tool_call>\n{"name": "...", "arguments": {...}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\nRain?<|im_end|>\n<|im_start|>assistant\n"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Bern"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Rom"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>tool\nno<|im_end|>\n<|im_start|>assistant\nNo.<|im_end|>\n"
    )
    encoder = Encoder(ALL, "chatml-tools")
    encoded = encoder.encode(sample)
    ids = [token for token, has_loss in zip(encoded.ids, encoded.loss_mask, strict=True) if has_loss]
    assert ALL.decode(ids) == (
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Bern"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Rom"}}\n</tool_call><|im_end|>No.<|im_end|>'
    )
    assert encoder.prompt(ASKED[:2], sample.tools) == encoded.ids[: len(encoder.prompt(ASKED[:2], sample.tools))]


def test_tools_stand_before_prompts_and_preferred_answers_too():
    encoder = Encoder(ALL, "chatml-tools")
    prompt = encoder.encode(PromptSample("0", ASKED[:2], (WEATHER,)))
    assert prompt.ids == encoder.prompt(ASKED[:2], (WEATHER,)) != encoder.prompt(ASKED[:2])
    pair = encoder.encode(PreferenceSample("0", ASKED[:2], ASKED[-1:], ASKED[2:3], (WEATHER,)))
    assert pair.ids[: len(prompt.ids)] == prompt.ids and sum(pair.loss_mask) > 0
    assert PromptSample("0", ASKED[:2], (WEATHER,)).digest != PromptSample("0", ASKED[:2]).digest


def test_calls_that_more_turns_change_are_refused():
    source = (
        "{% for m in messages %}{{ m.content }}{% if m.tool_calls %}"
        "{{ m.tool_calls | tojson if loop.last else m.tool_calls | length }}{% endif %}</s>{% endfor %}"
    )
    encoder = Encoder(replace(ALL, chat_template=source), "own")
    assert sum(encoder.encode(ChatSample("0", ASKED[:3])).loss_mask) > 50
    with pytest.raises(TemplateError, match="its calls change when more turns follow"):
        encoder.encode(ChatSample("0", ASKED))


@pytest.mark.parametrize(("tools", "turns"), [((WEATHER,), ASKED[:2] + ASKED[-1:]), ((), ASKED)])
def test_a_template_that_leaves_tools_or_calls_out_is_refused(tools: Any, turns: Any):
    with pytest.raises(
        TemplateError, match=r"`chatml` leaves the tool(s| calls) out; use a template .* `chatml-tools`"
    ):
        Encoder(ALL, "chatml").encode(ChatSample("0", turns, tools))


def test_llama2_puts_the_system_message_into_the_first_turn():
    text = template("llama2").render((SYSTEM, *TURNS[:3]))
    assert text == "<s>[INST] <<SYS>>\nBe.\n<</SYS>>\n\nHi [/INST] Yo. </s><s>[INST] Bye [/INST]"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "instruct",
            "Be.\n\n### Instruction:\nHi\n\n### Response:\nYo.</s>\n\n### Instruction:\nBye\n\n### Response:\n",
        ),
        ("chat", "Be.\n\nHuman: Hi\n\nAssistant: Yo.</s>\n\nHuman: Bye\n\nAssistant:"),
    ],
)
def test_a_system_message_is_the_preamble(name: str, text: str):
    assert template(name).render((SYSTEM, *TURNS[:3]), add_generation_prompt=True) == text
    if name == "instruct":
        assert template(name).is_content_independent  # encoding renders each sequence of roles once


def test_an_answer_of_the_model_is_the_same_text_in_the_next_turn():
    answered = [Message("user", "Hi"), Message("assistant", " Yo.")]  # as it is decoded after `Assistant:`
    asked = Encoder(ALL, "chat").prompt([*answered, Message("user", "Bye")])
    begun = template("chat").render(answered[:1], add_generation_prompt=True) + " Yo.</s>"
    assert ALL.decode(asked).startswith(begun + "\n\nHuman: Bye")


TALK = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3)


@pytest.mark.parametrize("name", NAMES)
@given(pairs=TALK, has_system=st.booleans())
def test_a_conversation_extends_its_beginning_and_its_prompts(
    name: str, pairs: list[tuple[str, str]], has_system: bool
):
    turns = [Message(*turn) for pair in pairs for turn in zip(("user", "assistant"), pair, strict=True)]
    if has_system and REGISTRY[name].has_system:
        turns.insert(0, SYSTEM)
    encoder = Encoder(ALL, name)
    whole = encoder.encode(ChatSample("0", tuple(turns)))
    assert ALL.decode(whole.ids) == template(name).render(turns)
    for size in range(1, len(turns) + 1):
        if turns[size - 1].role == "assistant":
            start = encoder.encode(ChatSample("0", tuple(turns[:size])))
            assert whole.ids[: len(start.ids)] == start.ids
            assert whole.loss_mask[: len(start.ids)] == start.loss_mask
            prompt = encoder.prompt(turns[: size - 1])
            assert whole.ids[: len(prompt)] == prompt
            # The prompt ends where the loss of the answer begins.
            before = encoder.encode(ChatSample("0", tuple(turns[: size - 2]))).ids if size > 3 else []
            assert sum(whole.loss_mask[len(before) : len(prompt)]) == 0 and whole.loss_mask[len(prompt)] == 1


def test_gemma_refuses_a_system_message():
    with pytest.raises(TemplateError, match="no system role"):
        template("gemma").render((SYSTEM, *TURNS))


def test_what_a_vocabulary_lacks_is_named():
    from lazarus_tokenkit import load_tokenizer

    byte = load_tokenizer("byte")
    assert missing_tokens(byte, REGISTRY["phi"]) == ["<|user|>", "<|assistant|>", "<|end|>"]
    assert missing_tokens(byte, REGISTRY["chatml"]) == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m.content }}</s>{% endfor %}", "bos-once"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "answers-end"),
        ("{% for m in messages %}{{ m.content * 2 }}</s>{% endfor %}", "contents-once"),
        (
            "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}bot: {% endif %}",
            "prompt-begins-answer",
        ),
        ("{% for m in messages %}{{ m.content if loop.last else '-' }}</s>{% endfor %}", "loss-exact"),
        ("{% for m in messages %}{{ m.content }}</s>{% endfor %}{{ strftime_now('%Y') }}", "dateless"),
        ("{{ nothing.there }}", "renders"),
        ("{% for m in messages %}{{ m.content if loop.revindex < 3 else '-' }}</s>{% endfor %}", "prefix-stable"),
    ],
)
def test_a_property_that_fails_is_named(source: str, name: str):
    found = validate_template(ChatTemplate("t", source, "<s>", "</s>"), ALL)
    assert name in [each.name for each in found if not each.holds]


HEADER = "{% for m in messages %}[{{ m.role }}]{{ m.content }}</s>{% endfor %}"
MARKED = (
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(("source", "level"), [(HEADER, "error"), (MARKED, "warning")])
def test_a_header_that_the_prompt_lacks_is_named(source: str, level: str):
    (found,) = [each for each in validate_template(ChatTemplate("t", source), ALL) if each.name == "header-in-prompt"]
    assert (found.holds, found.level) == (False, level) and "'[assistant]'" in found.evidence
    with_prompt = source + "{% if add_generation_prompt %}[assistant]{% endif %}"
    assert all(each.holds for each in validate_template(ChatTemplate("t", with_prompt), ALL) if "header" in each.name)


def test_marks_decide_on_the_loss_where_prefixes_would_say_otherwise():
    for text in ("x", "\ufdee\ufdef", "</s>"):  # the characters that mark blocks, too
        encoded = Encoder(replace(ALL, chat_template=MARKED), "own").encode(
            ChatSample("0", (Message("user", text), Message("assistant", text)))
        )
        ids = [token for token, has_loss in zip(encoded.ids, encoded.loss_mask, strict=True) if has_loss]
        assert ALL.decode(ids) == text + "</s>"


def test_marks_before_a_preferred_answer_carry_no_loss():
    encoder = Encoder(replace(ALL, chat_template=MARKED), "own")
    encoded = encoder.encode(PreferenceSample("0", TURNS[:3], TURNS[3:], (Message("assistant", "Oh."),)))
    ids = [token for token, has_loss in zip(encoded.ids, encoded.loss_mask, strict=True) if has_loss]
    assert ALL.decode(ids) == "So.</s>Oh.</s>"


THOUGHTS = (  # drops the thoughts of earlier answers, as Qwen 3's own template does
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] if not loop.last else m.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THOUGHT = tuple(
    replace(turn, content="<think>\n\n</think>\n\n" + turn.content) if turn.role == "assistant" else turn
    for turn in TURNS
)


def test_a_template_that_drops_thoughts_answers_several_turns_and_names_the_one_to_train_with():
    encoder = Encoder(replace(ALL, chat_template=THOUGHTS), "own")
    rendered = encoder.chat_template.render(THOUGHT[:3], add_generation_prompt=True)
    assert ALL.decode(encoder.prompt(THOUGHT[:3])) == rendered
    with pytest.raises(TemplateError, match="use template `qwen3`"):
        encoder.encode(ChatSample("0", THOUGHT))
    encoded = Encoder(encoder.tokenizer, "qwen3").encode(ChatSample("0", THOUGHT))
    ids = [token for token, has_loss in zip(encoded.ids, encoded.loss_mask, strict=True) if has_loss]
    assert ALL.decode(ids) == "".join(turn.content + "<|im_end|>" for turn in THOUGHT[1::2])


def test_qwen3_renders_calls_and_results_as_published():
    text = template("qwen3").render(ASKED, tools=(WEATHER,))
    assert text.startswith("<|im_start|>system\nBe.\n\n# Tools\n\nYou may call one or more functions")
    assert (
        "<|im_start|>assistant\n<think>\n\n</think>\n\n<tool_call>\n"
        '{"name": "weather", "arguments": {"city": "Bern"}}\n</tool_call>\n<tool_call>\n'
        '{"name": "weather", "arguments": {"city": "Rom"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nno\n</tool_response><|im_end|>\n"
    ) in text
    assert sum(Encoder(ALL, "qwen3").encode(ChatSample("0", ASKED, (WEATHER,))).loss_mask) > 100


def test_marks_of_the_template_find_the_loss_where_prefixes_cannot():
    source = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content.split('#')[-1] if not loop.last else m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}\n"
        "{% endif %}{% endfor %}"
    )
    tokenizer = replace(ALL, chat_template=source)
    turns = [Message("user", "q"), Message("assistant", "x#y"), Message("user", "r"), Message("assistant", "v#w")]
    encoded = Encoder(tokenizer, "own").encode(ChatSample("0", tuple(turns)))
    ids = [token for token, has_loss in zip(encoded.ids, encoded.loss_mask, strict=True) if has_loss]
    assert tokenizer.decode(ids) == "y</s>v#w</s>"


def test_commands_list_show_validate_and_apply(call: Any, tmp_path: Path):
    assert [row["name"] for row in json.loads(call("templates", "list", "--json")[1])] == NAMES
    assert "<|user|> <|assistant|> <|end|>" in call("templates", "list", "-t", "byte")[1]
    assert call("templates", "show", "phi")[1].startswith("{%- for message")
    assert call("templates", "validate", "chatml", "-t", "byte")[0] == 0
    (tmp_path / "bad.jinja").write_text("{{ messages[0].content }}")
    code, out, _ = call("templates", "validate", str(tmp_path / "bad.jinja"), "-t", "byte", "--json")
    assert code == 1 and {each["name"] for each in json.loads(out) if not each["holds"]} >= {"answers-end"}
    (tmp_path / "c.json").write_text(json.dumps([turn.to_json() for turn in TURNS[:2]]))
    assert call("templates", "apply", "chatml", "-t", "byte", str(tmp_path / "c.json"))[1] == GOLDEN["chatml"] + "\n"
    (tmp_path / "t.json").write_text(json.dumps({"messages": [turn.to_json() for turn in ASKED]}))
    code, out, err = call("templates", "apply", "chatml", "-t", "byte", str(tmp_path / "t.json"))
    assert (code, out) == (2, "") and "leaves the tool calls out" in err
    (tmp_path / "u.json").write_text(
        json.dumps({"messages": [turn.to_json() for turn in ASKED[:2]], "tools": [WEATHER]})
    )
    assert (
        "<tools>" in call("templates", "apply", "chatml-tools", "-t", "byte", "--prompt", str(tmp_path / "u.json"))[1]
    )
    (tmp_path / "p.json").write_text(json.dumps({"messages": [TURNS[0].to_json()]}))
    _, out, _ = call("templates", "apply", "chatml", "-t", "byte", "--prompt", "--json", str(tmp_path / "p.json"))
    assert json.loads(out)["text"].endswith("<|im_start|>assistant\n") and sum(json.loads(out)["loss_mask"]) == 0


def test_variables_reach_a_template_and_replace_no_name_of_the_renderer():
    plain = ChatTemplate(
        "demo", "{{ bos_token }}{% if thinks %}Think. {% endif %}{{ messages[0].content }}", bos_token="<s>"
    )
    given = replace(plain, variables={"thinks": True, "messages": [], "bos_token": "no", "unused": 1})
    assert plain.render([Message("user", "Hi")]) == "<s>Hi"
    assert given.render([Message("user", "Hi")]) == "<s>Think. Hi"
    assert plain.variable_names == {"thinks"}
    assert plain.digest != given.digest


def test_a_prompt_with_variables_is_that_of_the_text_they_make():
    encoder = Encoder(replace(ALL, chat_template="{% if thinks %}Think. {% endif %}{{ messages[0].content }}"), "own")
    assert encoder.prompt([Message("user", "Hi")], variables={"thinks": True}) == ALL.encode("Think. Hi")
    assert encoder.prompt([Message("user", "Hi")]) == ALL.encode("Hi")
