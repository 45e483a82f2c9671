"""The phase diagram among the examples: what each of its sweeps asks, and the
thresholds that follow."""

import sys

import numpy as np
import pandas as pd
import pytest

from examples.phase_diagram import main, open_between, thresholds
from mnist_tune import load_sweep


def made_up(c, rises=(), width=16):
    """The steps of trials of a network at these c: the loss rises from 4 on, and from
    40 on all is lost. The sharpness was measured at those in `rises`."""
    c = np.array(c)
    steps = pd.DataFrame({"width": width, "seed": 0, "sharpness": 2.0, "c": c})
    steps["loss_rises"] = c >= 4
    steps["lost"] = c >= 40
    steps["sharpness_rises"] = np.nan
    if rises:
        steps["sharpness_rises"] = [rises.get(value, np.nan) for value in c]
    return steps


def test_each_threshold_is_where_it_first_happens():
    steps = made_up([2, 4, 8, 30, 40, 64], {4: 0.0, 8: 1.0})
    [row] = thresholds(steps).to_dict("records")
    assert row.pop("width") == 16
    assert row.pop("seed") == 0
    assert row.pop("sharpness") == 2
    assert row == {"c_loss": 4, "c_sharp": 8, "c_max": 30}
    [row] = thresholds(made_up([1, 2])).to_dict("records")
    assert np.isnan(row["c_loss"])
    assert np.isnan(row["c_sharp"])
    assert np.isnan(row["c_max"])


@pytest.mark.parametrize("edge", [3.0, 4.4, 6.2, 11.5, 100.0])
def test_the_search_ends_beside_the_edge(edge):
    """Where the sharpness rises from an edge on, within the grid between 0.7 c_loss and
    the first c that is lost."""
    grid = [float(f"{c:.3g}") for c in 2 ** (np.arange(6, 60) / 10)]
    rises = {}

    def steps_so_far():
        return pd.concat([made_up(grid), made_up(list(rises), rises)])

    for _ in range(4):
        next_values = open_between(steps_so_far(), grid)
        assert len(next_values) <= 3
        assert rises.keys().isdisjoint(next_values)
        rises |= {c: float(c >= edge) for c in next_values}
    steps = steps_so_far()
    assert open_between(steps, grid) == []
    inside = [c for c in grid if max(edge, 2.9) <= c < 40]
    expected = inside[0] if inside else np.nan
    threshold = thresholds(steps)["c_sharp"].item()
    assert threshold == pytest.approx(expected, nan_ok=True)


@pytest.mark.ray
def test_a_diagram_from_its_first_sweep_to_its_picture(tmp_path, monkeypatch, capsys):
    flags = "--dataset mnist-5k --widths 16 --depth 3 --seeds 3 --steps 4 --batch-size 64 --last 4096 --values 13"
    words = ["phase_diagram.py", *flags.split(), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    main()
    printed = capsys.readouterr().out
    assert (tmp_path / "phase_diagram.png").exists()
    sharpness = load_sweep(tmp_path / "untrained").epochs["untrained_sharpness"].item()
    rates = load_sweep(tmp_path / "losses").trials["learning_rate"].to_numpy()
    values = np.geomspace(1.5, 4096, 13)
    np.testing.assert_allclose(rates * sharpness, values, rtol=6e-3)

    main()
    assert capsys.readouterr().out == printed, "the same command trains nothing again"
    monkeypatch.setattr(sys, "argv", [*words, "--last", "2048"])
    refusal = "losses belongs to another diagram; name another --output"
    with pytest.raises(SystemExit, match=refusal):
        main()
