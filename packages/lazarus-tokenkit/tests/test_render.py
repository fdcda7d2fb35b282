from pathlib import Path

import pytest

from lazarus_tokenkit import Message, load_tokenizer
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.templates.formats import CHATML, PLAIN
from lazarus_tokenkit.templates.registry import choose_template
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
        "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{% for a in range(9) %}{{ f(n + 1) if n < 40 }}{% endfor %}{% endmacro %}{{ f(0) }}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=['a']) %}{% for a in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aaaa') %}{% for a in range(60) %}{% set ns.x = ns.x.replace('a', ns.x) %}{% endfor %}",
        "{% set ns = namespace(x='aaaa') %}{% for a in range(60) %}{% set ns.x = ns.x | replace('a', ns.x) %}{% endfor %}",
        "{% set ns = namespace(x='aaaa') %}{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] | join %}{% endfor %}",
        "{{ 'a'.ljust(9999999999) }}",
        "{{ 'a' | center(9999999999) }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ '%9999999999d' | format(1) }}",
        "{{ '{:>9999999999}'.format(1) }}",
        "{{ raise_exception('no system role') }}",
        "{{ messages[9].content.strip() }}",
        "{% for %}",
        "{{",
    ],
)
def test_hostile_and_broken_templates_are_one_clear_error(source: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lazarus_tokenkit.templates.sandbox.MAX_CHARACTERS", 1_000_000)
    monkeypatch.setattr("lazarus_tokenkit.templates.sandbox.TIMEOUT_S", 0.2)
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


GENERATION = "{% for m in messages %}[{% if m.role == 'assistant' %}{% generation %}{{ m.content }}]{% endgeneration %}{% endif %}{% endfor %}"


def test_generation_blocks_are_shown_and_can_be_located():
    template = ChatTemplate("t", GENERATION)
    assert template.has_generation_blocks and not ChatTemplate("t", CHATML).has_generation_blocks
    text = template.render(TURNS)
    assert (text, [text[start:end] for start, end in template.generation_spans(TURNS)]) == ("[[[a]", ["a]"])


def test_concatenations_say_what_they_said():
    assert render("{{ 1 ~ 'a' ~ (none ~ 2) }}{% set x = 'b' ~ 3 %}{{ x }}") == "1aNone2b3"
