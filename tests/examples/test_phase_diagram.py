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
    measured = [rises.get(one, np.nan) for one in c] if rises else np.nan
    steps = {
        "width": width,
        "seed": 0,
        "sharpness": 2.0,
        "c": c,
        "loss_rises": c >= 4,
        "lost": c >= 40,
    }
    return pd.DataFrame(steps | {"sharpness_rises": measured})


def test_each_threshold_is_where_it_first_happens():
    [found] = thresholds(made_up([2, 4, 8, 30, 40, 64], {4: 0.0, 8: 1.0})).to_dict(
        "records"
    )
    assert found == {
        "width": 16,
        "seed": 0,
        "sharpness": 2,
        "c_loss": 4,
        "c_sharp": 8,
        "c_max": 30,
    }
    assert np.isnan(
        thresholds(made_up([1, 2]))[["c_loss", "c_sharp", "c_max"]].to_numpy()
    ).all()


@pytest.mark.parametrize("edge", [3.0, 4.4, 6.2, 11.5, 100.0])
def test_the_search_ends_beside_the_edge(edge):
    """Where the sharpness rises from an edge on, within the grid between 0.7 c_loss and
    the first c that is lost."""
    grid = [float(f"{2 ** (i / 10):.3g}") for i in range(6, 60)]
    tried = {}
    for _ in range(4):
        more = open_between(
            pd.concat([made_up(grid), made_up(list(tried), tried)]), grid
        )
        assert len(more) <= 3
        assert not tried.keys() & set(more)
        tried |= {c: float(c >= edge) for c in more}
    steps = pd.concat([made_up(grid), made_up(list(tried), tried)])
    assert open_between(steps, grid) == []
    inside = [c for c in grid if max(edge, 2.9) <= c < 40]
    assert thresholds(steps)["c_sharp"].item() == (
        pytest.approx(inside[0]) if inside else pytest.approx(np.nan, nan_ok=True)
    )


@pytest.mark.ray
def test_a_diagram_from_its_first_sweep_to_its_picture(tmp_path, monkeypatch, capsys):
    asked = "--dataset mnist-5k --widths 16 --depth 3 --seeds 3 --steps 4 --batch-size 64 --last 4096 --values 13"
    monkeypatch.setattr(
        sys, "argv", ["phase_diagram.py", *asked.split(), "--output", str(tmp_path)]
    )
    main()
    printed = capsys.readouterr().out
    assert (tmp_path / "phase_diagram.png").exists()
    sharpness = load_sweep(tmp_path / "untrained").epochs["untrained_sharpness"].item()
    rates = load_sweep(tmp_path / "losses").trials["learning_rate"].to_numpy()
    np.testing.assert_allclose(
        rates * sharpness, np.geomspace(1.5, 4096, 13), rtol=6e-3
    )

    main()
    assert capsys.readouterr().out == printed, "the same command trains nothing again"
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--last", "2048"])
    with pytest.raises(
        SystemExit, match="losses belongs to another diagram; name another --output"
    ):
        main()
