from collections.abc import Callable

import pytest

from lazarus_plan import BatchPlan, LengthCache, LengthRow, build_plan
from lazarus_plan.checks import check_lengths
from lazarus_plan.checks.against_data import LINKS
from lazarus_plan.errors import StalePlan

LENGTHS = [17, 30, 64, 5, 12, 40, 33, 9, 21, 58, 3, 47, 26, 11, 62, 8, 19, 35, 44, 14]
OTHER = "sha256:" + "0" * 64
PARTS = {"vocab": "v1", "merges": "m1", "special_ids": {"eos": 2}, "behavioural": "b1"}


def test_unchanged_lengths_fit_and_nothing_is_taken_on_trust(plan: BatchPlan, cache: LengthCache):
    found = check_lengths(plan, cache, is_measured=True)
    assert found.is_whole and found.checked == LINKS
    assert found.lines() == ["data, template, tokenizer, encoding, lengths, token ids: recomputed, as planned"]


def test_a_length_cache_recomputes_lengths_and_claims_the_rest(plan: BatchPlan, cache: LengthCache):
    found = check_lengths(plan, cache)
    assert found.checked == ("lengths",)
    assert found.claimed == ("data", "template", "tokenizer", "encoding", "token ids")


def test_a_sample_with_other_loss_tokens_has_another_digest(plan: BatchPlan, cache: LengthCache):
    rows = [
        LengthRow(f"s{place}", length, 1, None, f"{place + 100:08x}", f"{place:08x}")
        for place, length in enumerate(LENGTHS)
    ]
    with pytest.raises(StalePlan, match="`loss_tokens`") as caught:
        check_lengths(plan, LengthCache.from_rows(rows, cache.header))
    assert caught.value.code == "LP-E146"


@pytest.mark.parametrize("side", ["plan", "lengths"])
def test_what_has_no_fingerprint_is_said_not_to_be_checked(plan: BatchPlan, cache: LengthCache, side: str):
    bare = LengthCache.from_rows([LengthRow(f"s{place}", length) for place, length in enumerate(LENGTHS)], name="bare")
    found = (
        check_lengths(build_plan(bare, plan.metadata.config), cache) if side == "plan" else check_lengths(plan, bare)
    )
    if side == "plan":
        assert found.checked == ("lengths",)
        why = "the plan has no fingerprint of it: its lengths had none"
        assert found.lines()[1:] == [f"NOT checked: data, template, tokenizer, encoding, token ids: {why}"]
    else:
        assert found.checked == ("lengths",)
        assert set(found.unchecked.values()) == {"bare has no fingerprint of it"}


@pytest.mark.parametrize("count", [0, 1, 19, 21])
def test_another_number_of_rows_is_named_without_any_fingerprint(plan: BatchPlan, count: int):
    lengths = [*LENGTHS, 9][:count]
    bare = LengthCache.from_rows([LengthRow(f"s{place}", length) for place, length in enumerate(lengths)], name="bare")
    with pytest.raises(StalePlan, match=f"the plan has 20 rows, bare has {count}") as caught:
        check_lengths(plan, bare)
    assert (caught.value.code, caught.value.exit_code) == ("LP-E141", 1)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"data": OTHER, "rows": {7: "ffffffff"}}, "LP-E140", "row 7 (id 's7')"),
        ({"data": OTHER, "lengths": LENGTHS[:-1]}, "LP-E141", "20 rows"),
        ({"data": OTHER, "lengths": [*LENGTHS, 9]}, "LP-E141", "row 20 (id 's20')"),
        ({"data": OTHER, "rows": {3: "00000004", 4: "00000003"}}, "LP-E141", "another order, the first is row 3"),
        ({"template": OTHER}, "LP-E142", "template changed"),
        (
            {"tokenizer": OTHER, "parts": {"tokenizer": PARTS | {"vocab": "v2", "behavioural": "b2"}}},
            "LP-E143",
            "vocab",
        ),
        ({"tokenizer": OTHER, "parts": {"tokenizer": PARTS | {"merges": "m2"}}}, "LP-E144", "merges"),
        (
            {"tokenizer": OTHER, "parts": {"tokenizer": PARTS | {"special_ids": {"eos": 3}}}},
            "LP-E145",
            "special_ids changed: 'eos' 2 -> 3",
        ),
        ({"tokenizer": OTHER, "parts": {"tokenizer": PARTS | {"behavioural": "b2"}}}, "LP-E147", "behavioural"),
        ({"encoding": {"max_length": 32}}, "LP-E146", "`max_length`"),
        ({"lengths": [18, *LENGTHS[1:]]}, "LP-E130", "sample 0 (id 's0') has 18 tokens, the plan has 17"),
        ({"h": {2: "ffffffff"}}, "LP-E147", "sample 2 (id 's2') has other token ids"),
    ],
)
def test_the_first_broken_link_is_named(
    plan: BatchPlan, make_cache: Callable[..., LengthCache], changes: dict[str, object], code: str, words: str
):
    with pytest.raises(StalePlan) as caught:
        check_lengths(plan, make_cache(**changes))
    assert caught.value.code == code and words in caught.value.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": OTHER, "rows": {7: "ffffffff"}}, "row 7 (id 's7', line 8)"),
        ({"data": OTHER, "lengths": [*LENGTHS, 9]}, "row 20 (id 's20', line 21)"),
        ({"h": {2: "ffffffff"}}, "sample 2 (id 's2', line 3)"),
    ],
)
def test_the_line_is_said_where_the_caller_knows_it(
    plan: BatchPlan, make_cache: Callable[..., LengthCache], changes: dict[str, object], words: str
):
    with pytest.raises(StalePlan) as caught:
        check_lengths(plan, make_cache(**changes), first_line=1)
    assert words in caught.value.message
