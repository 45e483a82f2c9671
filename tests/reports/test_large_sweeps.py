"""Ranges of learning rates: each trial is in exactly one, and equal rates are in the same one."""

import io
import re
from itertools import pairwise

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mnist_tune.reports.large_sweeps import LINES, bins, condensed_table, cut, span

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


def test_families_share_the_lines():
    table = pd.DataFrame(
        [(name, rate) for name in "ab" for rate in range(1, 31)], columns=["architecture", "learning_rate"]
    )
    assert [name for name, _ in bins(table)] == ["a"] * (LINES // 2) + ["b"] * (LINES // 2)


def test_a_line_says_what_its_trials_reached(made_up_sweep):
    sweep = made_up_sweep([0.1, 0.1234, 3], architectures=["[red]x[/]", "plain"])
    trials = sweep.trials.sort_values(["architecture", "learning_rate"]).assign(
        epochs_run=[0, 4, 4, 1000, 1500, 4], stop_reason=["[b]", "completed", "completed", *["asha"] * 3],
        test_accuracy=[np.nan, 0.5, 0.6, 0.7, 0.8, 0.9], regime=["slow", "diverged", "converged", *["slow"] * 3],
    )  # fmt: skip

    def printed(**options):
        out = io.StringIO()
        Console(file=out, width=150, color_system=None).print(condensed_table(trials, **options))
        return [re.split(r"\s{2,}", line.strip()) for line in out.getvalue().splitlines()]

    heads, *rows = printed()
    assert heads == ["family", "rates", "trials", "epochs", "train", "test", "stopped", "regimes"]
    assert [row[:4] + row[5:] for row in rows] == [
        ["[red]x[/]", "0.1", "1", "0", "-", "1 [b]", "1 slow"],
        ["[red]x[/]", "0.123", "1", "4", "0.5000", "1 completed", "1 diverged"],
        ["[red]x[/]", "3", "1", "4", "0.6000", "1 completed", "1 converged"],
        ["plain", "0.1", "1", "1000", "0.7000", "1 asha", "1 slow"],
        ["plain", "0.123", "1", "1500", "0.8000", "1 asha", "1 slow"],
        ["plain", "3", "1", "4", "0.9000", "1 asha", "1 slow"],
    ]
    assert printed(stops=False)[0] == [name for name in heads if name != "stopped"]
    assert span(trials["epochs_run"]) == "0–1500"


def test_cut_says_how_many_are_left_out():
    assert cut(list("abcd"), 2, "letters") == ["a", "b", "... and 2 more letters"]
    assert cut(list("abcd"), 4, "letters") == list("abcd")
