"""The picture and the table of a phase diagram."""

import matplotlib.image
import numpy as np
import pandas as pd

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
    assert "mlp-512-relu-he" in lines[2]
    assert "2.55 (2.5, 2.6)" in lines[2]
    assert "8.00 (8, -)" in lines[3]
    plot_phases(PHASES, tmp_path / "a.png")
    assert min(matplotlib.image.imread(tmp_path / "a.png").shape[:2]) > 300
