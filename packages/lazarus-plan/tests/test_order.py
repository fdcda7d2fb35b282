import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan.packing.sorting import order_by


@pytest.mark.parametrize("largest", [3, 2**31, 2**62], ids=["one integer", "two passes", "no room"])
@given(data=st.data(), size=st.integers(0, 40))
def test_columns_are_sorted_from_the_first_to_the_last_and_equal_ones_stay(
    largest: int, data: st.DataObject, size: int
):
    value = st.integers(0, 3).map(lambda small: small * (largest // 3))
    columns = [np.array(data.draw(st.lists(value, min_size=size, max_size=size)), dtype=np.int64) for _ in range(3)]

    def key(place: int) -> list[int]:
        return [int(column[place]) for column in columns]

    assert order_by(*columns).tolist() == sorted(range(size), key=key)
    among = data.draw(st.lists(st.sampled_from(range(size)), unique=True)) if size else []
    assert order_by(*columns, among=np.array(among, dtype=np.int32)).tolist() == sorted(among, key=key)
