"""Probing of models and of synthetic states: planted evidence is found, and models without arithmetic have none."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import suite
from lazarus_introspect import ModelAnalyzer, logit_lens, run_with_cache, run_with_hooks
from lazarus_introspect.causal import load_direction
from lazarus_introspect.errors import RequestError, SiteError
from lazarus_introspect.probing import (
    ArithmeticConfig,
    ClustersConfig,
    CommutativityConfig,
    EmbeddingConfig,
    NeuronsConfig,
    OperandsConfig,
    ProbeConfig,
    Question,
    UncertaintyConfig,
    arithmetic,
    cluster_prompts,
    commutativity,
    labelled,
    operand_directions,
    probe_embeddings,
    probe_prompts,
    read_features,
    read_labelled,
    read_questions,
    selective_neurons,
    site_names,
    uncertainty,
)
from lazarus_introspect.probing.computation.commuted import CONTROLS, largest_p, matched_pairs, pair_figures
from lazarus_introspect.probing.computation.operands import corrected, one_hot_tokens, operand_figures, variance_shares
from lazarus_introspect.probing.computation.problems import (
    Problem,
    answer_problems,
    baseline_of,
    check_template,
    check_values,
    seeded_problems,
    share_of,
)
from lazarus_introspect.probing.features import last_types, shared_ends, token_counts
from lazarus_models import init_model
from lazarus_models.backend import mx
from lazarus_tokenkit import load_tokenizer

GOOD = ("happy", "glad", "merry", "kind", "nice", "brave", "proud", "good")
BAD = ("sad", "angry", "mean", "bad", "scared", "upset", "hurt", "lost")
PROMPTS = [f"{who} was {word} and" for word in (*GOOD, *BAD) for who in ("Tom", "Lily")]
MOODS = ["good"] * 16 + ["bad"] * 16


@pytest.fixture(scope="module")
def analyzer(stories):
    return ModelAnalyzer(stories)


@pytest.fixture(scope="module")
def untrained():
    """Models of random weights, by seed."""
    byte = load_tokenizer("byte")
    return lambda seed: ModelAnalyzer(init_model("tiny-test", byte, seed=seed))


# features


def test_features_are_the_activations_of_the_prompt(analyzer):
    rows = [[1, 5, 9, 33, 7], [1, 8, 9, 33, 7], [1, 5, 5, 5, 6, 33, 7], [1, 5, 9, 33, 7]]
    assert shared_ends(rows) == (1, 2)
    names = ["blocks.2.resid_pre", "blocks.1.mlp.post", "resid_final"]
    found = read_features(analyzer.lm, rows, names, ["last", "last_varying", "mean"])
    for place, row in enumerate(rows):
        cache = run_with_cache(analyzer.lm, [row], names)[1]
        for name in names:
            values = np.array(cache[name][0], float)
            expected = {"last": values[-1], "last_varying": values[-3], "mean": values[1:-2].mean(axis=0)}
            for pooling, vector in expected.items():
                np.testing.assert_allclose(found[name, pooling][place], vector, atol=1e-5)
    assert (found["resid_final", "last"][0] == found["resid_final", "last"][3]).all()
    assert token_counts(rows).tolist() == [[1, 0, 0, 1], [0, 0, 1, 1], [3, 1, 0, 0], [1, 0, 0, 1]]  # 5, 6, 8, 9
    assert last_types(rows) == [9, 9, 6, 9]


@pytest.mark.parametrize("name", [*suite.FAMILIES, "llama+4bit", "gemma3_text+4bit", "qwen3+lora"])
def test_features_of_a_batch_are_those_of_each_prompt_in_every_family(name, opened):
    lm = opened(name)
    rows = [[1, 5, 9, 33, 7], [1, 8, 9, 33, 7], [1, 5, 5, 60, 6, 33, 7]]
    names = [*site_names(lm), *([] if name == "mamba" else site_names(lm, "mlp_out")[:1])]
    found = read_features(lm, rows, names, ["last", "mean"])
    for place, row in enumerate(rows):
        cache = run_with_cache(lm, [row], names)[1]
        for site in names:
            values = np.array(cache[site][0].astype(mx.float32), float)
            limit = 1e-4 * max(1.0, np.abs(values).max())
            assert np.abs(found[site, "last"][place] - values[-1]).max() < limit
            assert np.abs(found[site, "mean"][place] - values[1:-2].mean(axis=0)).max() < limit
    answers = answer_problems(lm, [Problem(2, "+", 3), Problem(12, "*", 3)], "{a}{op}{b}=")
    assert [len(ranks[0]) for ranks in answers.ranks] == [len(site_names(lm))] * 2


def test_sites_are_layers_of_the_stream_or_of_blocks(analyzer, opened):
    assert site_names(analyzer.lm) == [*(f"blocks.{layer}.resid_pre" for layer in range(5)), "resid_final"]
    assert site_names(analyzer.lm, "mlp_out", [1]) == ["blocks.1.mlp_out"]
    for call, error, code in (
        (lambda: site_names(analyzer.lm, layers=[6]), RequestError, "LI-E140"),
        (lambda: site_names(analyzer.lm, "attn.z"), RequestError, "LI-E083"),
        (lambda: site_names(analyzer.lm, "moe.router_logits"), SiteError, "LI-E101"),
        (lambda: site_names(analyzer.lm, "nix"), SiteError, "LI-E100"),
    ):
        with pytest.raises(error) as found:
            call()
        assert found.value.code == code
    assert len(site_names(opened("jamba"), "attn_out")) < len(site_names(opened("jamba"), "resid")) - 1


# probes


def test_a_probe_is_compared_with_words_and_chance(analyzer, tmp_path):
    labels = labelled(PROMPTS, MOODS)
    path = tmp_path / "mood.json"
    config = ProbeConfig(layers=(0, 3, 5), permutations=99)
    asked = ["Tim was sad and", PROMPTS[0]]
    found = probe_prompts(analyzer, labels, config, predict=asked, direction="lda", output=path)
    assert [each.features for each in found.probes] == ["blocks.0.resid_pre", "blocks.3.resid_pre", "resid_final"]
    assert found.probes[0].verdict == "chance"  # the embedding of `and` is the same in all
    assert (found.classes, found.majority, found.different) == ({"bad": 16, "good": 16}, 0.5, 32)
    assert found.lexical.lexical_q is None and not found.lexical.is_above_lexical
    for each in found.probes:
        assert each.low <= each.score <= each.high and each.baseline == 0.5
        assert abs(each.selectivity - (each.score - each.control)) < 1e-12
        assert each.is_above_lexical == (each.q <= 0.05 and each.lexical_q <= 0.05)
    assert found.predictions[1].label == "good"  # a prompt of the fit
    assert set(found.predictions[0].outputs) == {"bad", "good"}
    made = load_direction(path)
    assert (made.site, made.positive, made.weights) == (found.direction.site, "good", found.provenance.weights)
    assert np.linalg.norm(made.vector) == pytest.approx(found.direction.norm, rel=1e-5)
    assert analyzer.steer("Tom was", direction=made, alpha=1.0, max_new_tokens=2).kl > 0
    again = probe_prompts(analyzer, labels, config, predict=asked, direction="lda")
    assert again.to_json() == found.to_json()
    said = json.loads(found.to_json())
    assert (said["analysis"], len(said["prompt_ids"]), said["request"]["seed"]) == ("probe", 32, 0)


def test_numbers_are_probed_by_r2(analyzer):
    prompts = [f"{'very ' * (n % 6)}big {word}" for n, word in enumerate(GOOD * 4)]
    found = probe_prompts(
        analyzer, labelled(prompts, [n % 6 for n in range(32)]), ProbeConfig(layers=(2,), pooling="mean")
    )
    assert found.probes[0].measure == "R2" and found.lexical.score > 0.9 and found.classes == {}
    assert not found.probes[0].is_above_lexical  # the number of words is what a bag of tokens tells


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_shuffled_labels_of_a_model_are_chance(kind, analyzer):
    shuffled = np.random.default_rng(0).permutation(MOODS).tolist()
    config = ProbeConfig(layers=(3,), permutations=19, kind=kind)
    found = probe_prompts(analyzer, labelled(PROMPTS, shuffled), config)
    assert found.probes[0].verdict == "chance" and 0.3 < found.probes[0].shuffled < 0.7


def test_what_does_not_fit_a_probe_is_refused(analyzer, tmp_path):
    labels = labelled(PROMPTS, MOODS)
    three = labelled(PROMPTS, [*MOODS[:-6], *["none"] * 6])
    for call, code in (
        (lambda: probe_prompts(analyzer, three, direction="lda"), "LI-E082"),
        (lambda: probe_prompts(analyzer, labelled(PROMPTS, range(32)), ProbeConfig(kind="logistic")), "LI-E082"),
        (lambda: probe_prompts(analyzer, labelled(PROMPTS[:3] * 6, ["a", "b", "b"] * 6)), "LI-E081"),
        (lambda: probe_prompts(analyzer, labels, ProbeConfig(layers=(9,))), "LI-E140"),
    ):
        with pytest.raises(RequestError) as found:
            call()
        assert found.value.code == code
    path = tmp_path / "rows.jsonl"
    for row in (
        '{"prompt": "a"}',
        '{"prompt": "", "label": "x"}',
        '{"prompt": "a", "label": null}',
        '{"prompt": "a", "label": ""}',
    ):
        path.write_text(row + "\n", "utf-8")
        with pytest.raises(RequestError, match=r"rows.jsonl:1: `") as found:
            read_labelled(path)
        assert found.value.code == "LI-E080"
    path.write_text('{"prompt": "a", "label": true}\n{"prompt": "b", "label": false}\n', "utf-8")
    assert read_labelled(path).names == ("false", "true")
    path.write_text('{"prompt": "a", "label": 1}\n{"prompt": "b", "label": 2.5}\n', "utf-8")
    assert read_labelled(path).values.tolist() == [1, 2.5]


def test_embeddings_tell_no_more_than_words(analyzer, untrained):
    for each in (analyzer, untrained(0)):
        found = probe_embeddings(each, config=EmbeddingConfig(prompts_per_task=12, permutations=19))
        assert found.claims == () and found.classes == dict.fromkeys(
            ("addition", "multiplication", "question", "sentence"), 12
        )
        assert [lexical.target for lexical in found.lexical] == ["task", "left operand", "right operand", "result"]
        assert found.lexical[0].score > 0.9 and len(found.probes) == 8
    own = probe_embeddings(analyzer, labelled(PROMPTS, MOODS), EmbeddingConfig(permutations=19))
    assert {each.target for each in own.probes} == {"label"}


# neurons and clusters


def test_neurons_are_corrected_for_their_number(analyzer):
    shuffled = np.random.default_rng(1).permutation(MOODS).tolist()
    found = selective_neurons(analyzer, labelled(PROMPTS, shuffled), NeuronsConfig(raw=True))
    assert found.tested == 5 * 172 and found.significant == 0 and found.neurons == ()
    assert abs(found.uncorrected - found.expected_by_chance) < 40  # of 43; neurons are not independent
    words = [f"{who} {word}" for word in ("likes", "sat") for who in (*GOOD, *BAD)]
    found = selective_neurons(
        analyzer, labelled(words * 2, (["a"] * 16 + ["b"] * 16) * 2), NeuronsConfig(layers=(0,), top=5)
    )
    assert len(found.neurons) == 5 and all(each.q <= 0.05 for each in found.neurons)
    ids = [[list(each) for each in found.prompt_ids][place] for place in range(32)]
    values = np.array(
        [
            np.array(run_with_cache(analyzer.lm, [row], "blocks.0.mlp.post")[1]["blocks.0.mlp.post"][0, -1])
            for row in ids
        ]
    )
    best = found.neurons[0]
    mine, others = (values[half, best.neuron] for half in (slice(16, 32), slice(0, 16)))
    assert best.auc == pytest.approx(np.mean(mine[:, None] > others[None]), abs=0.01)
    with pytest.raises(RequestError):
        selective_neurons(analyzer, labelled(PROMPTS[:4] + PROMPTS[-12:], MOODS[:4] + MOODS[-12:]))


def test_clusters_of_two_kinds_of_prompts(analyzer):
    kinds = [f"Once upon a time {word}" for word in GOOD] + [f"{word} {word} {word} 7" for word in BAD]
    found = cluster_prompts(
        analyzer, kinds, ["a"] * 8 + ["b"] * 8, ClustersConfig(layers=(1, 5), pooling="mean", nulls=19)
    )
    assert [each.site for each in found.sites] == ["blocks.1.resid_pre", "resid_final"]
    assert found.sites[0].agreement == 1 and found.sites[0].agreement_p < 0.01
    assert len(set(found.sites[0].assigned)) == 2


# operands


@given(seed=st.integers(0, 10**6), a=st.integers(2, 5), b=st.integers(2, 5), width=st.integers(1, 6))
def test_shares_of_variance_sum_to_one_and_additive_states_do_not_interact(seed, a, b, width):
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((a, 1, width)), rng.standard_normal((1, b, width))
    additive = variance_shares(left + right + 3)
    assert sum(additive) == pytest.approx(1) and abs(additive.interaction) < 1e-12
    found = variance_shares(left * right)
    assert sum(found) == pytest.approx(1) and min(found) >= 0
    assert found.interaction > 0
    swapped = variance_shares((left * right).swapaxes(0, 1))
    assert swapped.left == pytest.approx(found.right)
    assert variance_shares(left + 0 * right).left == pytest.approx(1)


VALUES = list(range(2, 10))


def planted(seed, noise=0.3):
    """States that hold both values along two directions, and the identity of each operand."""
    rng = np.random.default_rng(seed)
    one, other = rng.standard_normal((2, 32))
    values = np.array(VALUES)
    named = [0.3 * rng.standard_normal((8, 32)) for _ in range(2)]
    states = values[:, None, None] * one + values[None, :, None] * other + named[0][:, None] + named[1][None]
    return states + noise * rng.standard_normal(states.shape)


def words_of_grid():
    return one_hot_tokens([(a, 50, b, 51) for a in VALUES for b in VALUES]).reshape(8, 8, -1)


def test_planted_values_are_found_above_words():
    found = operand_figures(planted(0), VALUES, lexical=words_of_grid())
    for each in found.operands:
        assert each.value_r2 > 0.9 and each.is_evident and each.lexical_r2 < 0.1
        assert each.identity_accuracy > 0.8 and each.identity_lexical == 1 and each.identity_chance == 1 / 8
    assert found.interaction_share < 0.02 < found.shuffled_interaction and found.interaction_p < 0.01
    assert found.left_share + found.right_share + found.interaction_share == pytest.approx(1)


def test_a_value_that_is_written_differently_for_each_other_operand_does_not_generalise():
    rng = np.random.default_rng(3)
    ways = rng.standard_normal((2, 32))[np.arange(8) % 2]  # one direction for every second right operand
    states = np.array(VALUES)[:, None, None] * ways + 0.1 * rng.standard_normal((8, 8, 32))
    assert operand_figures(states, VALUES, permutations=19).operands[0].value_r2 < 0.5
    same = operand_figures(np.array(VALUES)[:, None, None] * ways[:1] + 0.1 * rng.standard_normal((8, 8, 32)), VALUES)
    assert same.operands[0].value_r2 > 0.95


def test_states_that_only_name_the_operands_are_no_evidence_at_the_stated_rate():
    """A random vector for each value, as in a random model: p <= 0.1 in a share of 0.1 of 60 grids."""
    ps = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        states = (
            rng.standard_normal((8, 1, 24)) + rng.standard_normal((1, 8, 24)) + 0.1 * rng.standard_normal((8, 8, 24))
        )
        found = operand_figures(states, VALUES, permutations=39, seed=seed)
        ps += [each.p for each in found.operands]
        assert found.operands[0].identity_accuracy > 0.7
    assert abs(np.mean(np.array(ps) <= 0.1) - 0.1) < 3.5 * np.sqrt(0.09 / 60)


def test_p_values_are_corrected_over_sites():
    sites = corrected([operand_figures(planted(seed), VALUES, permutations=19) for seed in range(2)])
    assert all(each.q == pytest.approx(0.05) for site in sites for each in site.operands)
    mixed = corrected(
        [operand_figures(np.random.default_rng(seed).standard_normal((8, 8, 4)), VALUES) for seed in range(3)]
    )
    assert all(each.q >= each.p for site in mixed for each in site.operands)


# commuted pairs


def test_commutative_states_are_found_and_ordered_ones_are_not():
    rng = np.random.default_rng(0)
    half = rng.standard_normal((8, 8, 20))
    states = half + half.swapaxes(0, 1) + 0.5 * rng.standard_normal((8, 8, 20))
    found = pair_figures(states)
    assert found.advantage > 0.5 and found.auc > 0.95 and found.p < 0.01
    ordered = rng.standard_normal((8, 1, 20)) + rng.standard_normal((1, 8, 20))
    assert pair_figures(ordered).advantage < 0.1
    ps = [
        pair_figures(np.random.default_rng(seed).standard_normal((6, 6, 10)), permutations=39).p for seed in range(60)
    ]
    assert abs(np.mean(np.array(ps) <= 0.1) - 0.1) < 3.5 * np.sqrt(0.09 / 60)
    assert pair_figures(np.ones((4, 4, 3))).advantage == 0


def test_an_operator_is_ranked_among_other_symbols():
    rng = np.random.default_rng(1)
    ps = [largest_p(rng.standard_normal((20, 6))) for _ in range(200)]
    assert abs(np.mean(np.array(ps) <= 0.1) - 0.1) < 3.5 * np.sqrt(0.09 / 200)
    table = rng.standard_normal((20, 6))
    table[0, 3] += 20
    assert largest_p(table) == 0.05
    known = matched_pairs(4)
    assert all(known.pairs[known.partner[place]] == (b, a) for place, (a, b) in enumerate(known.pairs))
    assert (known.shares_one.sum(axis=1) == 8).all()  # 4 x (4 - 2) pairs share exactly one operand
    assert len(set(CONTROLS)) == len(CONTROLS) == 42 and not {"*", "+", "x", "="} & set(CONTROLS)


def test_a_bag_of_words_is_no_evidence_of_commutativity(untrained):
    """Random models mix words regardless of order: commuted states are alike, and as alike with any symbol."""
    ps = []
    for seed in range(4):
        found = commutativity(
            untrained(seed), CommutativityConfig(controls=19, values=(2, 3, 4, 5, 6), permutations=19)
        )
        assert not found.has_evidence and found.conclusion.startswith("no evidence")
        assert found.sites[1].advantage > 0.3 and found.sites[1].p == 0.05  # like a bag of words
        ps.append(found.p)
    assert max(ps) > 0.1


def test_too_few_control_symbols_are_an_error():
    lm = init_model("tiny-test", load_tokenizer("char:0123456789*=-/!"), seed=0)
    with pytest.raises(RequestError, match=r"^[3-5] symbols have .* and `controls` asks for 39") as found:
        commutativity(ModelAnalyzer(lm), CommutativityConfig())
    assert found.value.code == "LI-E089"


def test_a_model_without_arithmetic_has_no_evidence(analyzer):
    settings = {"values": (2, 3, 4, 5, 6), "permutations": 19}
    found = operand_directions(analyzer, OperandsConfig(**settings))
    assert not found.has_evidence and found.conclusion == "no evidence: the model's answers are not above the baseline"
    assert found.accuracy.right == 0 and len(found.sites) == 6
    assert not any(each.is_evident for site in found.sites for each in site.operands)
    other = commutativity(analyzer, CommutativityConfig(controls=19, **settings))
    assert not other.has_evidence and other.conclusion.startswith("no evidence") and other.p > 0.05
    assert len(other.controls) == 19 and other.behaviour.agreement == 1  # it answers everything alike
    result = arithmetic(analyzer, ArithmeticConfig(count=5))
    assert not result.has_evidence and result.conclusion.startswith("no evidence")
    assert (result.emergence, result.overall.right, len(result.layers)) == (None, 0, 6)


# arithmetic


def test_answers_are_read_as_greedy_decoding_gives_them(analyzer):
    """Rank and margin of each answer token equal those of the lens of the whole text."""
    problems = [Problem(2, "+", 3), Problem(7, "*", 8), Problem(30, "-", 4)]
    found = answer_problems(analyzer.lm, problems, "{a}{op}{b}=")
    tokenizer = analyzer.lm.tokenizer
    for place, problem in enumerate(problems):
        answer = (tokenizer.continuation or tokenizer).encode(str(problem.answer))
        ids = [*found.prompts[place].ids, *answer]
        lens = np.array(logit_lens(analyzer.lm, [ids])[:, 0], float)
        start = len(found.prompts[place].ids) - 1
        for k, token in enumerate(answer):
            rows = lens[:, start + k]
            expected = 1 + (rows > rows[:, [token]]).sum(axis=1)
            assert found.ranks[place][k].tolist() == expected.tolist()
        final = lens[-1, start]
        assert found.tops[place] == final.argmax()
        assert found.margins[place] == pytest.approx(final[answer[0]] - np.delete(final, answer[0]).max(), abs=1e-4)


def test_accuracy_counts_every_token_and_emergence_is_stable(analyzer):
    problems = [Problem(2, "+", 3), Problem(7, "*", 8)]
    found = answer_problems(analyzer.lm, problems, "{a}{op}{b}=")
    for ranks in found.ranks:
        ranks[:] = 1
    found.ranks[1][0, 2] = 4
    assert found.is_right[1].tolist() == [True, True, False, True, True, True]
    assert found.emergence == [0, 3]
    found.ranks[1][-1, -1] = 2
    assert found.emergence == [0, None]


@given(seed=st.integers(0, 100), digits=st.integers(1, 9), count=st.integers(1, 20), operator=st.sampled_from("+-*"))
def test_seeded_problems_are_different_and_as_asked(seed, digits, count, operator):
    found = seeded_problems([operator], [digits], count, seed=seed)
    assert found == seeded_problems([operator], [digits], count, seed=seed)
    assert len(set(found)) == len(found) and len(found) <= count
    assert all(len(str(each.left)) == len(str(each.right)) == digits for each in found)
    assert operator != "-" or all(each.answer >= 0 for each in found)


def test_baselines_are_strategies_without_arithmetic():
    grid = [Problem(a, "*", b) for a in range(1, 4) for b in range(1, 4)]
    assert baseline_of(grid) == 3 / 9  # a copied operand is right where the other one is 1
    assert baseline_of([Problem(5, "-", 5), Problem(6, "-", 6)]) == 1  # always 0
    share = share_of([True] * 9, grid)
    assert (share.right, share.total, share.high) == (9, 9, 1) and share.p == pytest.approx((1 / 3) ** 9)


def test_settings_of_problems_are_checked(analyzer):
    for call in (
        lambda: check_template("{a}{b}="),
        lambda: check_template("{a}{op}{b}{b}"),
        lambda: check_values([1, 2, 3]),
        lambda: check_values([*range(41)]),
        lambda: seeded_problems(["/"], [1], 1, seed=0),
        lambda: seeded_problems(["+"], [10], 1, seed=0),
        lambda: commutativity(analyzer, CommutativityConfig(operator="-")),
        lambda: arithmetic(analyzer, ArithmeticConfig(operators=())),
    ):
        with pytest.raises(RequestError) as found:
            call()
        assert found.value.code == "LI-E089"


# uncertainty


def test_uncertainty_is_that_of_the_output(analyzer, tmp_path):
    found = uncertainty(analyzer, [Question("Once upon a"), Question("Tom")])
    for row, ids in zip(found.rows, found.prompt_ids, strict=True):
        logits = np.array(run_with_hooks(analyzer.lm, [list(ids)])[0, -1], float)
        p = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert row.entropy == pytest.approx(-(p * np.log(p)).sum(), abs=1e-4)
        assert row.top_probability == pytest.approx(p.max(), abs=1e-5)
        assert row.margin == pytest.approx(np.sort(p)[-1] - np.sort(p)[-2], abs=1e-5)
        assert row.is_right is None and row.confidence is None
    assert found.calibration == ()


def test_confidence_is_that_of_the_whole_answer(analyzer):
    questions = [Question("Once upon a", " time"), Question("Once upon a time, there was a little", " girl named")]
    questions += [Question("Lily and", " zzz"), Question("Tom was", " 9")]
    found = uncertainty(analyzer, questions, UncertaintyConfig(samples=200))
    assert [each.is_right for each in found.rows] == [True, True, False, False]
    tokenizer = analyzer.lm.tokenizer.continuation or analyzer.lm.tokenizer
    for row, prompt in zip(found.rows[:2], found.prompt_ids, strict=False):
        answer = tokenizer.encode(row.answer)
        logits = run_with_hooks(analyzer.lm, [[*prompt, *answer]])[0].astype(mx.float32)
        logs = np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
        total = sum(logs[len(prompt) - 1 + k, token] for k, token in enumerate(answer))
        assert row.confidence == pytest.approx(np.exp(total), abs=1e-4)
        assert abs(row.agreement - row.confidence) < 4 * np.sqrt(0.25 / 200)  # at temperature 1 it is its estimate
    assert [each.confidence_of for each in found.calibration] == ["probability", "agreement"]
    assert found.calibration[0].accuracy == 0.5 and found.calibration[0].answers == 4
    cold = uncertainty(analyzer, questions, UncertaintyConfig(samples=50, temperature=0.01))
    assert all(each.agreement == 1 for each in cold.rows)
    assert uncertainty(analyzer, questions, UncertaintyConfig(samples=50, seed=3)) == uncertainty(
        analyzer, questions, UncertaintyConfig(samples=50, seed=3)
    )


def test_questions_are_checked(analyzer, tmp_path):
    path = tmp_path / "rows.jsonl"
    for content in ("", '{"prompt": "a"}\n', '{"prompt": "a", "answer": 3}\n', '{"prompt": "", "answer": "b"}\n'):
        path.write_text(content, "utf-8")
        with pytest.raises(RequestError) as found:
            read_questions(path)
        assert found.value.code == "LI-E088"
    path.write_text('{"prompt": "a", "answer": "b"}\n', "utf-8")
    assert read_questions(path) == [Question("a", "b")]
    for questions, settings in (
        ([], {}),
        ([Question("a"), Question("b", "c")], {}),
        ([Question("a")], {"samples": 2}),
        ([Question("a", "b " * 400)], {}),
    ):
        with pytest.raises(RequestError) as found:
            uncertainty(analyzer, questions, UncertaintyConfig(**settings))
        assert found.value.code == "LI-E088"
