"""The picture and the table of ranges of learning rates."""

import matplotlib.image
import numpy as np
import pandas as pd

from mnist_tune.reports.ranges import plot_range, print_ranges

RANGES = pd.DataFrame(
    {
        "title": ["mlp-32-tanh", "mlp-64-tanh", "mlp-128-tanh"],
        "width": [32, 64, 128],
        "lowest": [0.1, 0.1, np.nan],
        "highest": [1.0, 0.5, np.nan],
        "sometimes": [1.0, 0.7, 0.3],
        "next": [2.0, 1.0, 0.5],
        "best": [0.5, 0.4, 0.3],
        "accuracy": [0.9, 0.95, 0.96],
    }
)


def drawn(path):
    picture = matplotlib.image.imread(path)
    return picture.shape[:2], len(np.unique(picture[..., :3].reshape(-1, 3), axis=0))


def test_ranges(tmp_path, capsys):
    print_ranges(RANGES)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert lines == [
        ["network", "lowest", "highest", "sometimes", "best", "accuracy"],
        ["mlp-32-tanh", "0.1", "1", "1", "0.5", "0.9"],
        ["mlp-64-tanh", "0.1", "0.5", "0.7", "0.4", "0.95"],
        ["mlp-128-tanh", "-", "-", "0.3", "0.3", "0.96"],
    ]
    plot_range({"": RANGES, ", depth 3": RANGES[:2]}, "width", tmp_path / "a.png")
    plot_range({"": RANGES[:0]}, "width", tmp_path / "b.png")
    (size, colours), (_, fewer) = (drawn(tmp_path / name) for name in ("a.png", "b.png"))
    assert min(size) > 300
    assert colours > fewer
