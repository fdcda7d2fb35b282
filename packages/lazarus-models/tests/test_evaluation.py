"""Laws of the tasks: on uniform and random models, on permuted and joined data, against slow plain versions."""

import json
import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazarus_core.errors import LazarusError
from lazarus_models import init_model
from lazarus_models.backend import mx
from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation import (
    ChoiceSettings,
    ForgettingSettings,
    Gsm8kSettings,
    PerplexitySettings,
    PreferenceTaskSettings,
    Subject,
    SuiteSettings,
    compare_models,
    evaluate,
    load_report,
    measure_forgetting,
    measure_perplexity,
    measure_preferences,
    run_suite,
    score_choices,
    solve_gsm8k,
    task_kinds,
    task_settings,
)
from lazarus_models.evaluation.pairing import paired
from lazarus_models.evaluation.scores import scores_of
from lazarus_models.evaluation.tasks.choice_forms import form_of, question_of
from lazarus_models.evaluation.tasks.generation_suite import distinct, repetition, shuffled_words
from lazarus_models.evaluation.tasks.gsm8k import ScoredAnswer, final_number, read_problems, verdicts
from lazarus_models.evaluation.tasks.multiple_choice import read_questions
from lazarus_models.evaluation.tasks.perplexity import Document, Losses, loss_items, windows
from lazarus_models.generation.prompt_scores import choice_logprobs, read_scored, token_logprobs
from lazarus_models.ops.normalizer import log_normalizer
from lazarus_models.trees import set_weights, weights
from lazarus_tokenkit import CompletionSample, Encoder
from lazarus_tokenkit.samples import PlacedRow
from suite import examples

STORY = "Once upon a time there was a little girl named Lily. She loved to play outside in the park.\n"


@pytest.fixture(scope="module")
def tokenizers(stories, byte_tokenizer):
    return stories.tokenizer, byte_tokenizer


@pytest.fixture
def uniform(byte_tokenizer):
    """A model that gives every token the same probability."""
    lm = init_model("nano", byte_tokenizer, seed=0)
    set_weights(lm.model, {name: mx.zeros_like(each) for name, each in weights(lm.model).items()})
    return lm


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def values(result, metric):
    return [each.values[metric] for each in result.items]


def score(result, metric):
    return next(each for each in scores_of("task", result) if each.metric == metric)


def test_scores_of_tokens_are_those_of_the_server(stories):
    ids = [1, *(3 + 7 * place % 500 for place in range(140))]
    served = [each.logprob for each in read_scored(stories.model, ids, 0)[2]]
    for first in (1, 2, 64, 65, 130, 140):
        found = token_logprobs(stories.model, ids, first)
        assert len(found) == len(ids) - first
        assert np.abs(found - served[first - 1 :]).max() < 1e-5
    shared = choice_logprobs(stories.model, ids, [5, 9])
    for token, logprob in zip((5, 9), shared, strict=True):
        assert logprob == pytest.approx(token_logprobs(stories.model, [*ids, token], len(ids)), abs=1e-12)


@pytest.mark.parametrize("text", ["a", STORY, "é" * 700, STORY * 40])
def test_the_perplexity_of_a_uniform_model_is_its_vocabulary(uniform, tmp_path, text):
    path = write(tmp_path / "texts.jsonl", {"text": text})
    size = uniform.config.vocab_size
    for stride in (1, 7, 16) if len(text) < 100 else (200,):
        result = measure_perplexity(
            Subject(uniform), PerplexitySettings(data=path, window=16 if stride < 20 else 256, stride=stride)
        )
        found = score(result, "perplexity")
        assert found.value == pytest.approx(size, rel=1e-13) and found.baseline == size
        bits = score(result, "bits_per_byte")
        assert bits.value == pytest.approx(math.log2(size), rel=1e-13) and bits.baseline == pytest.approx(bits.value)
        assert result.notes["tokens"] == result.notes["bytes"] == len(text.encode())


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=4), st.booleans())
def test_a_model_of_equal_bytes_has_8_bits_per_byte_with_every_tokenizer(tokenizers, texts, scores_first):
    """Tokens with -log p = bytes * ln 256: the figure does not depend on where a text is cut."""
    for tokenizer in tokenizers:
        losses = []
        for place, text in enumerate(texts):
            ids, starts, _ = tokenizer.segment_batch([text * 50], parse_special=False)[0]
            document = Document(str(place), "x", ids, np.array(starts), len((text * 50).encode()))
            nats = (np.array([*starts[1:], document.size]) - np.array(starts)) * math.log(256)
            first = 0 if scores_first else 1
            losses.append(Losses(document, nats[first:], first))
        bits, sizes = (sum(each.values["bits_per_byte"][part] for each in loss_items(losses)) for part in (0, 1))
        assert bits / sizes == pytest.approx(8, abs=1e-9)
        tokens = sum(each.values["perplexity"][1] for each in loss_items(losses))
        assert tokens == sum(len(each.nats) for each in losses)


@given(count=st.integers(2, 60), window=st.integers(1, 30), stride=st.integers(1, 30))
def test_windows_score_every_token_once_with_all_the_context_that_fits(count, window, stride):
    stride = min(stride, window)
    found = list(windows(count, window, stride))
    targets = [target for _, last, first_target in found for target in range(first_target, last + 1)]
    assert targets == list(range(1, count))
    for first, last, first_target in found:
        assert 0 < last - first <= window and first < first_target
        assert first == 0 or last - first == window


def test_a_text_that_fits_has_the_losses_of_one_reading(stories, tmp_path):
    path = write(tmp_path / "texts.jsonl", {"text": STORY})
    ids = [stories.tokenizer.bos_id, *stories.tokenizer.encode(STORY)]
    nats = -token_logprobs(stories.model, ids).sum()
    for stride in (1, 50, 200):
        result = measure_perplexity(Subject(stories), PerplexitySettings(data=path, window=200, stride=stride))
        assert values(result, "perplexity") == [(pytest.approx(nats, abs=1e-9), len(ids) - 1)]


def test_sliding_windows_are_those_of_a_plain_loop(stories, tmp_path):
    path = write(tmp_path / "texts.jsonl", {"text": STORY})
    ids = [stories.tokenizer.bos_id, *stories.tokenizer.encode(STORY)]
    wanted = 0.0
    for place in range(1, len(ids)):  # with stride 1 every token has the 8 tokens before it
        logits = stories.model(mx.array([ids[max(0, place - 8) : place]]))[0, -1].astype(mx.float32)
        wanted += float((log_normalizer(logits) - logits[ids[place]]).item())
    result = measure_perplexity(Subject(stories), PerplexitySettings(data=path, window=8, stride=1))
    assert sum(nats for nats, _ in values(result, "perplexity")) == pytest.approx(wanted, abs=1e-3)


def test_no_window_crosses_documents_unless_they_are_joined(stories, tmp_path):
    one, two = write(tmp_path / "a.jsonl", {"text": STORY}), write(tmp_path / "b.jsonl", {"text": "She was happy."})
    both = write(tmp_path / "both.jsonl", {"text": STORY}, {"text": "She was happy."})
    alone = [
        values(measure_perplexity(Subject(stories), PerplexitySettings(data=path)), "perplexity") for path in (one, two)
    ]
    assert values(measure_perplexity(Subject(stories), PerplexitySettings(data=both)), "perplexity") == [
        *alone[0],
        *alone[1],
    ]
    joined = values(
        measure_perplexity(Subject(stories), PerplexitySettings(data=both, join_documents=True)), "perplexity"
    )
    assert joined[0] == pytest.approx(alone[0][0], abs=1e-4)
    assert joined[1][1] == alone[1][0][1] and abs(joined[1][0] - alone[1][0][0]) > 0.1


def choice_rows(count, choices=4):
    rng = np.random.default_rng(5)
    words = ["red", "dog", "tree", "happy", "little", "seven", "stone", "river", "blue", "to"]
    return [
        {
            "id": f"q{place}",
            "question": f"{STORY[: 20 + place % 40]}",
            "choices": [f"{word} {place}" for word in rng.choice(words, choices, replace=False).tolist()],
            "answer": int(rng.integers(choices)),
        }
        for place in range(count)
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_accuracy_of_a_random_model_has_the_baseline_in_its_interval(byte_tokenizer, tmp_path, seed):
    lm = init_model("nano", byte_tokenizer, seed=seed)
    result = score_choices(Subject(lm), ChoiceSettings(data=write(tmp_path / "mc.jsonl", *choice_rows(24, choices=4))))
    for name in ("acc", "acc_norm", "acc_bytes"):
        found = score(result, name)
        assert found.low <= 0.25 <= found.high and found.baseline >= 0.25 and found.count == 24


def test_permuted_choices_have_permuted_scores(stories, tmp_path):
    rows = choice_rows(3)
    order = [2, 0, 3, 1]
    other = [
        {**row, "choices": [row["choices"][place] for place in order], "answer": order.index(row["answer"])}
        for row in rows
    ]
    first, second = (
        score_choices(Subject(stories), ChoiceSettings(data=write(tmp_path / name, *each))).items
        for name, each in (("a.jsonl", rows), ("b.jsonl", other))
    )
    for one, two in zip(first, second, strict=True):
        assert [one.details["logprobs"][place] for place in order] == two.details["logprobs"]
        assert one.values == two.values


def test_choices_are_scored_as_log_probabilities_of_their_tokens(stories, tmp_path):
    row = {"question": "The cat sat on the", "choices": ["mat", "enormous hippopotamus"], "answer": "A"}
    [item] = score_choices(Subject(stories), ChoiceSettings(data=write(tmp_path / "mc.jsonl", row))).items
    before = [stories.tokenizer.bos_id, *stories.tokenizer.encode(row["question"])]
    sums = []
    for choice in row["choices"]:
        whole = [stories.tokenizer.bos_id, *stories.tokenizer.encode(f"{row['question']} {choice}")]
        sums.append(sum(each.logprob for each in read_scored(stories.model, whole, 0)[2][len(before) - 1 :]))
    assert item.details["logprobs"] == pytest.approx(sums, abs=1e-4)


def test_each_rule_takes_the_largest_figure_of_its_own(stories, tmp_path):
    choices = ["the", "a big red dog and a cat", "ééééé éé", "She was very happy to play with her mom"]
    rows = [{"question": STORY[:cut], "choices": choices, "answer": 0} for cut in (3, 20, 45)]
    taken = set()
    for item in score_choices(Subject(stories), ChoiceSettings(data=write(tmp_path / "mc.jsonl", *rows))).items:
        sums = np.array(item.details["logprobs"])
        for name, sizes in {
            "acc": [1] * 4,
            "acc_norm": [len(each) for each in choices],
            "acc_bytes": [len(each.encode()) for each in choices],
        }.items():
            assert item.details[name] == int(np.argmax(sums / np.array(sizes)))
            assert item.values[name] == (float(item.details[name] == 0), 1.0)
            taken.add((name, item.details[name]))
    assert ("acc", 0) in taken and ("acc_norm", 3) in taken


def test_choices_of_a_chat_are_scored_as_the_tokens_that_training_counts(tiny, tmp_path):
    row = {"question": "How?", "choices": ["So.", "Not at all"], "answer": "A"}
    path = write(tmp_path / "mc.jsonl", row)
    [item] = score_choices(Subject(tiny), ChoiceSettings(data=path, prompt_style="chat")).items
    for choice, logprob in zip(row["choices"], item.details["logprobs"], strict=True):
        encoded = Encoder(tiny.tokenizer).encode(CompletionSample("0", row["question"], choice))
        first = encoded.loss_mask.index(1)
        ids = encoded.ids[: first + len(choice)]  # without the end of the answer
        assert logprob == pytest.approx(token_logprobs(tiny.model, ids, first).sum(), abs=1e-9)


FORMS = [
    (
        {"question": "is it", "passage": "It is.", "answer": True},
        "boolq",
        ("It is.\nQuestion: is it?\nAnswer:", ("no", "yes"), 1),
    ),
    (
        {"question": "What?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"},
        "arc",
        ("Question: What?\nAnswer:", ("x", "y"), 1),
    ),
    (
        {
            "question": {"stem": "What?", "choices": [{"text": "x", "label": "1"}, {"text": "y", "label": "2"}]},
            "answerKey": "1",
        },
        "arc",
        ("Question: What?\nAnswer:", ("x", "y"), 0),
    ),
    (
        {
            "activity_label": "Run",
            "ctx_a": "A man runs.",
            "ctx_b": "he",
            "endings": ["stops [x]", "flies"],
            "label": "0",
        },
        "hellaswag",
        ("Run: A man runs. He", ("stops ", "flies"), 0),
    ),
    ({"query": "1 + 1 =", "choices": ["1", "2"], "gold": 1}, "generic", ("1 + 1 =", ("1", "2"), 1)),
    ({"question": "1 + 1 =", "choices": ["1", "2"], "answer": "2"}, "generic", ("1 + 1 =", ("1", "2"), 1)),
]


@pytest.mark.parametrize(("row", "form", "wanted"), FORMS)
def test_forms_of_known_data_sets_are_read(row, form, wanted, tmp_path):
    placed = PlacedRow(row, tmp_path / "rows.jsonl", 1)
    assert form_of(placed) == form
    found = question_of(placed, form, "0", " ")
    assert (found.context, found.choices, found.gold) == wanted


BAD_ROWS = [
    ({"question": "a", "choices": ["b"], "answer": 0}, "1 choices"),
    ({"question": "a", "choices": ["b", ""], "answer": 0}, "choice 2 is empty"),
    ({"question": "a", "choices": ["b", "c"], "answer": 2}, "counted from 0"),
    ({"question": "a", "choices": ["b", "c"], "answer": "C"}, "`answer` must be"),
    ({"question": "a", "choices": "bc", "answer": 0}, "must be a list of texts"),
    ({"question": "a", "choices": ["b", 1], "answer": 0}, "must be a list of texts"),
    ({"choices": ["b", "c"], "answer": 0}, "`question` is missing"),
    ({"text": "a"}, "no form of multiple choice"),
    ({"question": "a", "passage": "b", "answer": "maybe"}, "true or false"),
    ({"question": "a", "choices": {"text": ["b"], "label": []}, "answerKey": "A"}, "1 texts and 0 labels"),
    ({"question": "a", "choices": {"text": ["b", "c"], "label": ["A", "B"]}, "answerKey": "C"}, "none of the labels"),
    ({"question": "a", "choices": {"text": ["b", "c"], "label": ["A", "A"]}, "answerKey": "A"}, "occurs twice: A, A"),
    (
        {"question": "a", "choices": [{"text": "b", "label": "A"}, "c", {"text": "d", "label": "B"}], "answerKey": "B"},
        "`choices.text` must be a list of texts",
    ),
    ({"ctx": "a", "endings": ["b", "c"], "label": ""}, "`label` must be"),
]


@pytest.mark.parametrize(("row", "words"), BAD_ROWS)
def test_bad_rows_are_refused_with_their_place(stories, tmp_path, row, words):
    path = write(tmp_path / "rows.jsonl", row)
    with pytest.raises(LazarusError, match=words) as caught:
        score_choices(Subject(stories), ChoiceSettings(data=path))
    assert f"{path}:1" in caught.value.message and caught.value.code == "LM-E502"


def test_rows_of_several_forms_are_refused_unless_the_form_is_given(stories, tmp_path):
    row = {"question": "a", "choices": ["b", "c"], "answer": 1}
    path = write(tmp_path / "rows.jsonl", row, row | {"passage": "d"})
    with pytest.raises(LazarusError, match=r"rows\.jsonl:2: of the form `boolq`, but the first row is .* `generic`"):
        read_questions(ChoiceSettings(data=path))
    assert len(read_questions(ChoiceSettings(data=path, form="generic"))) == 2


ANSWERS = {
    "so 3 + 4 = 7": 7,
    "#### 1,200": 1200,
    "It is 5. #### -3.50 dollars or 9": -3.5,
    "#### none, but 8": 8,
    "$1,000,000.": 1_000_000,
    "3/4 of it": 0.75,
    "no number": None,
    "1/0": None,
    "9" * 200: None,
    "She pays $.75": 0.75,
    "it costs .5 a piece": 0.5,
    "and so on...5": 5,
    "from 10-5": 5,
    "(x)-5": 5,
    "it is \u22125": -5,
    "#### -$5": -5,
    "\u20ac1,250.50": 1250.5,
    "1,2345": 2345,
}


@pytest.mark.parametrize(("text", "number"), ANSWERS.items())
def test_the_final_number_of_an_answer(text, number):
    assert final_number(text) == number


@given(st.decimals(-(10**9), 10**9, places=3), st.sampled_from(["", "$"]), st.booleans(), st.booleans())
def test_a_number_is_read_as_it_was_written(number, currency, has_commas, is_short):
    digits = f"{abs(number):{',' if has_commas else ''}f}"
    if is_short:
        digits = (digits.removeprefix("0") if number else digits).rstrip("0").rstrip(".") or "0"
    text = f"{'-' if number < 0 else ''}{currency}{digits}"
    for words in (f"It is {text}", f"1 and 2 give {text}.", f"3 + 4 = {text} pieces", f"of 9\n#### {text}"):
        assert final_number(words) == Fraction(number), words


@pytest.mark.parametrize("number", [1e16, 1e-05, -2.5, 12])
def test_an_answer_that_is_a_number_is_that_number(tmp_path, number):
    [problem] = read_problems(write(tmp_path / "maths.jsonl", {"question": "What?", "answer": number}))
    assert float(problem.answer) == number


def test_maths_answers_are_scored_and_paired_with_their_majority(stories, tmp_path):
    rows = [{"question": "What is it?", "answer": f"It is 2. #### {2 if place < 3 else place}"} for place in range(5)]
    path = write(tmp_path / "maths.jsonl", *rows)
    result = solve_gsm8k(Subject(stories), Gsm8kSettings(data=path, max_new_tokens=4))
    found = score(result, "exact_match")
    assert (found.value, found.baseline, found.count) == (0.0, 0.6, 5)
    shots = Gsm8kSettings(data=path, max_new_tokens=4, shots=2, shots_data=path)
    assert solve_gsm8k(Subject(stories), shots).items[0].details["answer"] != result.items[0].details["answer"]
    with pytest.raises(LazarusError, match="needs `shots_data`"):
        solve_gsm8k(Subject(stories), Gsm8kSettings(data=path, shots=2))
    with pytest.raises(LazarusError, match="there is no scorer 'nix'") as caught:
        solve_gsm8k(Subject(stories), Gsm8kSettings(data=path, scorer="nix"))
    assert caught.value.code == "LM-E506"
    with pytest.raises(LazarusError, match=r"maths.jsonl:1: `answer` has no number"):
        solve_gsm8k(Subject(stories), Gsm8kSettings(data=write(path, {"question": "a", "answer": "none"})))


SUITE = """
[[prompt]]
id = "story"
prompt = "Once upon a time, there was a"
contains = ["GIRL"]
excludes = ["economy"]
regex = "l[a-z]+e"
max_repetition = 0.5

[[prompt]]
prompt = "The dog"
excludes = [" "]
"""


def test_a_suite_checks_answers(stories, tmp_path):
    path = tmp_path / "suite.toml"
    path.write_text(SUITE)
    result = run_suite(Subject(stories), SuiteSettings(data=path, max_new_tokens=24, ignore_case=True))
    story, dog = result.items
    assert {
        name: value for name, (value, _) in story.values.items() if name in ("contains", "excludes", "regex", "passed")
    } == {
        "contains": 1.0,
        "excludes": 1.0,
        "regex": 1.0,
        "passed": 1.0,
    }
    assert dog.id == "2" and dog.values["passed"] == (0.0, 1.0) and "regex" not in dog.values
    assert score(result, "passed").baseline == 0.5  # an empty answer passes the second prompt alone
    assert score(result, "regex").count == 1 and score(result, "end_of_text").value == 0.0
    exact = run_suite(Subject(stories), SuiteSettings(data=path, max_new_tokens=24))
    assert exact.items[0].values["contains"] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prompt = 1", "prompt: must be a list"),
        ("[[prompt]]\nprompts = 'a'", "prompt.0.prompts: is unknown"),
        ("[[prompt]]\nprompt = 'a'\nid = 'b'\n[[prompt]]\nprompt = 'a'\nid = 'b'", "'b' occurs twice"),
        ("[[prompt]]\nprompt = 'a'\nregex = '('", "is no regular expression"),
        ("[[prompt]\n", "not TOML"),
    ],
)
def test_bad_suites_are_refused(stories, tmp_path, text, words):
    path = tmp_path / "suite.toml"
    path.write_text(text)
    with pytest.raises(LazarusError, match=words) as caught:
        run_suite(Subject(stories), SuiteSettings(data=path))
    assert str(path) in caught.value.message


def test_an_expression_that_explodes_is_stopped(stories, tmp_path, monkeypatch):
    from lazarus_models.evaluation import patterns

    monkeypatch.setattr(patterns, "LIMIT_S", 0.05)
    with pytest.raises(LazarusError, match="takes more than") as caught:
        patterns.is_found(r"(?:a|a|b?a)+$", "a" * 40 + "!", "suite.toml: prompt 1")
    assert caught.value.code == "LM-E510"


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_repetition_and_distinct_count_ngrams(words):
    text = " ".join(words)
    for size, found in ((4, 1 - repetition(text)), (2, distinct(text, 2)), (1, distinct(text, 1))):
        grams = ["".join(words[place : place + size]) for place in range(len(words) - size + 1)]
        assert found == pytest.approx(len(set(grams)) / len(grams) if grams else float(size == 4))


@given(st.lists(st.text("abcd ", max_size=20), min_size=1, max_size=6), st.integers(0, 3))
def test_shuffled_words_keep_the_words_and_the_lengths(texts, seed):
    found = shuffled_words(texts, seed)
    assert [len(each.split()) for each in found] == [len(each.split()) for each in texts]
    assert sorted(" ".join(found).split()) == sorted(" ".join(texts).split())


@pytest.fixture
def pairs(tmp_path):
    return write(
        tmp_path / "pairs.jsonl",
        *({"prompt": "Once upon", "chosen": f" a time {n}", "rejected": " zzz qqq" + "x" * n} for n in range(4)),
    )


def test_a_model_against_itself_neither_wins_nor_loses(stories, pairs):
    result = measure_preferences(Subject(stories, stories), PreferenceTaskSettings(data=pairs))
    assert values(result, "win_rate") == [(0.5, 1.0)] * 4 and values(result, "margin") == [(0.0, 1.0)] * 4
    assert score(result, "win_rate").value == 0.5 and score(result, "accuracy").value == 1.0
    alone = measure_preferences(Subject(stories), PreferenceTaskSettings(data=pairs))
    assert [each.name for each in alone.metrics] == ["accuracy", "accuracy_norm"]


def test_margins_are_beta_times_the_difference_of_log_ratios(stories, uniform, tiny, pairs):
    result = measure_preferences(Subject(tiny, uniform), PreferenceTaskSettings(data=pairs, beta=0.5))
    for item in result.items:
        said = item.details
        ratio = (said["chosen"] - said["reference_chosen"]) - (said["rejected"] - said["reference_rejected"])
        assert item.values["margin"][0] == pytest.approx(0.5 * ratio)
        chosen, _ = said["tokens"]
        assert said["reference_chosen"] == pytest.approx(-chosen * math.log(uniform.config.vocab_size), rel=1e-9)


def test_swapped_answers_have_the_opposite_preference(stories, uniform, pairs, tmp_path):
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    swapped = write(
        tmp_path / "swapped.jsonl", *({**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows)
    )
    first, second = (
        measure_preferences(Subject(stories, None), PreferenceTaskSettings(data=path)) for path in (pairs, swapped)
    )
    assert score(first, "accuracy").value == 1 - score(second, "accuracy").value


def test_forgetting_of_a_model_against_itself_is_zero_and_of_a_worse_one_above(stories, tiny, uniform, tmp_path):
    new, old = (
        write(tmp_path / "new.jsonl", {"text": STORY * 12}),
        write(tmp_path / "old.jsonl", {"text": "The dog ran. " * 99}),
    )
    settings = ForgettingSettings(data=new, old_data=old, window=64, stride=64)
    same = measure_forgetting(Subject(stories, stories), settings)
    assert {name: score(same, name).value for name in ("new_change", "old_change")} == {
        "new_change": 0.0,
        "old_change": 0.0,
    }
    found = measure_forgetting(Subject(uniform, stories), settings)
    change = score(found, "old_change")
    assert change.low <= change.value <= change.high and change.low > 0
    absolute = score(found, "old_bits_per_byte")
    assert change.value == pytest.approx(absolute.value - absolute.baseline)
    with pytest.raises(LazarusError, match="needs a reference model") as caught:
        evaluate(stories, [settings])
    assert caught.value.code == "LM-E504"


def tasks_of(tmp_path):
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE)
    return [
        PerplexitySettings(data=write(tmp_path / "texts.jsonl", {"text": STORY}, {"text": "She was sad."})),
        ChoiceSettings(data=write(tmp_path / "mc.jsonl", *choice_rows(2))),
        SuiteSettings(data=suite, max_new_tokens=8),
    ]


def test_a_report_is_the_same_again_for_every_batch_size_and_can_be_read(stories, tmp_path):
    tasks = tasks_of(tmp_path)
    reports = [evaluate(stories, tasks, batch_size=size) for size in (1, 8)]
    assert reports[0].scores == reports[1].scores
    path = tmp_path / "report.json"
    path.write_bytes(reports[0].to_bytes())
    assert (
        load_report(path) == reports[0]
        and evaluate(stories, tasks[1:2]).to_bytes() == evaluate(stories, tasks[1:2]).to_bytes()
    )
    assert {each.task for each in reports[0].scores} == {"perplexity:texts", "choice:mc", "generation:suite"}
    assert all(each.baseline is not None for each in reports[0].scores)
    assert reports[0].tasks[1].data["data"].startswith("sha256:")


def test_a_model_does_not_differ_from_itself_and_differs_from_another(stories, uniform, tmp_path):
    tasks = tasks_of(tmp_path)[:2]
    same = compare_models(stories, stories, tasks)
    differences = [each for each in same.scores if each.metric.endswith("_difference")]
    assert len(differences) == 5
    assert all((each.value, each.low, each.high, each.p) == (0.0, 0.0, 0.0, 1.0) for each in differences)
    other = compare_models(stories, uniform, tasks[:1])
    bits = other.score("perplexity:texts", "bits_per_byte_difference")
    assert bits.p == 0.5  # two of two documents
    assert bits.high < 0 and bits.value == pytest.approx(
        other.score("perplexity:texts", "bits_per_byte").value
        - other.score("perplexity:texts", "bits_per_byte_other").value
    )
    with pytest.raises(KeyError):  # perplexities of two tokenizers are not compared
        other.score("perplexity:texts", "perplexity_difference")


def test_models_with_other_items_are_not_compared(stories, tmp_path):
    first, second = (
        measure_perplexity(Subject(stories), PerplexitySettings(data=write(tmp_path / "t.jsonl", {"text": text})))
        for text in (STORY, STORY * 20)
    )
    with pytest.raises(LazarusError, match=r"task: the two models have different items, such as 0") as caught:
        paired("task", first.items, second.items)
    assert caught.value.code == "LM-E511"


def test_a_prompt_beyond_the_context_is_refused_with_its_place(stories, tmp_path):
    path = write(tmp_path / "maths.jsonl", {"question": STORY * 40, "answer": "1"})
    with pytest.raises(
        LazarusError, match=r"maths.jsonl:1: the prompt has \d+ tokens, the model's context 512"
    ) as caught:
        solve_gsm8k(Subject(stories), Gsm8kSettings(data=path))
    assert caught.value.code == "LM-E505"
    pair = write(tmp_path / "pairs.jsonl", {"prompt": STORY * 40, "chosen": "a", "rejected": "b"})
    with pytest.raises(LazarusError, match=r"pairs.jsonl:1: prompt and answer have \d+ tokens") as caught:
        measure_preferences(Subject(stories), PreferenceTaskSettings(data=pair))
    assert caught.value.code == "LM-E505"


def test_a_limit_draws_the_same_items_for_the_same_seed(stories, tmp_path):
    path = write(tmp_path / "mc.jsonl", *choice_rows(30))
    first, again, other = (
        [each.id for each in score_choices(Subject(stories), ChoiceSettings(data=path, limit=3, seed=seed)).items]
        for seed in (1, 1, 2)
    )
    assert first == again != other and len(first) == 3
    assert first == sorted(first, key=lambda name: int(name[1:]))


def test_tasks_are_checked_before_they_run(stories, tmp_path):
    path = write(tmp_path / "mc.jsonl", *choice_rows(2))
    with pytest.raises(LazarusError, match="two tasks have the name 'choice:mc'"):
        evaluate(stories, [ChoiceSettings(data=path), ChoiceSettings(data=path)])
    with pytest.raises(LazarusError, match="no task to evaluate"):
        evaluate(stories, [])
    with pytest.raises(
        LazarusError, match=r"tasks.toml: there is no task 'chioce' \(did you mean 'choice'\?\)"
    ) as caught:
        task_settings({"kind": "chioce"}, "tasks.toml")
    assert caught.value.code == "LM-E500"
    with pytest.raises(LazarusError, match="x: window: must be at least 2") as caught:
        task_settings({"kind": "perplexity", "data": "a", "window": 1}, "x")
    assert caught.value.code == "LM-E501"
    with pytest.raises(LazarusError, match="exceeds the model's context of 512"):
        evaluate(stories, [PerplexitySettings(data=write(tmp_path / "t.jsonl", {"text": "a"}), window=600)])
    assert task_settings({"kind": "choice", "data": "a.jsonl"}, "x", tmp_path).data == tmp_path / "a.jsonl"
    assert {"perplexity", "choice", "gsm8k", "generation", "preference", "forgetting"} <= set(task_kinds())


def test_a_model_with_nan_is_refused(tiny, tmp_path):
    name, weight = next(iter(weights(tiny.model).items()))
    set_weights(tiny.model, {name: weight * float("nan")})
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    for task in (
        PerplexitySettings(data=write(tmp_path / "t.jsonl", {"text": "abc"})),
        ChoiceSettings(data=write(tmp_path / "mc.jsonl", *choice_rows(1))),
        PreferenceTaskSettings(data=write(tmp_path / "pairs.jsonl", pair)),
    ):
        with pytest.raises(LazarusError, match="is not finite") as caught:
            evaluate(tiny, [task])
        assert caught.value.code == "LM-E509"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "no report of an evaluation"),
        ('{"evaluation_version": 9}', "is newer"),
        ('{"evaluation_version": 1}', "damaged"),
    ],
)
def test_other_files_are_no_reports(tmp_path, content, words):
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(LazarusError, match=words) as caught:
        load_report(path)
    assert caught.value.code == "LM-E507"


@settings(max_examples=examples(10), deadline=None)
@given(cut=st.integers(1, 3))
def test_long_contexts_lose_their_first_tokens(byte_tokenizer, cut):
    from lazarus_models.evaluation.log_likelihoods import encode_pair

    lm = init_model("nano", byte_tokenizer, seed=0)
    room = lm.config.max_position_embeddings
    pair = encode_pair(lm, "a" * (room + cut), "bc", "x:1")
    assert pair.is_cut and len(pair.context) + 1 == room and pair.continuation == list(b"bc")
    with pytest.raises(LazarusError, match="does not fit") as caught:
        encode_pair(lm, "a", "b" * (room + 2), "x:1")
    assert caught.value.code == "LM-E505"


@pytest.mark.parametrize("verdict", [1.0, "yes", SimpleNamespace(reward="much", status="ok")])
def test_a_scorer_that_gives_no_verdicts_is_one_line(verdict):
    with pytest.raises(EvaluationError, match=r"the scorer 'odd' gave .* give verdicts with `reward` and `status`"):
        verdicts(SimpleNamespace(score=lambda answers: [verdict]), "odd", [ScoredAnswer("p", "c", {})])
