"""The picture of how the learning rates move with what varies."""

import numpy as np
import pandas as pd

from mnist_tune.reports import ranges


def test_the_edge_is_the_largest_rate_at_which_any_seed_converged(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(ranges, "save", lambda figure, path: drawn.append(figure))
    rows = pd.DataFrame(
        {"width": [16, 64], "lowest": [0.1, 0.2], "highest": [0.5, 0.6], "sometimes": [0.7, 0.9], "next": [1.4, 1.8]}
    ).assign(best=[0.3, 0.4])
    others = rows.assign(width=[64, 1024], sometimes=[0.8, 1.1])
    ranges.plot_range({", depth 2": rows, ", depth 3": others}, "width", tmp_path / "width.png")
    [axis] = drawn[0].axes
    assert [text.get_text() for text in axis.get_xticklabels()] == ["16", "64", "1024"]
    assert [list(line.get_xdata()) for line in axis.lines] == [[0, 1], [0, 1], [1, 2], [1, 2]]
    lines = {line.get_label().partition(",")[0]: list(line.get_ydata()) for line in axis.lines[:2]}
    assert lines == {"edge": [0.7, 0.9], "best": [0.3, 0.4]}
    band, bars = axis.collections
    assert {*np.round(band.get_paths()[0].vertices[:, 1], 6)} == {0.1, 0.2, 0.5, 0.6}
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[0.7, 1.4], [0.9, 1.8]]
    assert axis.get_yscale() == "log"
    assert axis.get_legend_handles_labels()[1] == ["edge, depth 2", "best, depth 2", "edge, depth 3", "best, depth 3"]


def test_the_axis_is_named_by_what_varies(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(ranges, "save", lambda figure, path: drawn.append((figure.axes[0].get_xlabel(), path.name)))
    rows = pd.DataFrame({name: [0.5] for name in ("lowest", "highest", "sometimes", "next", "best")})
    for axis in ("warmup_steps", "batch_size"):
        ranges.plot_range({"": rows.assign(**{axis: 1})}, axis, tmp_path / f"{axis}.png")
    assert drawn == [("warm-up steps", "warmup_steps.png"), ("batch size", "batch_size.png")]
