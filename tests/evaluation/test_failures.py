from itertools import pairwise

import pytest

from miassr_monai.evaluation.failures import sentence_of, unforeseen


def wrapped(*errors):
    """The first of errors, each caused by the next."""
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    return errors[0]


@pytest.mark.parametrize(
    ("error", "sentence", "bug"),
    [
        (ValueError("too small.\nin detail"), "too small.", False),
        (wrapped(RuntimeError("applying transform"), OSError("no file"), KeyError("x")), "no file", False),
        (wrapped(RuntimeError("applying transform"), KeyError("shape")), "KeyError: 'shape'", True),
        (RuntimeError("out of memory\nallocated"), "RuntimeError: out of memory", True),
        (ValueError(), "ValueError: ", False),
        (AssertionError(), "AssertionError: ", True),
    ],
)
def test_an_error_is_told_in_a_line_by_what_the_user_can_act_on(error, sentence, bug):
    assert sentence_of(error) == sentence
    assert unforeseen(error) == bug
