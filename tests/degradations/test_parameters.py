import math

import pytest

from miassr_monai.degradations.parameters import check_number, check_numbers, check_word


def test_what_is_allowed_passes():
    for value in (0, 1, 0.5):
        check_number("level", value, 0, 1)
    check_word("kind", "a", ["a", "b"])


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "0.5", None, (0.5,)])
def test_what_is_no_number_in_the_range_is_refused(value):
    with pytest.raises(ValueError, match=r"level must be a number in \[0, 1\], got "):
        check_number("level", value, 0, 1)


def test_an_unknown_word_is_refused():
    with pytest.raises(ValueError, match="kind must be one of a, b, got 'c'"):
        check_word("kind", "c", ["a", "b"])


def test_so_many_numbers_are_returned_and_all_else_is_refused():
    assert check_numbers("ends", (1, 2.5), 2) == (1, 2.5)
    for values in ((1,), (1, 2, 3), 5, "ab", (1, "b")):
        with pytest.raises(ValueError, match="ends must be 2 numbers, got "):
            check_numbers("ends", values, 2)
