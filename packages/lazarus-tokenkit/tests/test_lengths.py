import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan import LengthRow, read_lengths
from lazarus_plan.format import merkle_root
from lazarus_tokenkit import Encoder, FieldNames, build_lengths, encode_rows, load_tokenizer, source_header
from lazarus_tokenkit.errors import SampleError, TemplateError
from lazarus_tokenkit.fingerprint import diff_parts
from lazarus_tokenkit.lengths.stats import LengthStats, LengthTally

BYTE = Encoder(load_tokenizer("byte"))
ROWS = [{"prompt": f"{n}+{n}=", "completion": str(2 * n)} for n in range(25)]
GSM8K = FieldNames(prompt="question", completion="answer")


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_carry_ids_mask_and_digests(tmp_path: Path):
    row = next(encode_rows(write(tmp_path / "d.jsonl", ROWS), BYTE))
    assert (row.id, row.line, row.path.name) == ("0", 1, "d.jsonl")
    content = b'{"completion":"0","prompt":"0+0="}'
    assert row.row_digest == hashlib.sha256(content).digest()
    assert row.h == hashlib.sha256(b"".join(token.to_bytes(4, "little") for token in row.ids)).hexdigest()[:8]
    assert row.length_row == LengthRow("0", len(row.ids), 2, None, row.h, row.row_digest.hex()[:8])


def test_the_size_of_chunks_changes_nothing(tmp_path: Path):
    path = write(tmp_path / "d.jsonl", ROWS)
    assert list(encode_rows(path, BYTE, chunk=4)) == list(encode_rows(path, BYTE))


def test_the_cache_holds_what_training_will_see(tmp_path: Path):
    path, output = write(tmp_path / "d.jsonl", ROWS), tmp_path / "out" / "lengths.jsonl"
    done: list[int] = []
    header = build_lengths(path, BYTE, output, on_progress=done.append)
    cache, rows = read_lengths(output), list(encode_rows(path, BYTE))
    assert cache.header == header == source_header(path, BYTE, [row.row_digest for row in rows])
    assert cache.length.tolist() == [len(row.ids) for row in rows]
    assert cache.loss_tokens is not None and cache.loss_tokens.tolist() == [sum(row.loss_mask) for row in rows]
    assert header.data == f"sha256:{merkle_root(row.row_digest for row in rows).hex()}"
    assert sum(done) == len(ROWS)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path):
    path, outputs = write(tmp_path / "d.jsonl", ROWS), [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for output in outputs:
        build_lengths(path, BYTE, output)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_the_cache_is_golden(tmp_path: Path):
    # Changing this breaks stored length caches and plans: raise the version that changed it.
    output = tmp_path / "lengths.jsonl"
    header = build_lengths(write(tmp_path / "d.jsonl", ROWS), BYTE, output)
    assert header.data == "sha256:8fe8b27841fa4539a0cc01b7f8791ba7a67cf3c1135094cb9cdc0390f4615ecc"
    assert header.template == "sha256:4641e807bead2f98e7bdf5b26c0a169bbc856bf32e2e93959e5ffb6d0982fc01"
    assert (
        hashlib.sha256(b"".join(output.read_bytes().splitlines()[1:])).hexdigest()
        == "f3a93bae5c451bb7032d45c0058fd764751cb81408528b4d7c2f38c0018220d7"
    )


@pytest.mark.parametrize("edit", ["one character", "swapped", "dropped"])
def test_a_changed_data_set_changes_its_root(tmp_path: Path, edit: str):
    path = write(tmp_path / "d.jsonl", ROWS)
    before = build_lengths(path, BYTE, tmp_path / "a.jsonl")
    edited = {"one character": [ROWS[0] | {"completion": "1"}, *ROWS[1:]], "swapped": ROWS[::-1], "dropped": ROWS[:-1]}
    after = build_lengths(write(path, edited[edit]), BYTE, tmp_path / "b.jsonl")
    assert after.data != before.data
    assert (after.template, after.tokenizer) == (before.template, before.tokenizer)
    (line,) = diff_parts(before.parts, after.parts)
    assert re.fullmatch(r"data: d\.jsonl changed: [0-9a-f]{8} -> [0-9a-f]{8}", line)


def test_another_tokenizer_or_template_changes_only_its_link(tmp_path: Path):
    path = write(tmp_path / "d.jsonl", ROWS)
    before = build_lengths(path, BYTE, tmp_path / "a.jsonl")
    plain = build_lengths(path, Encoder(BYTE.tokenizer, "plain"), tmp_path / "b.jsonl")
    assert (plain.data, plain.tokenizer) == (before.data, before.tokenizer)
    found = [line.rpartition(": ")[0] for line in diff_parts(before.parts, plain.parts)]
    assert found == ["template: renders changed", "template: source changed"]


def test_a_bad_row_leaves_nothing_behind(tmp_path: Path):
    path = write(tmp_path / "d.jsonl", [*ROWS, {"prompt": "x"}])
    with pytest.raises(SampleError, match=r"d\.jsonl:26: no field `completion`"):
        build_lengths(path, BYTE, tmp_path / "out.jsonl")
    assert [file.name for file in tmp_path.iterdir()] == ["d.jsonl"]


def test_a_conversation_that_a_template_refuses_is_named_by_line(tmp_path: Path):
    template = tmp_path / "strict.jinja"
    template.write_text(
        "{% for m in messages %}{{ raise_exception('no') if '7' in m.content else m.content }}{% endfor %}"
    )
    with pytest.raises(TemplateError, match=r"d\.jsonl:8: sample '7': .* refuses the conversation: no"):
        list(encode_rows(write(tmp_path / "d.jsonl", ROWS), Encoder(BYTE.tokenizer, str(template))))


def test_a_template_that_cannot_be_used_is_no_rows_fault(tmp_path: Path):
    with pytest.raises(TemplateError, match=r"^no template `nope`"):
        list(encode_rows(write(tmp_path / "d.jsonl", ROWS), Encoder(BYTE.tokenizer, "nope")))


def test_a_tally_on_the_way_is_the_stats_of_the_file(tmp_path: Path):
    rows = [*ROWS, {"id": '","length":9,"loss_tokens":9', "prompt": "a", "completion": "b"}]
    tally, output = LengthTally(), tmp_path / "l.jsonl"
    build_lengths(write(tmp_path / "d.jsonl", rows), BYTE, output, tally=tally)
    assert tally.stats == LengthStats.of(read_lengths(output))


@given(st.lists(st.integers(1, 500), min_size=1, max_size=200))
def test_quantiles_are_nearest_ranks(lengths: list[int]):
    stats = LengthStats.of_counts(Counter(lengths), None)
    ordered = sorted(lengths)
    assert stats.quantiles == {share: ordered[-(-share * len(ordered) // 100) - 1] for share in (50, 90, 99)}
    assert (stats.count, stats.tokens, stats.min, stats.max) == (len(ordered), sum(ordered), ordered[0], ordered[-1])
    assert sum(samples for _, _, samples in stats.histogram) == len(ordered)


def test_stats_count_every_sample_once():
    from lazarus_plan import LengthCache

    cache = LengthCache.from_rows([LengthRow(str(n), n, n // 2) for n in range(1, 101)])
    stats = LengthStats.of(cache)
    assert stats.quantiles == {50: 50, 90: 90, 99: 99}
    assert (stats.count, stats.tokens, stats.min, stats.max) == (100, 5050, 1, 100)
    assert sum(samples for _, _, samples in stats.histogram) == 100
    assert stats.histogram[0][0] == 1 and stats.histogram[-1][1] >= 100


@pytest.mark.slow
def test_gsm8k_ids_are_those_of_the_raw_library(real_data: Path):
    tokenizers = pytest.importorskip("tokenizers")
    folder = real_data / "models" / "stories260k"
    raw = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    members = json.loads((folder / "tokenizer.json").read_bytes())
    steps = members["normalizer"]["normalizers"]
    members["normalizer"]["normalizers"] = [step for step in steps if step["type"] != "Prepend"]
    continuing = tokenizers.Tokenizer.from_str(json.dumps(members))  # an answer gets no dummy prefix
    path = real_data / "datasets" / "gsm8k" / "test.jsonl"
    rows = list(encode_rows(path, Encoder(load_tokenizer(folder)), GSM8K))
    for row, line in zip(rows, path.read_text(encoding="utf-8").splitlines(), strict=True):
        sample = json.loads(line)
        question = raw.encode(sample["question"] + "\n").ids  # the library puts bos in front
        answer = continuing.encode(sample["answer"], add_special_tokens=False).ids
        assert row.ids == [*question, *answer, 2]
        assert row.loss_mask == [0] * len(question) + [1] * (len(answer) + 1)
