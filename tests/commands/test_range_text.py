"""The text and the picture of a range test."""

import numpy as np

from mnist_tune.commands import range_test
from mnist_tune.commands.range_test import plot_range_test, print_range
from mnist_tune.reports.styles import COLOURS
from mnist_tune.training.range_suggestions import BLOW_UP, EDGE_OVER, OURS, RangeCurve


def curve(leaves):
    losses = np.where(OURS.rates < leaves, 2.0, 100.0)
    return RangeCurve(OURS, losses)


def test_each_suggestion_stands_beside_how_far_edges_were(capsys):
    print_range(
        "mlp-8-tanh",
        [curve(1.0), curve(2.0)],
        {"fastai steep": [0.1, None], "fastai slide": [None, None]},
        "cross-entropy",
    )
    heading, titles, *lines = capsys.readouterr().out.splitlines()
    left = "4 times its least, or half-way back to a guess's"
    assert heading == f"mlp-8-tanh: 2 range tests, one per seed; in 2 the mean loss left: {left}"
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


def test_of_several_seeds_the_median_the_least_and_the_most_are_said(capsys):
    calm = RangeCurve(OURS, np.full(OURS.steps, 2.0))
    print_range("net.py:mlp(width=8)", [curve(1.0), calm], {"fastai steep": [0.9, 0.1, None, 0.2]}, "cross-entropy")
    heading, _, ours, steep, *_, last = capsys.readouterr().out.splitlines()
    assert heading.startswith("net.py:mlp(width=8): 2 range tests, one per seed; in 1 the mean loss left")
    assert f"[{curve(1.0).blow_up:.3g} to {calm.blow_up:.3g}]" in ours
    assert "0.2 [0.1 to 0.9]" in steep
    assert steep.endswith("0.54 (0.28 to 3.4)")
    assert last.endswith(" --architecture 'net.py:mlp(width=8)'")


def test_with_mse_no_range_test_is_to_be_trusted(capsys):
    for loss, count in (("mse", 1), ("cross-entropy", 0)):
        print_range("mlp-8-tanh", [curve(1.0)], {}, loss)
        said = capsys.readouterr().out
        assert said.count("with mse, no range test is to be trusted") == count
        assert said.splitlines()[-1].endswith(" --loss mse") is bool(count)


def test_the_picture_shows_each_seed_raw_and_smoothed_and_where_its_loss_leaves(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(range_test, "save", lambda figure, path: drawn.append((figure, path)))
    curves = [curve(1.0), curve(2.0)]
    plot_range_test("a $\\frac name", curves, tmp_path / "a.png")
    [(figure, path)] = drawn
    [axis] = figure.axes
    assert path == tmp_path / "a.png"
    assert (axis.get_title(), axis.get_xscale()) == ("range test of a $\\frac name", "log")
    assert axis.title.get_parse_math() is False
    assert axis.get_legend_handles_labels()[1] == ["the loss blows up"]
    for i, one in enumerate(curves):
        raw, smooth, leaves = axis.lines[3 * i : 3 * i + 3]
        assert [*raw.get_xdata()] == [*smooth.get_xdata()] == [*one.rates]
        assert [*raw.get_ydata()] == [*one.losses]
        assert [*smooth.get_ydata()] == [*one.smooth]
        assert ([*leaves.get_xdata()], leaves.get_color()) == ([one.blow_up] * 2, COLOURS["diverged"])
        assert raw.get_color() == smooth.get_color() == f"C{i}"
    np.testing.assert_allclose(axis.get_ylim(), (0, 2.4))
