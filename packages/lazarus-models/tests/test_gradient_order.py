"""Sums of gradients in a fixed order: equal inputs give equal bits, whatever the device."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_models import load
from lazarus_models.backend import mx, nn, on_cpu
from lazarus_models.components import SwitchGLU
from lazarus_models.composition import tiny_config
from lazarus_models.families import ModelFamilyType, family_of
from lazarus_models.ops import gather, gather_rows, has_fixed_gradient_order, set_gradient_order, sum_rows_by_id
from lazarus_models.ops.depthwise import depthwise_convolution
from lazarus_models.trees import evaluate, flatten
from suite import FAMILIES, thinned

TINY = [family.value for family in ModelFamilyType if family != ModelFamilyType.COMPOSED]


@pytest.fixture
def order():
    """Sets the order of gradients for a test; `fixed` at its start."""
    set_gradient_order("fixed")
    yield set_gradient_order
    set_gradient_order(None)


def nodes(tree, folder, name):
    """The nodes of a graph that is not computed yet whose names match a pattern."""
    path = folder / "graph.dot"
    mx.export_to_dot(str(path), *flatten(tree).values())
    return re.findall(rf'label ="({name})"', path.read_text())


def in_pairs(rows):
    """The stated order, by its definition: the last 2w rows are the last w rows plus the w rows before them."""

    def sum_of_last(end, width):
        if width == 1:
            return rows[end]
        later = sum_of_last(end, width // 2)
        return later if end < width // 2 else later + sum_of_last(end - width // 2, width // 2)

    return sum_of_last(len(rows) - 1, 1 << (len(rows) - 1).bit_length())


def random_rows(seed, count, width=3):
    return (np.random.default_rng(seed).normal(size=(count, width)) * 10.0**seed).astype(np.float32)


@given(ids=st.lists(st.integers(0, 6), min_size=1, max_size=40), seed=st.integers(-3, 3))
def test_rows_of_an_index_are_added_in_the_stated_order(ids, seed):
    rows = random_rows(abs(seed), len(ids))
    found = np.array(sum_rows_by_id(mx.array(rows), mx.array(ids), 7))
    for index in range(7):
        own = rows[np.array(ids) == index]
        assert np.array_equal(found[index], in_pairs(list(own)) if len(own) else np.zeros(3)), index


@given(ids=st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_where_numpy_rounds_nothing_or_has_one_order_only_the_bits_are_numpys(ids):
    whole = np.random.default_rng(len(ids)).integers(-1000, 1000, (len(ids), 2)).astype(np.float32)
    expected = np.zeros((41, 2), dtype=np.float32)
    np.add.at(expected, ids, whole)
    assert np.array_equal(sum_rows_by_id(mx.array(whole), mx.array(ids), 41), expected)
    rows = random_rows(1, len(ids), 2)
    expected = np.zeros((41, 2), dtype=np.float32)
    np.add.at(expected, ids, rows)
    found = np.array(sum_rows_by_id(mx.array(rows), mx.array(ids), 41))
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-5)
    rare = np.bincount(ids, minlength=41) <= 2
    assert np.array_equal(found[rare], expected[rare])


def test_no_rows_have_the_sum_zero():
    assert sum_rows_by_id(mx.zeros((0, 3)), mx.zeros((0,), mx.int32), 4).tolist() == [[0, 0, 0]] * 4


def test_columns_in_blocks_have_the_same_bits(monkeypatch):
    ids, rows = mx.array([3, 0, 3, 3, 1, 0, 3] * 5), mx.array(random_rows(2, 35, 11))
    whole = sum_rows_by_id(rows, ids, 4)
    monkeypatch.setattr(gather, "_BLOCK", 70)
    assert np.array_equal(sum_rows_by_id(rows, ids, 4), whole)


def test_one_infinite_row_reaches_only_its_index():
    rows = mx.array([[1.0], [mx.inf], [2.0], [4.0]])
    assert sum_rows_by_id(rows, mx.array([0, 1, 2, 0]), 3).flatten().tolist() == [5.0, np.inf, 2.0]


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
@pytest.mark.parametrize("shape", [(20, 6), (20,), (20, 2, 3)])
def test_the_gradient_of_a_gather_is_mlxs(order, dtype, shape):
    table = mx.random.normal(shape, key=mx.random.key(0)).astype(dtype)
    ids = mx.random.randint(0, 20, (4, 30), key=mx.random.key(1))
    slopes = mx.random.normal((4, 30, *shape[1:]), key=mx.random.key(2)).astype(dtype)

    def loss(table):
        return (gather_rows(table, ids) * slopes).sum()

    found = mx.grad(loss)(table)
    order("any")
    plain = mx.grad(loss)(table)
    exact = np.zeros(shape)
    np.add.at(exact, np.array(ids), np.array(slopes.astype(mx.float32), dtype=np.float64))
    assert found.dtype == plain.dtype == dtype
    errors = [np.abs(np.array(each.astype(mx.float32)) - exact).max() for each in (found, plain)]
    assert errors[0] < (1e-5 if dtype == mx.float32 else 0.05)
    assert errors[0] <= errors[1] + 1e-6, "not worse than MLX's own"


@given(ids=st.permutations(range(9)), count=st.integers(0, 9))
def test_distinct_indices_hand_each_slope_to_its_row(ids, count):
    table, ids = mx.zeros((9, 2)), mx.array(ids[:count], dtype=mx.int32)
    slopes = mx.random.normal((count, 2), key=mx.random.key(0))
    set_gradient_order("fixed")
    found = mx.grad(lambda table: (gather_rows(table, ids, is_distinct=True) * slopes).sum())(table)
    set_gradient_order(None)
    expected = np.zeros((9, 2), dtype=np.float32)
    expected[np.array(ids)] = np.array(slopes)
    assert np.array_equal(found, expected)


def test_a_gather_is_the_same_below_compilation_and_checkpoints(order):
    table, ids = mx.random.normal((9, 4), key=mx.random.key(0)), mx.array([[1, 1, 8], [1, 0, 8]])

    def loss(table):
        return mx.square(gather_rows(table, ids)).sum()

    plain = mx.grad(loss)(table)
    assert mx.array_equal(mx.grad(mx.checkpoint(loss))(table), plain)
    assert mx.array_equal(mx.compile(mx.grad(loss))(table), plain)


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_the_gradient_of_a_depthwise_convolution_is_mlxs_without_its_kernels(order, dtype, tmp_path):
    x = mx.random.normal((2, 13, 6), key=mx.random.key(0)).astype(dtype)
    kernels = mx.random.normal((6, 4, 1), key=mx.random.key(1)).astype(dtype)
    slopes = mx.random.normal((2, 10, 6), key=mx.random.key(2)).astype(dtype)

    def loss(x, kernels):
        return (depthwise_convolution(x, kernels) * slopes).sum()

    found = mx.grad(loss, argnums=(0, 1))(x, kernels)
    assert nodes({"x": found[0], "kernels": found[1]}, tmp_path, "Convolution") == []
    order("any")
    plain = mx.grad(loss, argnums=(0, 1))(x, kernels)
    assert nodes({"x": plain[0], "kernels": plain[1]}, tmp_path, "Convolution"), "the law finds those of MLX"
    for mine, theirs in zip(found, plain, strict=True):
        assert mine.dtype == theirs.dtype
        difference = mx.abs(mine.astype(mx.float32) - theirs.astype(mx.float32)).max()
        assert difference < (1e-5 if dtype == mx.float32 else 0.1)


@pytest.mark.parametrize("tokens", [1, 3, 40])  # below and above the number from which experts are sorted
def test_experts_have_the_same_outputs_and_gradients_in_either_order(order, tokens):
    experts = SwitchGLU(8, 12, 5, bias=True)
    for name in ("gate_proj", "up_proj", "down_proj"):
        experts[name].bias = mx.random.normal(experts[name].bias.shape, key=mx.random.key(4))
    evaluate(experts.parameters())
    x = mx.random.normal((2, tokens, 8), key=mx.random.key(0))
    chosen = mx.argsort(mx.random.normal((2, tokens, 5), key=mx.random.key(1)), axis=-1)[..., :3]

    def computed(x):
        loss = nn.value_and_grad(experts, lambda x: mx.square(experts(x, chosen)).sum())
        of_x = mx.grad(lambda x: mx.square(experts(x, chosen)).sum())(x)
        return {"out": experts(x, chosen), "x": of_x, **flatten(loss(x)[1])}

    found = computed(x)
    order("any")
    for name, plain in computed(x).items():
        assert mx.allclose(found[name], plain, rtol=1e-5, atol=1e-5), name


def test_a_cpu_keeps_mlxs_gradients_unless_they_are_asked_for():
    assert has_fixed_gradient_order() is not on_cpu()


def slopes_of(model, ids):
    """Gradients of the next-token loss, not computed yet."""

    def loss(ids):
        return nn.losses.cross_entropy(model(ids)[:, :-1], ids[:, 1:]).mean()

    return nn.value_and_grad(model, loss)(ids)[1]


@pytest.mark.parametrize("family", TINY)
def test_no_gradient_of_a_family_has_a_scattered_sum(order, family, tmp_path):
    config = tiny_config(family)
    model = family_of(family).build(config)
    ids = mx.random.randint(0, config.vocab_size, (2, 24), key=mx.random.key(0))
    # `ScatterAxis` is not one of them: labels and shares of experts have one place each.
    scattered_sums = "Scatter (?:Sum|Prod)"
    assert nodes(slopes_of(model, ids), tmp_path, scattered_sums) == []
    order("any")
    assert nodes(slopes_of(model, ids), tmp_path, scattered_sums), "the law finds those of MLX"


@pytest.mark.device
@pytest.mark.slow
@pytest.mark.parametrize("family", thinned(FAMILIES, ["gpt_oss", "mamba"]))
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.thorough)])
def test_six_gradients_of_a_family_are_equal(order, data, family, dtype):
    if dtype == "bfloat16" and on_cpu():
        pytest.skip("half precision is for a GPU")
    model = load(data / "models/families" / family, dtype=dtype).model
    ids = mx.random.randint(3, 500, (4, 128), key=mx.random.key(0))
    first = flatten(slopes_of(model, ids))
    evaluate(first)
    for _ in range(5):
        again = flatten(slopes_of(model, ids))
        assert [name for name in first if not mx.array_equal(first[name], again[name], equal_nan=True)] == []
    order("any")
    plain = flatten(slopes_of(model, ids))
    for name, each in first.items():
        size = mx.abs(plain[name]).max()
        assert mx.abs(each - plain[name]).max() <= (1e-5 if dtype == "float32" else 0.05) * size + 1e-6, name
