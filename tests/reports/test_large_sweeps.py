"""Ranges of learning rates: each trial is in exactly one, and equal rates are in the same one."""

from itertools import pairwise

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.reports.large_sweeps import LINES, bins, cut

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([10.0**k for k in range(-40, 5)])), min_size=1)


@given(ROWS)
def test_bins_are_disjoint_ranges_in_order(rows):
    table = pd.DataFrame(rows, columns=["architecture", "learning_rate"])
    found = list(bins(table))
    assert len(found) <= LINES
    assert sorted(i for _, part in found for i in part.index) == list(range(len(rows)))
    ends = [(name, part["learning_rate"].min(), part["learning_rate"].max()) for name, part in found]
    for (name, _, high), (other, low, _) in pairwise(ends):
        assert (name, high) < (other, low)
        assert name != other or high < low


def test_few_learning_rates_have_a_bin_each():
    table = pd.DataFrame({"architecture": "a", "learning_rate": [0.1, 0.3, 0.1, 0.2]})
    assert [sorted(part.index) for _, part in bins(table)] == [[0, 2], [3], [1]]


def test_cut_says_how_many_are_left_out():
    assert cut(list("abcd"), 2, "letters") == ["a", "b", "... and 2 more letters"]
    assert cut(list("abcd"), 4, "letters") == list("abcd")
