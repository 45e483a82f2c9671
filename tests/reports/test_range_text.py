"""The text of a range test."""

import numpy as np

from mnist_tune.regimes.range_suggestions import BLOW_UP, EDGE_OVER, OURS, RangeCurve
from mnist_tune.reports.range_test import print_range


def curve(leaves):
    losses = np.where(OURS.rates < leaves, 2.0, 100.0)
    return RangeCurve(OURS, losses)


def test_each_suggestion_stands_beside_how_far_edges_were(capsys):
    print_range("mlp-8-tanh", [curve(1.0), curve(2.0)], {"fastai steep": [0.1, None], "fastai slide": [None, None]})
    heading, titles, *lines = capsys.readouterr().out.splitlines()
    assert heading == "mlp-8-tanh: range tests of 2 seeds, in 2 of which the loss left"
    assert titles.split()[:2] == ["rule", "suggests"]
    ours, steep, slide = (line.split("  ") for line in lines[:3])
    assert ours[0] == BLOW_UP
    low, median, high = EDGE_OVER[BLOW_UP]
    assert [cell.strip() for cell in ours if cell][-2:] == [f"{low:.3g} to {high:.3g}", f"{median:.3g}"]
    assert "0.1" in [cell.strip() for cell in steep]
    assert "nothing: too few points" in [cell.strip() for cell in slide]
    assert max(map(len, lines)) <= 110
