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
    assert heading == "mlp-8-tanh: 2 range tests, one per seed; in 2 the mean loss left: 4 times its least"
    assert titles.split()[:2] == ["rule", "suggests"]
    ours, steep, slide = ([cell.strip() for cell in line.split("  ") if cell] for line in lines[:3])
    low, median, high = EDGE_OVER[BLOW_UP]
    middle = float(ours[1].split()[0])
    assert 1.0 < middle < 2.0
    assert ours[2] == f"{low:.3g} to {high:.3g}"
    assert ours[3].startswith(f"{middle * median:.2g} (")
    assert steep[1] == "0.1"
    assert slide[1] == "nothing: too few points"
    assert lines[-1].endswith("--architecture mlp-8-tanh")
    assert max(map(len, lines)) <= 120
