"""The picture and the table of a phase diagram."""

import matplotlib.image
import numpy as np
import pandas as pd

from mnist_tune.regimes.phases import THRESHOLDS
from mnist_tune.reports import phases
from mnist_tune.reports.phases import plot_phases, print_phases

PHASES = pd.DataFrame(
    {
        "architecture": ["mlp-512-relu-he"] * 2 + ["mlp-64-relu-he"] * 2,
        "seed": [0, 1, 0, 1],
        "sharpness": [80.0, 90.0, 20.0, 22.0],
        "c_loss": [2.5, 2.6, 8.0, np.nan],
        "c_sharp": [3.0, 3.2, 9.0, 10.0],
        "c_max": [9.0, 9.5, 12.0, 14.0],
    }
)


def test_phases(tmp_path, capsys):
    print_phases(PHASES)
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "network sharpness c_loss c_sharp c_max",
        "mlp-512-relu-he 85 2.55 (2.5, 2.6) 3.10 (3, 3.2) 9.25 (9, 9.5)",
        "mlp-64-relu-he 21 8.00 (8, -) 9.50 (9, 10) 13.00 (12, 14)",
    ]
    print_phases(PHASES[::-1])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == [
        "mlp-64-relu-he",
        "mlp-512-relu-he",
    ]
    plot_phases(PHASES, tmp_path / "a.png")
    assert min(matplotlib.image.imread(tmp_path / "a.png").shape[:2]) > 300


def test_a_marker_for_each_seed_and_a_line_through_the_means(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(phases, "save", lambda figure, path: drawn.append((figure, path)))
    found = PHASES.iloc[[2, 3, 0, 1]]
    plot_phases(found, tmp_path / "a.png")
    [(figure, path)] = drawn
    [axis] = figure.axes
    assert path == tmp_path / "a.png"
    assert [text.get_text() for text in axis.get_xticklabels()] == ["mlp-64-relu-he", "mlp-512-relu-he"]
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "c_loss: loss rises",
        "c_sharp: sharpness rises",
        "c_max: lost",
        "2, the edge of a quadratic",
    ]
    *lines, two = axis.lines
    means = [[8.0, 2.55], [9.5, 3.1], [13.0, 9.25]]
    for name, line, mean, markers in zip(THRESHOLDS, lines, means, axis.collections, strict=True):
        assert [*line.get_xdata()] == [0, 1]
        np.testing.assert_allclose(line.get_ydata(), mean)
        seen = found[name].notna()
        np.testing.assert_allclose(np.ma.compress_rows(markers.get_offsets()), np.c_[[0, 0, 1, 1], found[name]][seen])
    assert (axis.get_yscale(), [*two.get_ydata()]) == ("log", [2, 2])
