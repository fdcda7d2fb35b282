import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lazarus_core.canonical import canonical_json
from lazarus_tokenkit import Encoder, TokenizerFingerprint, compute_fingerprint, load_tokenizer
from lazarus_tokenkit.errors import FingerprintMismatch, TokenkitError
from lazarus_tokenkit.fingerprint import _digest, diff_parts, save_fingerprint, verify_fingerprint
from lazarus_tokenkit.tokenizers.backends.assembly import begins_with
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from suite import every_nth

JSON = dict[str, Any]
CONFIG: JSON = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ messages }}"}


def fingerprint(file: JSON, config: JSON = CONFIG) -> TokenizerFingerprint:
    files = {"tokenizer.json": json.dumps(file).encode(), "tokenizer_config.json": json.dumps(config).encode()}
    return compute_fingerprint(HuggingFaceTokenizer.from_files(files, "t"))


def changed(before: TokenizerFingerprint, after: TokenizerFingerprint) -> set[str]:
    return {name for name, digest in after.components.items() if before.components[name] != digest}


def swap_merges(file: JSON) -> None:
    merges = file["model"]["merges"]
    merges[-1], merges[-2] = merges[-2], merges[-1]


def drop_merge(file: JSON) -> None:
    del file["model"]["merges"][-1]


def swap_ids(file: JSON) -> None:
    vocab = file["model"]["vocab"]
    first, second = (next(piece for piece, number in vocab.items() if number == wanted) for wanted in (10, 11))
    vocab[first], vocab[second] = vocab[second], vocab[first]


def rename_unused_piece(file: JSON) -> None:
    vocab = file["model"]["vocab"]
    vocab["never seen"] = max(vocab.values()) + 1


def add_token(file: JSON) -> None:
    number = max(file["model"]["vocab"].values()) + 1
    file["added_tokens"].append(file["added_tokens"][-1] | {"id": number, "content": "<new>"})


def set_flag(name: str, value: Any = True) -> Callable[[JSON], None]:
    return lambda file: file["added_tokens"][-1].update({name: value})


def set_model(name: str, value: Any) -> Callable[[JSON], None]:
    return lambda file: file["model"].update({name: value})


def set_part(name: str, value: Any) -> Callable[[JSON], None]:
    return lambda file: file.update({name: value})


DIGITS = {"type": "Digits", "individual_digits": True}
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

EDITS: dict[str, tuple[str, Callable[[JSON], None]]] = {
    "two merges swapped": ("merges", swap_merges),
    "a merge dropped": ("merges", drop_merge),
    "two ids swapped": ("vocab", swap_ids),
    "an unused piece": ("vocab", rename_unused_piece),
    "an unused added token": ("added_tokens", add_token),
    "special": ("added_tokens", set_flag("special", False)),
    "lstrip": ("added_tokens", set_flag("lstrip")),
    "rstrip": ("added_tokens", set_flag("rstrip")),
    "single_word": ("added_tokens", set_flag("single_word")),
    "normalized": ("added_tokens", set_flag("normalized")),
    "ignore_merges": ("model", set_model("ignore_merges", True)),
    "byte_fallback": ("model", set_model("byte_fallback", True)),
    "unk": ("model", set_model("unk_token", "<s>")),
    "NFC": ("normalizer", set_part("normalizer", {"type": "NFC"})),
    "lower case": ("normalizer", set_part("normalizer", {"type": "Lowercase"})),
    "prefix space": ("pre_tokenizer", lambda file: file["pre_tokenizer"].update(add_prefix_space=True)),
    "no regex": ("pre_tokenizer", lambda file: file["pre_tokenizer"].update(use_regex=False)),
    "digits": ("pre_tokenizer", set_part("pre_tokenizer", DIGITS)),
    "post-processor": ("post_processor", set_part("post_processor", ADDS_BOS)),
    "decoder": ("decoder", set_part("decoder", {"type": "Fuse"})),
    "truncation": ("truncation", set_part("truncation", CUT)),
    "padding": ("padding", set_part("padding", PAD)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_every_edit_changes_the_fingerprint_and_is_named(small_file: JSON, edit: str):
    component, apply = EDITS[edit]
    before = fingerprint(small_file)
    apply(small_file)
    after = fingerprint(small_file)
    assert after.fingerprint != before.fingerprint
    assert component in changed(before, after)
    assert f"{component} changed: " in "; ".join(diff_parts(before.parts, after.parts))


@pytest.fixture(scope="module")
def gpt2_file(real_data: Path) -> bytes:
    return (real_data / "tokenizers" / "gpt2" / "tokenizer.json").read_bytes()


@pytest.fixture(scope="module")
def gpt2_fingerprint(gpt2_file: bytes) -> TokenizerFingerprint:
    return fingerprint(json.loads(gpt2_file), GPT2_CONFIG)


GPT2_CONFIG: JSON = {"eos_token": "<|endoftext|>"}
# GPT-2 has one added token, so what those edits name is its text; its pieces have no `<s>`.
GPT2_EDITS = EDITS | {
    "unk": ("model", set_model("unk_token", "<|endoftext|>")),
    "post-processor": ("post_processor", set_part("post_processor", begins_with("<|endoftext|>", 50256))),
    "padding": ("padding", set_part("padding", PAD | {"pad_token": "<|endoftext|>", "pad_id": 50256})),
}


@pytest.mark.slow
@pytest.mark.parametrize("edit", every_nth((edit for edit in GPT2_EDITS if edit != "special"), 5))
@pytest.mark.thorough
def test_every_edit_of_gpt2_is_noticed_and_named(gpt2_file: bytes, gpt2_fingerprint: TokenizerFingerprint, edit: str):
    component, apply = GPT2_EDITS[edit]
    file = json.loads(gpt2_file)
    apply(file)
    after = fingerprint(file, GPT2_CONFIG)
    assert after.fingerprint != gpt2_fingerprint.fingerprint
    assert f"{component} changed: " in "; ".join(diff_parts(gpt2_fingerprint.parts, after.parts))


@pytest.mark.slow
@pytest.mark.parametrize("edit", ["eos", "template"])
def test_what_companions_of_gpt2_say_is_noticed_and_named(
    gpt2_file: bytes, gpt2_fingerprint: TokenizerFingerprint, edit: str
):
    config: JSON = {"eos_token": None} if edit == "eos" else GPT2_CONFIG | {"chat_template": "{{ 1 }}"}
    after = fingerprint(json.loads(gpt2_file), config)
    assert changed(gpt2_fingerprint, after) == {"special_ids" if edit == "eos" else "chat_template"}


def test_roles_and_template_are_components_of_their_own(small_file: JSON):
    before = fingerprint(small_file)
    other_eos = fingerprint(small_file, CONFIG | {"eos_token": "<|end|>"})
    assert changed(before, other_eos) == {"special_ids"}
    assert "special_ids changed: eos 1 -> 4" in diff_parts(before.parts, other_eos.parts)
    other_template = fingerprint(small_file, CONFIG | {"chat_template": "{{ 1 }}"})
    assert changed(before, other_template) == {"chat_template"}
    assert other_template.fingerprint == before.fingerprint


def spell_merges_as_text(file: JSON) -> JSON:
    model = file["model"]
    return file | {
        "model": model | {"merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]}
    }


def insert_identity(file: JSON) -> JSON:
    identity = ADDS_BOS | {"single": [{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {}}
    return file | {"post_processor": identity}


def wrap_in_sequence(file: JSON) -> JSON:
    steps = {"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": [file["pre_tokenizer"]]}]}
    return file | {"pre_tokenizer": steps, "normalizer": {"type": "Sequence", "normalizers": []}}


def leave_defaults_out(file: JSON) -> JSON:
    model = {name: file["model"][name] for name in ("vocab", "merges")}
    byte_level = {name: value for name, value in file["pre_tokenizer"].items() if name != "use_regex"}
    shown = {name: value for name, value in file.items() if name not in ("truncation", "padding")}
    return shown | {"model": model | {"continuing_subword_prefix": ""}, "pre_tokenizer": byte_level}


def reverse_keys(file: JSON) -> JSON:
    return json.loads(json.dumps(file), object_pairs_hook=lambda pairs: dict(reversed(pairs)))


@pytest.mark.parametrize(
    "spell", [spell_merges_as_text, insert_identity, wrap_in_sequence, leave_defaults_out, reverse_keys]
)
def test_another_spelling_of_the_same_file_keeps_the_fingerprint(small_file: JSON, spell: Callable[[JSON], JSON]):
    respelled = spell(small_file)
    assert respelled != small_file or spell is reverse_keys
    noise = {"tokenizer_class": "X", "name_or_path": "/y", "transformers_version": "9", "model_max_length": 3}
    assert fingerprint(respelled, CONFIG | noise).components == fingerprint(small_file).components


def test_unk_id_zero_is_not_no_unk():
    vocab = [["<unk>", 0.0], ["a", -1.5]]
    files = [
        {"version": "1.0", "added_tokens": [], "model": {"type": "Unigram", "unk_id": unk_id, "vocab": vocab}}
        for unk_id in (0, None)
    ]
    with_unk, without = (
        HuggingFaceTokenizer.from_files({"tokenizer.json": json.dumps(file).encode()}, "u") for file in files
    )
    assert with_unk.structure()["model"] != without.structure()["model"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # transformers' own imports
@pytest.mark.parametrize("folder", ["tokenizers/gpt2", "tokenizers/llama2", "models/stories260k"])
@pytest.mark.thorough
def test_what_transformers_saves_again_keeps_the_fingerprint(real_data: Path, tmp_path: Path, folder: str):
    transformers = pytest.importorskip("transformers")
    transformers.AutoTokenizer.from_pretrained(real_data / folder).save_pretrained(tmp_path)
    assert compute_fingerprint(tmp_path).components == compute_fingerprint(real_data / folder).components


def test_structural_digest_of_gpt2_is_golden(real_data: Path):
    # Changing this breaks stored length caches and plans: raise FINGERPRINT_VERSION.
    structural = compute_fingerprint(real_data / "tokenizers" / "gpt2").structural
    assert structural == "c4be5959f4d3a99520cdf327a68c2d892591ce0f77c54175fa6603a6f1c725db"


def test_differences_are_named_by_link():
    before = {"data": {"files": [{"name": "a", "sha256": "1"}]}, "tokenizer": {"merges": "m", "library": "x 1"}}
    after = {"data": {"files": [{"name": "a", "sha256": "2"}]}, "tokenizer": {"merges": "n", "library": "x 2"}}
    assert diff_parts(before, before) == []
    assert diff_parts(before, after) == [
        'data: a changed: "1" -> "2"',
        'tokenizer: merges changed: "m" -> "n"',
        "tokenizer: library x 1 -> x 2",
    ]
    assert diff_parts(before, {"data": before["data"]}) == ["tokenizer removed"]


def test_a_newer_library_alone_is_no_difference():
    assert diff_parts({"library": "x 1"}, {"library": "x 2"}) == []


def test_a_saved_fingerprint_verifies_and_names_what_changed(tmp_path: Path, small_file: JSON):
    path = tmp_path / "deep" / "fingerprint.json"
    save_fingerprint(fingerprint(small_file), path)
    verify_fingerprint(fingerprint(small_file), path)
    swap_merges(small_file)
    with pytest.raises(FingerprintMismatch, match="merges changed") as caught:
        verify_fingerprint(fingerprint(small_file), path)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"version":1,"components":[],"special_ids":{},"library":""}',
        '{"version":2,"components":{},"special_ids":{},"library":""}',
    ],
)
def test_a_file_that_is_no_fingerprint_is_bad_input(tmp_path: Path, content: str):
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(TokenkitError) as caught:
        verify_fingerprint(compute_fingerprint(load_tokenizer("byte")), tmp_path / "f.json")
    assert caught.value.exit_code == 2


def test_a_change_that_no_probe_shows_is_said_to_be_equivalent_and_refused_all_the_same(
    tmp_path: Path, small_file: JSON
):
    save_fingerprint(fingerprint(small_file), tmp_path / "f.json")
    add_token(small_file)
    small_file["added_tokens"][-1] |= {"content": "\U000f0000", "special": False}
    after = fingerprint(small_file)
    with pytest.raises(
        FingerprintMismatch, match=r"added_tokens changed: [0-9a-f]{8} -> [0-9a-f]{8}; all probes have equal ids"
    ):
        verify_fingerprint(after, tmp_path / "f.json")
    small_file["normalizer"] = {"type": "Lowercase"}
    with pytest.raises(
        FingerprintMismatch, match=r"behavioural changed: .{20}; normalizer changed: [0-9a-f]{8} -> [0-9a-f]{8}$"
    ):
        verify_fingerprint(fingerprint(small_file), tmp_path / "f.json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=9,
    )
)
@example({"\U0001f600": 1, "\uffee": 2})
@example({'a\U0001f600"b': 1, "a\uffee": [{"\\": '"'}]})
@example(["\U0001f600", '\U0001f600\\"'])
def test_components_are_digested_as_canonical_json(value: Any):
    assert _digest(value) == hashlib.sha256(canonical_json(value)).hexdigest()


def test_an_encoder_takes_the_fingerprint_once():
    encoder = Encoder(load_tokenizer("byte"))
    assert encoder.fingerprint == compute_fingerprint("byte")
    assert encoder.fingerprint is encoder.fingerprint
