import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lazarus_core.errors import OutputTaken
from lazarus_tokenkit import compute_fingerprint, load_tokenizer
from lazarus_tokenkit.checks.fix import repair, write_repair
from lazarus_tokenkit.checks.run import validate_tokenizer
from lazarus_tokenkit.checks.tokenizer_files import TokenizerFiles
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.templates.registry import REGISTRY
from lazarus_tokenkit.tokenizers.backends.byte import byte_tokenizer
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

JSON = dict[str, Any]
CHATML = "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
CONFIG: JSON = {"bos_token": "<s>", "eos_token": "<|end|>", "pad_token": "</s>", "chat_template": CHATML}
METASPACE_MODEL = "tokenizer.model"


class Files:
    """A healthy tokenizer's files, to be broken."""

    def __init__(self, file: JSON) -> None:
        self.file, self.config = file, copy.deepcopy(CONFIG)
        self.model_config: JSON = {"vocab_size": max(file["model"]["vocab"].values()) + 1}
        self.generation: JSON = {}
        self.raw: dict[str, bytes] = {}

    @property
    def added(self) -> list[JSON]:
        return self.file["added_tokens"]

    @property
    def model(self) -> JSON:
        return self.file["model"]

    def contents(self) -> dict[str, bytes]:
        members = {
            "tokenizer.json": self.file,
            "tokenizer_config.json": self.config,
            "config.json": self.model_config,
            "generation_config.json": self.generation,
        }
        return {name: json.dumps(value).encode() for name, value in members.items()} | self.raw


def template(text: str) -> Callable[[Files], None]:
    return lambda files: files.config.update(chat_template=text)


def config(**members: Any) -> Callable[[Files], None]:
    return lambda files: files.config.update(members)


def flag(place: int, **members: Any) -> Callable[[Files], None]:
    return lambda files: files.added[place].update(members)


def drop_byte(files: Files) -> None:
    del files.model["vocab"]["\u0120"]
    files.model["merges"] = [pair for pair in files.model["merges"] if "\u0120" not in "".join(pair)]
    files.model["vocab"] = {piece: number for piece, number in files.model["vocab"].items() if "\u0120" not in piece}


def drop_rare_bytes(files: Files) -> None:
    """Byte 0x04 as SmolLM2 lacks it, and 0xC0 and 0xF1, which begin no character."""
    for letter in ("\u0104", "\u00c0", "\u00f1"):
        del files.model["vocab"][letter]


def drop_merge(files: Files) -> None:
    del files.model["merges"][-1]


def repeat_merge(files: Files) -> None:
    files.model["merges"].append(files.model["merges"][0])


def break_merge(files: Files) -> None:
    files.model["merges"].append(["zq", "qz"])


def second_id(files: Files) -> None:
    files.added.append(files.added[0] | {"id": 9999})


def shared_id(files: Files) -> None:
    vocab = files.model["vocab"]
    vocab["new"] = vocab["a"]


def shared_added_id(files: Files) -> None:
    files.added.append(files.added[0] | {"content": "<other>"})


def moved_id(files: Files) -> None:
    files.added.append(files.added[0] | {"id": 7000, "content": "<far>"})


def gap(files: Files) -> None:
    files.model["vocab"]["far"] = 5000
    files.model["merges"].append(["f", "ar"])
    files.model["vocab"]["ar"] = 4999
    files.model["merges"].insert(0, ["a", "r"])


def sentencepiece_beside(files: Files) -> None:
    pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("a", 1), ("\u2581", 1)]

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    body = b"".join(field(1, field(1, text.encode()) + bytes([3 << 3, kind])) for text, kind in pieces)
    files.raw["tokenizer.model"] = body + field(2, bytes([3 << 3, 2]))


def uncased(files: Files) -> None:
    files.file["normalizer"] = {"type": "Lowercase"}


def nfkc(files: Files) -> None:
    files.file["normalizer"] = {"type": "NFKC"}


def stripped(files: Files) -> None:
    files.file["normalizer"] = {"type": "Strip", "strip_left": True, "strip_right": True}


def lossy_decoder(files: Files) -> None:
    files.file["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}


def no_unk(files: Files) -> None:
    files.file["decoder"] = files.file["pre_tokenizer"] = None


def llama_class(files: Files) -> None:
    files.config["tokenizer_class"] = "LlamaTokenizer"


def mistral(files: Files) -> None:
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+"
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    files.file["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [split, files.file["pre_tokenizer"] | {"use_regex": False}],
    }
    files.model_config["model_type"] = "mistral"


CUT = {"direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 0}
PAD = {
    "strategy": "BatchLongest",
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "<s>",
}
ADDS_BOS = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
}
ANSWER = "{% for m in messages %}<|user|>{{ m.content }}<|end|>\n{% endfor %}"

FAULTS: dict[str, tuple[str, str, Callable[[Files], None]]] = {
    "malformed file": ("D00", "error", lambda files: files.raw.update({"tokenizer.json": b"{"})),
    "eos that is ordinary text": ("D00", "error", config(eos_token="she")),
    "malformed config": ("D00", "error", lambda files: files.raw.update({"tokenizer_config.json": b"["})),
    "a class that overrules the file": ("D01", "error", llama_class),
    "the wrong pattern of Mistral": ("D02", "warning", mistral),
    "two forms that differ": ("D03", "error", sentencepiece_beside),
    "a model file that is none": ("D03", "error", lambda files: files.raw.update({"tokenizer.model": b"x"})),
    "no pad": ("D10", "warning", config(pad_token=None)),
    "pad is eos": ("D10", "warning", config(pad_token="<|end|>")),
    "pad is text": ("D10", "error", config(pad_token="a")),
    "no eos": ("D11", "error", config(eos_token=None)),
    "eos is not the end of turn": ("D11", "error", config(eos_token="</s>", pad_token="<|assistant|>")),
    "the model knows another eos": ("D12", "warning", lambda files: files.generation.update(eos_token_id=[1, 0])),
    "pad in no vocabulary": ("D13", "error", config(pad_token="<nowhere>")),
    "two entries": ("D13", "error", second_id),
    "eos not special": ("D14", "warning", flag(4, special=False)),
    "a token that strips_right": ("D14", "warning", flag(2, rstrip=True)),
    "a token that is normalised": ("D14", "warning", flag(2, normalized=True)),
    "unk is bos": ("D15", "warning", config(unk_token="<s>")),
    "too few rows": ("D20", "error", lambda files: files.model_config.update(vocab_size=100)),
    "rows without ids": ("D20", "information", lambda files: files.model_config.update(vocab_size=999)),
    "gaps": ("D21", "information", gap),
    "an id of two pieces": ("D22", "error", shared_id),
    "an id of two added tokens": ("D22", "error", shared_added_id),
    "an id that the engine changes": ("D25", "error", moved_id),
    "a byte without a piece": ("D23", "error", drop_byte),
    "control characters and bytes outside UTF-8 without a piece": ("D23", "warning", drop_rare_bytes),
    "neither bytes nor unk": ("D23", "error", no_unk),
    "a merge of nothing": ("D24", "error", break_merge),
    "a merge twice": ("D24", "warning", repeat_merge),
    "a piece out of reach": ("D24", "warning", drop_merge),
    "case lost": ("D30", "warning", uncased),
    "Unicode form lost": ("D30", "warning", nfkc),
    "spaces lost": ("D30", "warning", stripped),
    "bytes shown as letters": ("D30", "error", lossy_decoder),
    "decoded text cleaned up": ("D33", "warning", config(clean_up_tokenization_spaces=True)),
    "dropout": ("D34", "error", lambda files: files.model.update(dropout=0.1)),
    "truncation": ("D35", "error", lambda files: files.file.update(truncation=CUT)),
    "padding": ("D35", "error", lambda files: files.file.update(padding=PAD)),
    "no template": ("D40", "warning", config(chat_template=None)),
    "a template that is malformed": ("D40", "error", template("{% for %}")),
    "a mark that is no token": ("D41", "error", template(CHATML.replace("<|user|>", "<|im_start|>"))),
    "bos twice": ("D42", "error", template("{{ bos_token }}<s>" + CHATML)),
    "bos by both": (
        "D42",
        "warning",
        lambda files: (files.file.update(post_processor=ADDS_BOS), files.config.update(chat_template="<s>" + CHATML)),
    ),
    "no bos for Gemma": ("D43", "error", lambda files: files.model_config.update(model_type="gemma3_text")),
    "bos for texts alone": (
        "D43",
        "information",
        lambda files: (files.file.update(post_processor=ADDS_BOS), files.config.update(chat_template=CHATML)),
    ),
    "no generation prompt": ("D45", "error", template(CHATML.partition("{% if add_generation_prompt")[0])),
    "system refused": (
        "D44",
        "information",
        template("{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML),
    ),
    "another opening": ("D45", "error", template(CHATML.replace("<|user|>assistant", "<|assistant|>"))),
    "earlier turns rewritten": (
        "D46",
        "warning",
        template("{% for m in messages %}<|user|>{{ m.content if loop.last else '-' }}<|end|>\n{% endfor %}"),
    ),
    "asks for the date": ("D48", "error", template("{{ strftime_now('%Y') }}" + CHATML)),
    "reaches for internals": ("D49", "error", template("{{ messages.__class__.__mro__ }}")),
    "no end of turn": ("D11", "error", template("{% for m in messages %}{{ m.content }}\n{% endfor %}")),
    "white space by settings": (
        "D51",
        "information",
        template("{% for m in messages %}\n<|user|>{{ m.content }}<|end|>\n{% endfor %}\n"),
    ),
}


def tokenizer_files(files: Files) -> TokenizerFiles:
    return TokenizerFiles.from_contents(files.contents(), "broken")


def test_a_healthy_tokenizer_has_no_error_and_no_warning(small_file: JSON):
    assert [
        found.line
        for found in validate_tokenizer(tokenizer_files(Files(small_file)))
        if found.severity != "information"
    ] == []


def test_there_are_faults_enough_to_be_sure():
    assert len(FAULTS) >= 30


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_found(small_file: JSON, fault: str):
    check, severity, plant = FAULTS[fault]
    files = Files(small_file)
    before = {(found.check, found.message) for found in validate_tokenizer(tokenizer_files(files))}
    plant(files)
    found = [each for each in validate_tokenizer(tokenizer_files(files)) if (each.check, each.message) not in before]
    assert (check, severity) in [(each.check, each.severity) for each in found], [each.line for each in found]


TRUE_OF = {
    "gpt2": {"D10", "D40"},  # openai published neither a pad token nor a template
    "llama2": {"D10", "D30", "D40"},  # a written U+2581 comes back as a space, as in every SentencePiece
    "tok512": {"D10", "D30", "D31", "D40"},  # it collapses white space, too
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUE_OF)
@pytest.mark.thorough
def test_nothing_is_found_that_is_not_true(real_data: Path, name: str):
    found = validate_tokenizer(real_data / "tokenizers" / name)
    assert [each.line for each in found if each.severity == "error"] == []
    assert {each.check for each in found if each.severity == "warning"} == TRUE_OF[name]


def test_the_built_in_tokenizer_is_healthy():
    assert {each.check for each in validate_tokenizer("byte") if each.severity != "information"} == {"D42"}


def test_a_tokenizer_of_characters_loses_what_it_lacks_and_has_no_error():
    found = validate_tokenizer("char:abc")
    assert [each.line for each in found if each.severity == "error"] == []
    assert {each.check: each.message for each in found}["D30"].endswith("lacks become unk")


def test_the_command_names_what_it_could_repair(call: Any, tmp_path: Path, small_file: JSON):
    assert "repairs" not in call("doctor", "-t", "byte")[2]
    files = Files(small_file)
    FAULTS["dropout"][2](files)
    for name, content in files.contents().items():
        (tmp_path / name).write_bytes(content)
    assert f" doctor -t {tmp_path} --fix repairs D34 in a copy\n" in call("doctor", "-t", str(tmp_path))[2]


def test_a_repair_is_safe_shown_and_in_a_new_directory(small_file: JSON, tmp_path: Path):
    files = Files(small_file)
    for fault in ("dropout", "truncation", "padding", "pad is eos", "decoded text cleaned up", "eos not special"):
        FAULTS[fault][2](files)
    done = repair(tokenizer_files(files))
    assert [step[:3] for step in done.steps] == ["D34", "D35", "D35", "D33", "D14", "D10"]
    assert '+  "pad_token": "<|pad|>"' in done.diff and '-    "dropout": 0.1' in done.diff
    write_repair(done, tmp_path / "fixed")
    fixed = load_tokenizer(tmp_path / "fixed")
    assert done.new_rows == fixed.vocab_size and fixed.special_tokens["<|pad|>"] == fixed.pad_id
    healthy = TokenizerFiles.from_contents(Files(small_file).contents() | {}, "h")
    assert fixed.encode("she sells <s>") == load_tokenizer(tmp_path / "fixed").encode("she sells <s>")
    assert healthy.load_error is not None or healthy.tokenizer is not None
    assert [
        each.line for each in validate_tokenizer(tmp_path / "fixed") if each.severity == "error" and each.check != "D20"
    ] == []
    with pytest.raises(OutputTaken, match="exists: give another name"):
        write_repair(done, tmp_path / "fixed")


def test_a_repair_of_a_bare_file_keeps_the_roles_that_it_had(small_file: JSON):
    bare = HuggingFaceTokenizer.from_files({"tokenizer.json": json.dumps(small_file).encode()}, "bare")
    done = repair(TokenizerFiles.from_contents(bare.files, "bare"))
    fixed = HuggingFaceTokenizer.from_files(done.files, "fixed")
    assert (fixed.bos_id, fixed.eos_id, fixed.pad_id) == (bare.bos_id, bare.eos_id, done.new_rows - 1)
    assert (bare.bos_id, bare.eos_id, bare.pad_id) == (0, 1, None)


def test_a_repair_takes_the_only_template_that_fits():
    byte = byte_tokenizer()
    config = json.loads(byte.files["tokenizer_config.json"]) | {"chat_template": None}
    files = dict(byte.files) | {"tokenizer_config.json": json.dumps(config).encode()}
    done = repair(TokenizerFiles.from_contents(files, "byte"))
    assert done.steps == ("D40: chat template `chatml`, the only one that matches the special tokens",)


def test_a_template_whose_turns_do_not_end_with_eos_is_not_given():
    byte = byte_tokenizer()
    config = json.loads(byte.files["tokenizer_config.json"]) | {"chat_template": None, "eos_token": "<|bos|>"}
    done = repair(
        TokenizerFiles.from_contents(dict(byte.files) | {"tokenizer_config.json": json.dumps(config).encode()}, "byte")
    )
    assert done.steps == ()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_repair_brings_no_error(small_file: JSON, fault: str):
    files = Files(small_file)
    FAULTS[fault][2](files)
    broken = tokenizer_files(files)
    if broken.engine is None:
        return
    known = {(found.check, found.message) for found in validate_tokenizer(broken)}
    found = [
        each
        for each in validate_tokenizer(TokenizerFiles.from_contents(repair(broken).files, "fixed"))
        if each.severity == "error"
    ]
    # A pad token that is new needs a row, which the repair says by itself. An id of two pieces, which no repair takes away,
    # is decoded to either of them: the engine's table begins anew in each process and each object.
    expected = {"D20", "D30"} if "D22" in {check for check, _ in known} else {"D20"}
    assert [each.line for each in found if (each.check, each.message) not in known and each.check not in expected] == []


def test_nothing_is_repaired_where_nothing_is_wrong(small_file: JSON):
    files = Files(small_file)
    done = repair(tokenizer_files(files))
    assert (done.steps, done.diff, done.new_rows) == ((), "", None)


def test_the_command_finds_repairs_and_says_no(call: Any, tmp_path: Path, small_file: JSON):
    files = Files(small_file)
    FAULTS["dropout"][2](files)
    source = tmp_path / "t"
    source.mkdir()
    for name, content in files.contents().items():
        (source / name).write_bytes(content)
    code, out, err = call("doctor", "-t", str(source), "--fix", str(tmp_path / "fixed"))
    assert code == 1 and "error D34" in out and "D34: dropout off" in err
    assert call("doctor", "-t", str(tmp_path / "fixed"))[0] == 0
    _, out, _ = call("doctor", "-t", "byte", "--json")
    assert {"check", "severity", "message", "evidence"} == set(json.loads(out)[0])
    assert compute_fingerprint(tmp_path / "fixed")


@pytest.mark.parametrize("name", REGISTRY)
def test_a_named_template_is_added_with_its_tokens_and_ends_turns(tmp_path: Path, name: str):
    done = repair(TokenizerFiles.read("byte"), name)
    write_repair(done, tmp_path / "fixed")
    fixed = load_tokenizer(tmp_path / "fixed")
    entry = REGISTRY[name]
    assert fixed.chat_template == entry.source and done.has_template
    assert set(entry.special_tokens) <= fixed.special_tokens.keys()
    assert done.new_rows in (None, fixed.vocab_size)
    ending = entry.end_of_turn if entry.end_of_turn != "eos" else "<|im_end|>"
    assert fixed.eos_id == fixed.special_tokens[ending]
    assert fixed.encode("Any text, 1 + 1") == load_tokenizer("byte").encode("Any text, 1 + 1")
    errors = {each.check for each in validate_tokenizer(tmp_path / "fixed") if each.severity == "error"}
    assert errors == ({"D41"} if name == "zephyr" else set())  # the marks of Zephyr are ordinary text


def test_a_template_that_lacks_a_role_or_does_not_exist_is_refused(small_file: JSON):
    with pytest.raises(TemplateError, match="no registered template `nothing`: choose `chatml`"):
        repair(TokenizerFiles.read("byte"), "nothing")
    files = Files(small_file)
    files.config.pop("bos_token")
    with pytest.raises(TemplateError, match="template `llama2` needs the token of bos, which"):
        repair(tokenizer_files(files), "llama2")


def test_fix_without_a_directory_writes_next_to_the_tokenizer(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "here").mkdir()
    load_tokenizer("byte").save(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "here")
    assert call("doctor", "-t", str(tmp_path / "mine"), "--fix")[0] == 0
    assert (tmp_path / "mine-fixed/tokenizer.json").is_file()
    code, _, said = call("doctor", "-t", str(tmp_path / "mine"), "--fix", "--quiet")
    assert (code, f"{tmp_path / 'mine-fixed'} exists" in said) == (2, True)
    code, _, said = call("doctor", "-t", "char:0123456789", "--fix")
    assert code == call("doctor", "-t", "char:0123456789")[0]
    assert "--template NAME adds one" in said
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["char-0123456789-fixed"]
    assert call("doctor", "-t", "byte", "--template", "chatml")[0] == 2
