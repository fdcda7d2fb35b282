from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError

from lazarus_tokenkit import CompletionSample, Encoder, Message, load_tokenizer
from lazarus_tokenkit.chat_formats import CHATML, PLAIN
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.templates import limits
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


HOSTILE = {  # what stops it, by the words of the error
    r"is unsafe": [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
    ],
    r"No filter named": [
        "{{ [1, 2] | random }}",
        "{{ 'a' | center(9999999999) }}",
        "{{ messages | attr('__class__') }}",
    ],
    r"is undefined": [
        "{{ lipsum() }}",
    ],
    r"no loader": [
        "{% include 'x' %}",
    ],
    r"more than 1,000,000 characters": [
        "{{ 'a' * 100000000 }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aaaa') %}{% for a in range(60) %}{% set ns.x = ns.x.replace('a', ns.x) %}{% endfor %}",
        "{% set ns = namespace(x='aaaa') %}{% for a in range(60) %}{% set ns.x = ns.x | replace('a', ns.x) %}{% endfor %}",
        "{% set ns = namespace(x='aaaa') %}{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] | join %}{% endfor %}",
        "{% set b = 'a' * 900000 %}{% set x %}{% for a in range(9999) %}{{ b }}{% endfor %}{% endset %}",
        "{% set b = 'a' * 900000 %}{% macro f() %}{% for a in range(9999) %}{{ b }}{% endfor %}{% endmacro %}{{ f() }}",
        "{% set b = 'a' * 900000 %}{% filter upper %}{% for a in range(9999) %}{{ b }}{% endfor %}{% endfilter %}",
        "{{ ('{0}' * 999).format('b' * 900000) }}",
        "{{ ('%(a)s' * 999) % {'a': 'b' * 900000} }}",
        "{{ (['a' * 900000] * 999) | string }}",
        "{{ (['a' * 900000] * 999) ~ '' }}",
        "{{ (['a' * 900000] * 999) | tojson }}",
        "{% set ns = namespace(l='x') %}{% for a in range(30) %}{% set ns.l = [ns.l, ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
        "{{ ([[0] * 9999] * 9999) | sum(start=[]) }}",
        "{{ ('\n' * 900000) | indent(9999) }}",
    ],
    r"`\*\*` is refused": [
        "{{ 9 ** 9 ** 9 }}",
    ],
    r"runs for more than": [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% for a in range(9) %}{{ f(n + 1) if n < 40 }}{% endfor %}{% endmacro %}{{ f(0) }}",
        "{% set ns = namespace(d=0) %}{% block a %}{% set ns.d = ns.d + 1 %}{% if ns.d < 40 %}{{ self.a() }}{{ self.a() }}"
        "{% endif %}{% set ns.d = ns.d - 1 %}{% endblock %}",
    ],
    r"recursion depth": [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
    r"bytes in all": [
        "{% set x = '%60000d' | format(1) %}" * 900,
        "{% set ns = namespace(x=['a']) %}{% for a in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(l=[]) %}{% for a in range(9999) %}{% set ns.l = ns.l + ['a' * 900000 ~ a] %}{% endfor %}",
        "{% set ns = namespace(l=[]) %}{% for a in range(9999) %}{% set ns.l = [ns.l, range(9999) | list] %}{% endfor %}",
        "{% set ns = namespace(l=[]) %}{% for a in range(9999) %}{% set ns.l = [ns.l, ([0] * 9999)[:]] %}{% endfor %}",
        "{% for a in range(99999) %}{% set x = [" + "0," * 9999 + "] %}{% endfor %}",
        "{{ ('a ' * 490000).split() * 9 }}",
    ],
    r"the method `.*` is refused": [
        "{{ 'a'.ljust(9999999999) }}",
        "{{ ('\t' * 900000).expandtabs(60000) }}",
        "{{ ('a' * 60000).translate({97: 'b' * 900000}) }}",
        "{{ (5).to_bytes(999999999, 'big') }}",
    ],
    r"pads beyond": [
        "{{ '%9999999999d' % 1 }}",
        "{{ '%9999999999d' | format(1) }}",
        "{{ '{:>9999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 999999999) }}",
        "{{ '%*d' % (999999999, 1) }}",
    ],
    r"indents by more": [
        "{{ ([0] * 9999) | tojson(indent=9999) }}",
    ],
    r"cannot be written as text": [
        "{% set ns = namespace(l='x' * 900000) %}{{ ns }}",
    ],
    r"is not a date pattern": [
        "{{ strftime_now('%999999999Y') }}",
    ],
    r"is malformed": [
        "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
        "x" * 200_001,
        "{% for %}",
        "{{",
    ],
    r"no system role": [
        "{{ raise_exception('no system role') }}",
    ],
    r"no element 9": [
        "{{ messages[9].content.strip() }}",
    ],
}


@pytest.mark.parametrize(("words", "source"), [(words, source) for words in HOSTILE for source in HOSTILE[words]])
def test_hostile_and_broken_templates_are_one_clear_error(words: str, source: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lazarus_tokenkit.templates.limits.MAX_CHARACTERS", 1_000_000)
    monkeypatch.setattr("lazarus_tokenkit.templates.limits.MAX_BYTES", 20_000_000)
    monkeypatch.setattr("lazarus_tokenkit.templates.limits.TIMEOUT_S", 0.5 if "runs for" in words else 60)
    with pytest.raises(TemplateError, match=f"template `t` .*{words}"):
        render(source)


@pytest.mark.parametrize("source", [*HOSTILE["is malformed"], "{{ " + "(" * 90 + "1" + ")" * 90 + " }}"])
def test_encoding_refuses_a_malformed_template_before_anything_else(tmp_path: Path, source: str):
    (tmp_path / "t").write_text(source)
    with pytest.raises(TemplateError, match="template `t` is malformed"):
        Encoder(load_tokenizer("byte"), str(tmp_path / "t")).encode(CompletionSample("0", "q", "a"))


def test_a_date_that_is_none_is_refused():
    with pytest.raises(
        TemplateError,
        match=r"`pinned_date` '2024-02-30' is not a date: day is out of range for month; give one such as",
    ):
        render("{{ messages[0].content }}", pinned_date="2024-02-30")


def test_a_template_file_that_is_not_utf8_is_refused_with_the_place(tmp_path: Path):
    (tmp_path / "t.jinja").write_bytes(b"{{ '\xff' }}")
    with pytest.raises(TemplateError, match=r"t\.jinja: byte 5 is not UTF-8"):
        choose_template(load_tokenizer("byte"), str(tmp_path / "t.jinja"), "2026-01-01")


@pytest.mark.parametrize(
    "path", ["''.__class__", "strftime_now.__self__", "raise_exception.__globals__", "messages.__len__"]
)
def test_internals_are_not_there(path: str):
    try:
        assert render(f"{{{{ {path} }}}}") == ""  # undefined
    except TemplateError as error:
        assert "unsafe" in error.message


def test_what_templates_do_every_day_is_allowed():
    assert render("{{ '%s: %5.1f %%' % ('a', 2) }} {{ '{}={:>3}'.format('b', 1) }}") == "a:   2.0 % b=  1"
    assert render("{{ messages | map(attribute='role') | join(', ') | upper }}") == "SYSTEM, USER, ASSISTANT"
    assert render("{{ (messages | selectattr('role', 'eq', 'user') | list)[0].content | trim }}") == "q"
    assert render("{{ messages[1:][0]['content'].split('q')[0] | length }}") == "1"
    assert render("{{ {'b': 1, 'a': [true]} | dictsort }}") == "[('a', [True]), ('b', 1)]"
    assert render("{{ 'a\nb' | indent(2) }}{{ ', '.join(['x', 'y']) }}") == "a\n  bx, y"
    assert render("{{ [{'a': 1}] | tojson(indent=1) }}") == '[\n {\n  "a": 1\n }\n]'
    assert render("{{ strftime_now('%-d %B %Y, %H:%M') }}") == "1 January 2026, 00:00"


def test_only_what_a_rendering_makes_is_charged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 100)
    for _ in range(3):
        assert limits.charge("x" * 60)
    with limits.limited(), pytest.raises(SecurityError, match="100 bytes in all"):
        limits.charge("x" * 60)
        limits.charge("x" * 60)


def test_a_long_conversation_that_is_put_together_turn_by_turn_is_allowed():
    source = (
        "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + m.content %}{% endfor %}{{ ns.t }}"
    )
    turns = [Message("user", "x" * 1000) for _ in range(1000)]
    assert len(ChatTemplate("t", source).render(turns)) == 1_000_000


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
    with pytest.raises(TemplateError, match="no template `nope`: choose `chatml`, `chatml-tools`, `plain`"):
        choose_template(byte, "nope", "2026-01-01")


GENERATION = "{% for m in messages %}[{% if m.role == 'assistant' %}{% generation %}{{ m.content }}]{% endgeneration %}{% endif %}{% endfor %}"


def test_generation_blocks_are_shown_and_can_be_located():
    template = ChatTemplate("t", GENERATION)
    assert template.has_generation_blocks and not ChatTemplate("t", CHATML).has_generation_blocks
    text = template.render(TURNS)
    assert (text, [text[start:end] for start, end in template.generation_spans(TURNS)]) == ("[[[a]", ["a]"])


def test_concatenations_say_what_they_said():
    assert render("{{ 1 ~ 'a' ~ (none ~ 2) }}{% set x = 'b' ~ 3 %}{{ x }}") == "1aNone2b3"
