"""Keys of an order by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.rules import order

LAST = "z" * 27


@given(st.lists(st.integers(0, 10**6), max_size=60))
def test_there_is_room_before_after_and_between_whatever_was_placed_before(places: list[int]) -> None:
    keys: list[str] = []
    for place in places:
        at = place % (len(keys) + 1)
        key = order.between(keys[at - 1] if at else None, keys[at] if at < len(keys) else None)
        keys.insert(at, order.check(key))

    assert keys == sorted(set(keys))


@given(st.data(), st.integers(0, 40))
def test_many_keys_fit_between_any_two_in_order(data: st.DataObject, count: int) -> None:
    ends = [None, "n00000000000001", "n00000000000002", "n000000000000021", "Zz", "Zy", "a0", "a0V", "zzzz" + "z" * 23]
    before, after = data.draw(st.tuples(st.sampled_from(ends), st.sampled_from(ends)))
    if before is not None and after is not None and before >= after:
        before, after = after, before
    if before is not None and before == after:
        after = None

    keys = order.spread(before, after, count)

    assert len(keys) == count
    assert [*([before] if before else []), *keys, *([after] if after else [])] == sorted(
        {*keys, *filter(None, (before, after))}
    )
    for key in keys:
        order.check(key)


def test_a_thousand_moves_to_the_top_or_the_end_make_no_long_key() -> None:
    first = last = "n00000000000001"
    for _ in range(1_000):
        first, last = order.between(None, first), order.between(last, None)

    assert max(len(first), len(last)) == 15


def test_a_thousand_moves_between_two_still_make_a_key_that_fits() -> None:
    before, after = "n00000000000001", "n00000000000002"
    for _ in range(1_000):
        after = order.between(before, after)

    assert len(order.check(after)) < order.MOST_CHARACTERS


def test_the_ends_of_all_keys_leave_room_too() -> None:
    assert order.between(LAST, None) > LAST
    least = order.between(None, "A" + "0" * 25 + "1")
    assert order.between(None, least) < least
    order.check(order.between(None, least))


@pytest.mark.parametrize("key", ["", "a", "0a", "a0 ", "a00", "b0", "ä0", "A" + "0" * 26, "a0" + "V" * 249, "a0\n"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        order.check(key)


@pytest.mark.parametrize(
    "key", ["a0", "Zz", "a0V", "n00000000000010", "m0641d3a2b8c5e", "zzzzzzzzzzzzzzzzzzzzzzzzzzz1"]
)
def test_what_is_a_key_is_taken(key: str) -> None:
    assert order.check(key) == key


def test_two_that_are_equal_or_in_the_wrong_order_have_nothing_between() -> None:
    for before, after in (("a0", "a0"), ("a1", "a0")):
        with pytest.raises(ValueError, match="is not before"):
            order.between(before, after)
