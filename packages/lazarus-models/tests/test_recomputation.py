import pytest

from lazarus_models.backend import mx
from lazarus_models.ops import detached, recomputed
from lazarus_models.trees import evaluate


def several(x, y):
    return [mx.sin(x) * y, x.sum() + y]


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])  # by values handed on, and by `mx.checkpoint`
def test_values_and_gradients_are_the_functions(dtype):
    x, y = (mx.random.normal((3, 4), key=mx.random.key(seed)).astype(dtype) for seed in (1, 2))
    slopes = [mx.ones((3, 4), dtype), 2 * mx.ones((3, 4), dtype)]
    plain = mx.vjp(several, [x, y], slopes)
    found = mx.vjp(lambda x, y: recomputed(several, x, y), [x, y], slopes)
    for mine, theirs in zip([*found[0], *found[1]], [*plain[0], *plain[1]], strict=True):
        assert mine.dtype == dtype
        assert mx.allclose(mine, theirs, atol=1e-6)


def test_one_argument_and_one_value_are_enough():
    assert mx.grad(lambda x: recomputed(lambda x: [x * x], x)[0].sum())(mx.array([3.0])).tolist() == [6.0]


def test_detached_arrays_are_computed_and_of_the_same_numbers():
    turned = mx.swapaxes(mx.arange(6.0).reshape(2, 3), 0, 1)
    numbers = mx.array([1, 2])
    found = detached([turned, numbers])
    assert found[0].tolist() == turned.tolist()
    assert found[1] is numbers


def test_nothing_on_the_way_is_kept_for_the_gradient():
    def peak(wrap):
        x = mx.ones((2**18,))
        evaluate(x)
        mx.reset_peak_memory()
        before = mx.get_active_memory()

        def loss(x):
            for _ in range(12):
                x = wrap(lambda x: [mx.sin(mx.exp(mx.cos(mx.tanh(mx.square(x)))))], x)[0]
            return x.sum()

        evaluate(mx.grad(loss)(x))
        return mx.get_peak_memory() - before

    assert peak(recomputed) < 0.5 * peak(lambda function, x: function(x))
