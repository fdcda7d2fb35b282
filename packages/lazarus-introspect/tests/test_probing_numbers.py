"""The numbers of probing: against scikit-learn and SciPy, and by their laws."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_introspect.errors import RequestError
from lazarus_introspect.probing import (
    LabelledPrompts,
    calibrate,
    class_direction,
    cluster,
    compare_vectors,
    cross_validate,
    design,
    labelled,
)
from lazarus_introspect.probing.calibration import auroc
from lazarus_introspect.probing.clustering import adjusted_rand, kmeans, silhouette, ward
from lazarus_introspect.probing.cross_validation import better_p
from lazarus_introspect.probing.directions import ledoit_wolf
from lazarus_introspect.probing.folds import grouped_folds, shuffled_rows
from lazarus_introspect.probing.linear import PENALTIES, basis, logistic, ridge
from lazarus_introspect.probing.scores import accuracy_interval, balanced_accuracy, binomial_p, wilson
from lazarus_introspect.probing.selectivity import rank_test
from probing_inputs import CASES, CLUSTERS, case, confidences, points

SAID = json.loads((Path(__file__).parent / "probing_scikit_learn.json").read_text("utf-8"))


@pytest.mark.parametrize("name", CASES)
def test_linear_models_equal_those_of_scikit_learn(name):
    x, y = case(name)
    said = SAID["linear"][name]
    is_test = np.arange(len(x)) % 4 == 0
    base = basis(x[~is_test], x[is_test])
    fit = ridge(base, np.where(y[~is_test] == 1, 1.0, -1.0)[:, None, None])
    assert fit.penalty[0] == pytest.approx(said["penalty"])
    np.testing.assert_allclose(fit.test[:, 0, 0], said["ridge"], atol=1e-8)
    own = x[is_test] @ fit.weights[0, 0]  # the weights are those of the original features
    np.testing.assert_allclose(own - own.mean(), fit.test[:, 0, 0] - fit.test[:, 0, 0].mean(), atol=1e-8)
    odds, weights = logistic(base, y[~is_test] == 1, 0.1)
    np.testing.assert_allclose(odds, said["logistic"], atol=1e-5)
    np.testing.assert_allclose(np.diff(x[is_test] @ weights), np.diff(odds), atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_directions_and_rank_tests_equal_those_of_scikit_learn_and_scipy(name):
    x, y = case(name)
    said = SAID["linear"][name]
    centred = np.concatenate([x[y == each] - x[y == each].mean(axis=0) for each in (0, 1)])
    assert ledoit_wolf(centred) == pytest.approx(said["shrinkage"])
    np.testing.assert_allclose(rank_test(x, y == 1).p[:3], said["mann_whitney"], atol=1e-12)
    found = class_direction(x, y == 1, "lda")
    covariance = centred.T @ centred / len(x)
    shrunk = (1 - said["shrinkage"]) * covariance
    shrunk += said["shrinkage"] * np.trace(covariance) / x.shape[1] * np.eye(x.shape[1])
    means = x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
    np.testing.assert_allclose(found, np.linalg.solve(shrunk, means), rtol=1e-6, atol=1e-9)
    if "lda" in said:
        cosine = found @ said["lda"] / np.linalg.norm(found) / np.linalg.norm(said["lda"])
        assert cosine > 0.99  # scikit-learn shrinks standardised features
    np.testing.assert_allclose(class_direction(x, y == 1, "mean_difference"), means)


def test_clusters_and_scores_equal_those_of_scikit_learn():
    states, classes = points()
    guessed = np.where(np.arange(len(classes)) % 3 == 0, 0, classes)
    assert adjusted_rand(kmeans(states, CLUSTERS), np.array(SAID["kmeans"])) == 1
    assert adjusted_rand(ward(states, CLUSTERS), np.array(SAID["ward"])) == 1
    assert silhouette(states, classes) == pytest.approx(SAID["silhouette"])
    assert adjusted_rand(classes, guessed) == pytest.approx(SAID["adjusted_rand"])
    weights = np.ones(len(classes))
    assert balanced_accuracy(classes, guessed, weights, CLUSTERS) == pytest.approx(SAID["balanced_accuracy"])
    probabilities, right = confidences()
    found = calibrate(probabilities, right)
    assert (found.auroc, found.brier) == (pytest.approx(SAID["auroc"]), pytest.approx(SAID["brier"]))


@given(seed=st.integers(0, 1000), penalty=st.sampled_from(PENALTIES), wide=st.booleans())
def test_leave_one_out_is_a_fit_without_the_row(seed, penalty, wide):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((12, 20 if wide else 3)), rng.standard_normal((12, 2, 1))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    found = ridge(basis(x, x[:1]), y, penalty).held_out
    kept = np.arange(12) != 5
    centred = x[kept] - x[kept].mean(axis=0)
    gram = centred.T @ centred + penalty * x.shape[1] * np.eye(x.shape[1])
    w = np.linalg.solve(gram, centred.T @ (y[kept, :, 0] - y[kept, :, 0].mean(axis=0)))
    expected = y[kept, :, 0].mean(axis=0) + (x[5] - x[kept].mean(axis=0)) @ w
    np.testing.assert_allclose(found[5, :, 0], expected, atol=1e-7)


@given(seed=st.integers(0, 10**6), folds=st.integers(2, 6), classes=st.integers(2, 4), extra=st.integers(0, 30))
def test_folds_keep_groups_whole_and_classes_even(seed, folds, classes, extra):
    rng = np.random.default_rng(seed)
    kinds = np.concatenate([np.repeat(np.arange(classes), folds), rng.integers(0, classes, extra)])
    groups = np.arange(len(kinds))
    repeats = rng.integers(1, 4, len(kinds))
    groups, rows = np.repeat(groups, repeats), np.repeat(kinds, repeats)
    found = grouped_folds(groups, rows, folds=folds, seed=seed)
    assert all(len(set(found[groups == each])) == 1 for each in range(len(kinds)))
    for kind in range(classes):
        counts = np.bincount(found[rows == kind], minlength=folds)
        assert counts.max() - counts.min() <= repeats.max()
    source = shuffled_rows(groups, found, permutations=3, seed=seed)
    assert (found[source] == found[:, None]).all()  # labels stay in their fold
    assert all(len(set(source[groups == each, 0])) == 1 for each in range(len(kinds)))  # equal prompts stay equal
    assert all(len({*source[:, k]}) == len(kinds) for k in range(3))  # every group's label is used once


def test_too_few_prompts_are_refused():
    with pytest.raises(RequestError, match=r"3 different prompts in class 1 of 2, but 5 folds need 5") as found:
        grouped_folds(np.arange(13), np.array([0] * 3 + [1] * 10), folds=5, seed=0)
    assert found.value.code == "LI-E081"


def prepared(classes, *, seed=0, keys=None, permutations=99, **settings):
    """The design of classes, or of numbers."""
    labels = [f"class {each}" for each in classes] if np.asarray(classes).dtype.kind == "i" else list(classes)
    keys = [(each,) for each in range(len(labels))] if keys is None else keys
    found = labelled([str(each) for each in keys], labels)
    return design(found, keys, [each[0] for each in keys], permutations=permutations, seed=seed, **settings)


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_a_planted_class_is_found_and_its_direction_too(kind):
    rng = np.random.default_rng(1)
    classes = np.arange(90) % 3
    x = rng.standard_normal((90, 40))
    x[np.arange(90), classes] += 3
    found = cross_validate(x, prepared(classes, permutations=19 if kind == "logistic" else 99), kind=kind)
    assert found.score > 0.85 and found.interval.low > 0.7 and found.selectivity > 0.4
    assert found.p == (0.05 if kind == "logistic" else 0.01) and 0.25 < found.shuffled_mean < 0.42
    for method in ("mean_difference", "lda", "ridge"):
        direction = class_direction(x, classes == 1, method)
        assert np.abs(direction).argmax() in (0, 1, 2) and direction[1] > 0


def test_a_planted_number_is_found():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((100, 30))
    values = 2 * x[:, 0] - x[:, 1] + 0.3 * rng.standard_normal(100) + 7
    found = cross_validate(x, prepared(values))
    assert found.score > 0.9 and found.interval.low > 0.85 and found.p == 0.01
    assert found.shuffled_high < 0.2


def test_a_rare_class_is_not_overruled():
    rng = np.random.default_rng(3)
    classes = (np.arange(200) % 10 == 0).astype(int)
    x = rng.standard_normal((200, 5))
    x[:, 0] += 2 * classes
    for kind in ("ridge", "logistic"):
        found = cross_validate(x, prepared(classes, permutations=9), kind=kind)
        assert min(found.recalls) > 0.65, kind


@pytest.mark.parametrize("settings", [{"uneven": False}, {"uneven": True}, {"numeric": True}])
@pytest.mark.thorough
def test_permuted_labels_give_chance_at_the_stated_rate(settings):
    """200 sets of random labels: p <= 0.1 in a share of 0.1, within 3.5 standard errors."""
    rng = np.random.default_rng(4)
    ps, scores = [], []
    for seed in range(200):
        x = rng.standard_normal((40, 12)) @ rng.standard_normal((12, 12))
        labels = rng.permutation((np.arange(40) % (5 if settings.get("uneven") else 2) == 0).astype(int))
        if settings.get("numeric"):
            labels = rng.standard_normal(40)
        found = cross_validate(x, prepared(labels, seed=seed, permutations=49))
        ps.append(found.p)
        scores.append(found.score - found.shuffled_mean)
    assert abs(np.mean(np.array(ps) <= 0.1) - 0.1) < 3.5 * np.sqrt(0.1 * 0.9 / 200)
    assert abs(np.mean(scores)) < 4 * np.std(scores) / np.sqrt(200)


def test_repeated_prompts_do_not_leak():
    """Each prompt occurs 4 times; without groups a probe of random labels would remember them."""
    rng = np.random.default_rng(5)
    once = rng.permutation(np.arange(40) % 2)
    x = np.repeat(rng.standard_normal((40, 60)), 4, axis=0)
    classes = np.repeat(once, 4)
    leaking = cross_validate(x, prepared(classes, permutations=19))
    keys = [(each,) for each in np.repeat(np.arange(40), 4)]
    honest = cross_validate(x, prepared(classes, keys=keys, permutations=19))
    assert leaking.score > 0.9 and honest.score < 0.75 and honest.p > 0.05
    alone = cross_validate(x[::4], prepared(once, permutations=19))
    width = honest.interval.high - honest.interval.low
    assert width == pytest.approx(alone.interval.high - alone.interval.low, abs=0.03)  # copies do not narrow it


def test_a_control_task_exposes_a_probe_that_remembers_tokens():
    """Types recur in several prompts and the features are their one-hot vectors: any labelling of types is learned."""
    rng = np.random.default_rng(6)
    types = np.repeat(np.arange(20), 6)
    classes = (rng.permutation(20) % 2)[types]
    keys = [(each, place) for place, each in enumerate(types)]
    found = cross_validate(np.eye(20)[types], prepared(classes, keys=keys))
    assert found.score > 0.95 and found.control > 0.9 and abs(found.selectivity) < 0.1


def test_a_probe_is_compared_with_another_of_the_same_prompts():
    rng = np.random.default_rng(7)
    classes = np.arange(80) % 2
    x = rng.standard_normal((80, 10))
    plan = prepared(classes, permutations=9)
    weak = cross_validate(x, plan)
    x[:, 0] += 4 * classes
    strong = cross_validate(x, plan)
    assert better_p(strong, weak, seed=0) < 0.01 and better_p(weak, strong, seed=0) > 0.9
    assert better_p(strong, strong, seed=0) == 1


def test_intervals_cover_the_truth():
    """Of 300 intervals of a classifier with recalls 0.9 and 0.6, at least 92 % contain 0.75."""
    rng = np.random.default_rng(8)
    classes = np.arange(60) % 2
    hits = 0
    for seed in range(300):
        right = rng.random(60) < np.where(classes == 0, 0.9, 0.6)
        low, high = accuracy_interval(classes, np.where(right, classes, 1 - classes), np.ones(60), 2, seed=seed)
        hits += low <= 0.75 <= high
    assert hits >= 276
    low, high = accuracy_interval(classes, classes, np.ones(60), 2, seed=0)
    assert low < 0.97 and high == 1  # all right, and still not certain


@given(right=st.integers(0, 30), more=st.integers(0, 30))
def test_intervals_of_shares_contain_them(right, more):
    total = right + more
    low, high = wilson(right, total)
    assert 0 <= low <= (right / total if total else 0.5) <= high <= 1
    if total:
        exact = sum(np.random.default_rng(0).binomial(total, 0.3, 20_000) >= right) / 20_000
        assert abs(binomial_p(right, total, 0.3) - exact) < 0.02


def test_random_directions_have_the_stated_percentiles():
    rng = np.random.default_rng(9)
    found = compare_vectors(list(rng.standard_normal((40, 64))))
    pairs = found.p[np.triu_indices(40, 1)]
    assert abs(np.mean(pairs <= 0.05) - 0.05) < 0.03
    assert (np.diag(found.cosines) == pytest.approx(1)) and (np.diag(found.p) < 1e-4).all()
    two = compare_vectors([np.array([1.0, 0, 0]), np.array([-1.0, 0, 0])])
    assert two.cosines[0, 1] == -1 and two.percentiles[0, 1] == 1
    with pytest.raises(RequestError):
        compare_vectors([np.ones(3), np.ones(4)])


def test_clusters_are_found_and_structureless_states_have_none():
    states, _ = points()
    for algorithm in ("kmeans", "ward"):
        found = cluster(states, CLUSTERS, algorithm=algorithm, nulls=39)
        assert found.p == 1 / 40 and found.silhouette > found.null.max()
    rng = np.random.default_rng(10)
    ps = [cluster(rng.standard_normal((30, 4)) * [3, 1, 1, 1], 3, nulls=19, seed=seed).p for seed in range(30)]
    assert np.mean(np.array(ps) <= 0.05) < 0.2
    with pytest.raises(RequestError):
        cluster(np.ones((10, 3)), 2)


def test_random_neurons_are_selective_at_the_stated_rate():
    rng = np.random.default_rng(11)
    is_own = np.arange(60) % 3 == 0
    neurons = rng.standard_normal((60, 2000))
    quiet = rank_test(neurons, is_own)
    assert abs(np.mean(quiet.p <= 0.05) - 0.05) < 0.02 and (quiet.q <= 0.05).sum() == 0
    neurons[:, 7] += 3 * is_own
    found = rank_test(neurons, is_own)
    assert np.flatnonzero(found.q <= 0.05).tolist() == [7] and found.auc[7] > 0.9
    assert rank_test(np.ones((60, 2)), is_own).p.tolist() == [1, 1]  # a silent neuron


def test_calibrated_confidences_are_seen_as_such():
    rng = np.random.default_rng(12)
    ps = []
    for seed in range(20):
        confidence = rng.random(150)
        ps.append(calibrate(confidence, rng.random(150) < confidence, seed=seed).ece_p)
    assert min(ps) > 0.005 and np.mean(np.array(ps) <= 0.05) < 0.25
    sure = calibrate(np.full(100, 0.99), np.arange(100) % 2 == 0)
    assert sure.ece == pytest.approx(0.49) and sure.ece_p < 0.001 and sure.ece_interval.low > 0.35
    assert sure.auroc == 0.5 and sure.brier > sure.brier_baseline == 0.25
    assert [each.answers for each in sure.bins] == [0] * 9 + [100]
    assert calibrate(np.array([1.0]), np.array([True])).auroc is None
    for wrong in (np.array([1.5]), np.array([np.nan]), np.zeros(0)):
        with pytest.raises(RequestError):
            calibrate(wrong, np.ones(len(wrong), bool))
    assert auroc(np.array([0.1, 0.1]), np.array([True, False])) == 0.5


def test_labels_of_one_kind_and_number():
    assert labelled(["a", "b"], [1, 2]).is_numeric and LabelledPrompts(("a", "b"), ("x", "y")).names == ("x", "y")
    for prompts, labels in (
        (["a"], ["x", "y"]),
        (["a", "b"], ["x", 1]),
        (["a", "b"], ["x", "x"]),
        (["a", "b"], [1, 1]),
    ):
        with pytest.raises(RequestError):
            labelled(prompts, labels)
