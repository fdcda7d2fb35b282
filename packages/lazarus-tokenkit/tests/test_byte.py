from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import ChatSample, Encoder, Message, compute_fingerprint, load_tokenizer

TEXTS = st.text() | st.sampled_from(["a<|im_end|>b", "\r\n\t\x00", "👨‍👩‍👧", "e\u0301"])


@given(TEXTS)
def test_decoding_what_was_encoded_gives_the_text(text: str):
    tokenizer = load_tokenizer("byte")
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(TEXTS)
def test_literal_ids_are_the_bytes(text: str):
    assert load_tokenizer("byte").encode(text, parse_special=False) == list(text.encode())


def test_special_tokens_stand_behind_the_bytes():
    tokenizer = load_tokenizer("byte")
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.vocab_size) == (256, 257, 259, 260)
    assert tokenizer.adds_bos and not tokenizer.adds_eos
    assert tokenizer.special_tokens["<|im_end|>"] == tokenizer.eos_id


def test_fingerprint_is_golden():
    # Changing this breaks stored length caches and plans: raise FINGERPRINT_VERSION.
    assert compute_fingerprint("byte").fingerprint == "3e6cc8846c939715762f6cd7d070b2f5fcb443efb62acd50aab036c579c4c487"


def test_a_saved_one_loads_as_the_same(tmp_path: Path):
    load_tokenizer("byte").save(tmp_path)
    assert compute_fingerprint(tmp_path).components == compute_fingerprint("byte").components


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # transformers' own imports
def test_transformers_opens_what_save_writes(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    tokenizer = load_tokenizer("byte")
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "héllo <|im_start|>  wörld\n"
    assert theirs.encode(text) == [tokenizer.bos_id, *tokenizer.encode(text)]
    assert theirs.eos_token_id == tokenizer.eos_id
    turns = [{"role": "user", "content": " hi "}, {"role": "assistant", "content": "yo\n"}]
    sample = ChatSample("0", tuple(Message(**turn) for turn in turns))
    encoder = Encoder(tokenizer)
    assert theirs.apply_chat_template(turns)["input_ids"] == encoder.encode(sample).ids
    prompt = theirs.apply_chat_template(turns[:1], add_generation_prompt=True)["input_ids"]
    assert prompt == encoder.prompt(sample.messages[:1])
