import math

from hypothesis import given
from hypothesis import strategies as st

from lazarus_train import OptimizerSettings
from lazarus_train.engine.schedule import learning_rate

settings_of_any_shape = st.builds(
    OptimizerSettings,
    learning_rate=st.floats(1e-6, 1.0),
    min_learning_rate=st.just(0.0) | st.just(1e-7),
    schedule=st.sampled_from(["cosine", "linear", "constant", "wsd"]),
    warmup_steps=st.integers(0, 30),
)


@given(settings_of_any_shape, st.integers(1, 100))
def test_the_rate_stays_between_floor_and_peak_and_the_first_update_moves(settings, total):
    rates = [learning_rate(settings, step, total) for step in range(total + 5)]
    assert all(0 <= rate <= settings.learning_rate * (1 + 1e-12) for rate in rates)
    assert rates[0] > 0


@given(settings_of_any_shape, st.integers(1, 100))
def test_the_rate_rises_to_its_peak_and_never_rises_again(settings, total):
    rates = [learning_rate(settings, step, total) for step in range(total + 5)]
    warmup = settings.warmup_steps
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    if 0 < warmup <= total:
        assert math.isclose(rates[warmup - 1], settings.learning_rate)


def test_half_way_through_the_cosine_the_rate_is_half():
    settings = OptimizerSettings(learning_rate=2.0, min_learning_rate=1.0, warmup_steps=4)
    assert learning_rate(settings, 12, 20) == 1.5
    assert learning_rate(settings, 20, 20) == learning_rate(settings, 99, 20) == 1.0


def test_linear_decay_by_hand():
    settings = OptimizerSettings(learning_rate=1.0, schedule="linear")
    assert [learning_rate(settings, step, 4) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_wsd_stays_at_the_peak_and_decays_at_the_end():
    settings = OptimizerSettings(learning_rate=1.0, schedule="wsd", warmup_steps=2, decay_steps=4)
    rates = [learning_rate(settings, step, 12) for step in range(13)]
    assert rates[:9] == [0.5, *[1.0] * 8]
    assert rates[9:] == [0.5, *(1 - math.sqrt(done / 4) for done in (2, 3)), 0.0]
    unsaid = OptimizerSettings(learning_rate=1.0, schedule="wsd")
    assert [learning_rate(unsaid, step, 100) for step in (89, 90, 100)] == [1.0, 1.0, 0.0]
    assert learning_rate(unsaid, 91, 100) < 1.0


def test_a_schedule_that_a_plan_is_too_short_for_is_told():
    from lazarus_train.engine.schedule import beyond_plan

    assert beyond_plan(OptimizerSettings(warmup_steps=10), 10) == []
    assert "never reaches its peak" in beyond_plan(OptimizerSettings(warmup_steps=11), 10)[0]
    settings = OptimizerSettings(schedule="wsd", warmup_steps=4, decay_steps=6)
    assert beyond_plan(settings, 10) == []
    assert "the decay has begun before the peak" in beyond_plan(settings, 9)[0]


@given(st.integers(2, 300), st.integers(0, 40), st.sampled_from(["cosine", "linear", "wsd"]))
def test_every_schedule_that_decays_has_decayed_in_its_last_step(total, warmup, schedule):
    settings = OptimizerSettings(learning_rate=1.0, schedule=schedule, warmup_steps=warmup)
    if total - warmup >= 2:
        assert learning_rate(settings, total - 1, total) < 1.0
        assert learning_rate(settings, warmup, total) == 1.0


def test_wsd_of_ten_steps_decays_in_the_last():
    settings = OptimizerSettings(learning_rate=1.0, schedule="wsd")
    assert [learning_rate(settings, step, 10) for step in range(10)] == [1.0] * 9 + [1 - math.sqrt(0.5)]


def test_a_decay_that_never_leaves_the_peak_is_told():
    from lazarus_train.engine.schedule import beyond_plan

    told = beyond_plan(OptimizerSettings(schedule="wsd", decay_steps=1), 10)
    assert len(told) == 1
    assert "leaves every step at the peak" in told[0]
    assert beyond_plan(OptimizerSettings(schedule="wsd", decay_steps=2), 10) == []
