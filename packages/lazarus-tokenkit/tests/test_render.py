from pathlib import Path

import pytest

from lazarus_tokenkit import Message, load_tokenizer
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.templates.registry import CHATML, PLAIN, choose_template
from lazarus_tokenkit.templates.render import ChatTemplate

TURNS = (Message("system", "s"), Message("user", " q\n"), Message("assistant", "a"))


def render(source: str, **options: str) -> str:
    return ChatTemplate("t", source, **options).render(TURNS)


def test_registry_templates_are_exact_to_the_character():
    assert (
        render(CHATML)
        == "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\n q\n<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
    )
    assert render(PLAIN, eos_token="</s>") == "s\n q\n\na</s>"
    prompt = ChatTemplate("t", CHATML).render(TURNS[:1], add_generation_prompt=True)
    assert prompt == "<|im_start|>system\ns<|im_end|>\n<|im_start|>assistant\n"


def test_rendering_follows_transformers_settings():
    assert render("{% if true %}\n  x\n  {% endif %}\ny") == "  x\ny"  # trim_blocks, lstrip_blocks
    assert render("{{ messages[1] | tojson }}") == '{"role": "user", "content": " q\\n"}'
    assert (
        render("{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}")
        == "system"
    )
    assert render("{{ tools is none }}") == "True"


def test_the_date_is_pinned():
    assert render("{{ strftime_now('%d %b %Y') }}") == "01 Jan 2026"
    assert render("{{ strftime_now('%Y') }}", pinned_date="1999-05-05") == "1999"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ [1, 2] | random }}",
        "{{ lipsum() }}",
        "{% include 'x' %}",
        "{{ 'a' * 100000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        "{{ raise_exception('no system role') }}",
        "{{ messages[9].content.strip() }}",
        "{% for %}",
        "{{",
    ],
)
def test_hostile_and_broken_templates_are_one_clear_error(source: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lazarus_tokenkit.templates.render.MAX_CHARACTERS", 1_000_000)
    with pytest.raises(TemplateError, match="template `t` "):
        render(source)


def test_a_refused_conversation_is_part_of_the_fingerprint():
    refusing = ChatTemplate("t", "{{ raise_exception('x') if messages[0].role == 'system' }}")
    assert refusing.parts["renders"] != ChatTemplate("t", "").parts["renders"]


def test_the_digest_does_not_depend_on_the_name():
    assert ChatTemplate("a", CHATML).digest == ChatTemplate("b", CHATML).digest != ChatTemplate("a", PLAIN).digest


def test_a_template_is_chosen_by_name_file_or_tokenizer(tmp_path: Path):
    byte = load_tokenizer("byte")
    (tmp_path / "mine.jinja").write_text("{{ eos_token }}")
    assert choose_template(byte, None, "2026-01-01").name == "own"
    assert choose_template(byte, str(tmp_path / "mine.jinja"), "2026-01-01").render(TURNS) == "<|im_end|>"
    with pytest.raises(TemplateError, match="no template `nope`: choose `chatml`, `plain`"):
        choose_template(byte, "nope", "2026-01-01")
