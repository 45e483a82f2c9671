"""The thresholds of a phase diagram, by hand, the search for the c at which the sharpness rises, and the picture."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from mnist_tune.commands import phase_diagram
from mnist_tune.commands.phase_diagram import (
    LOST,
    STYLES,
    first_steps,
    open_between,
    plot_phases,
    print_phases,
    thresholds,
)


def tables(rows, sharpness=2.0):
    """One trial a row: learning rate, largest batch loss (the first is 1), loss at the end, sharpness after steps."""
    trials, epochs, measured = [], [], []
    for i, (rate, most, end, later) in enumerate(rows):
        trials.append({"trial_id": str(i), "architecture": "mlp", "seed": 0, "learning_rate": rate})
        row = {"trial_id": str(i), "epoch": 1, "step_loss_first": 1.0, "step_loss_max": most, "train_loss": end}
        epochs.append(row | {"untrained_loss": 1.0, "untrained_sharpness": sharpness if i == 0 else None})
        fewer_images = enumerate([1.1 * sharpness, *(1.1 * one for one in later)])
        measured += [{"trial_id": str(i), "step": step, "sharpness": one} for step, one in fewer_images]
    return pd.DataFrame(trials), pd.DataFrame(epochs), pd.DataFrame(measured)


def test_each_threshold_is_where_it_first_happens():
    rows = [
        (1.0, 1.0, 0.5, [1.9, 2.0]),
        (2.0, 1.0, 1.1, []),  # the last step alone makes it rise
        (3.0, 1.5, 0.5, [1.0, 2.1, 1.0]),
        (4.0, LOST, 0.5, []),
        (5.0, np.nan, np.nan, [np.nan]),
        (6.0, 1.0, 0.9, []),  # lucky beyond
    ]
    steps = first_steps(*tables(rows))
    assert steps["c"].tolist() == [2, 4, 6, 8, 10, 12]
    assert steps["loss_rises"].tolist() == [False, True, True, True, True, False]
    np.testing.assert_equal(steps["sharpness_rises"].tolist(), [0, np.nan, 1, np.nan, 1, np.nan])
    assert steps["lost"].tolist() == [False] * 4 + [True, False]
    [found] = thresholds(steps.sample(frac=1, random_state=0)).to_dict("records")
    assert found == {"architecture": "mlp", "seed": 0, "sharpness": 2, "c_loss": 4, "c_sharp": 6, "c_max": 8}


def test_what_was_not_reached_is_nan():
    [found] = thresholds(first_steps(*tables([(1.0, 1.0, 0.5, [1.0])]))).to_dict("records")
    assert all(np.isnan(found[name]) for name in ("c_loss", "c_sharp", "c_max"))


@pytest.mark.parametrize("edge", [3.0, 4.4, 6.2, 11.5, 40.0])
def test_the_search_ends_beside_the_edge(edge):
    """Where the sharpness rises from an edge on, within the grid between 0.7 c_loss and the first c that is lost."""
    grid = [float(f"{2 ** (i / 10):.3g}") for i in range(6, 50)]
    sharpness = 3.7
    rows = [(c / sharpness, 1.0 if c < 4 else 2.0 if c < 20 else np.inf, 0.5, []) for c in grid]
    tried = set()
    for _ in range(4):
        more = open_between(first_steps(*tables(rows, sharpness)), grid)
        assert len(more) <= 3
        assert not tried & set(more)
        tried |= set(more)
        rows += [(c / sharpness, 1.0 if c < 4 else 2.0, 0.5, [sharpness + (1 if c >= edge else -1)]) for c in more]
    assert open_between(first_steps(*tables(rows, sharpness)), grid) == []
    found = thresholds(first_steps(*tables(rows, sharpness)))["c_sharp"].item()
    inside = [c for c in grid if c >= max(edge, 2.9)]
    assert found == pytest.approx(inside[0]) if edge < 20 else np.isnan(found)


def test_the_search_goes_on_between_a_fall_and_what_rises_or_is_lost():
    cell = pd.DataFrame(
        {"c": [2.0, 4, 8, 16], "sharpness_rises": [0, np.nan, np.nan, 0], "loss_rises": [False, True, True, True],
         "lost": [False, False, True, False]}
    )  # fmt: skip
    grid = [1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24]
    assert open_between(cell, grid) == [3, 4, 6]
    assert open_between(cell.assign(sharpness_rises=[np.nan, 1, np.nan, np.nan]), grid) == [3], "from 0.7 c_loss on"


def test_only_the_first_epoch_counts_and_each_seed_has_its_own_sharpness():
    trials, epochs, measured = tables([(1.0, 1.0, 0.5, []), (2.0, 1.0, 0.5, []), (4.0, 1.0, 0.5, []), (8.0, 1, 1, [])])
    trials["seed"] = [0, 1, 0, 0]
    epochs["untrained_sharpness"] = [2.0, 3.0, 2.5, 2.0]
    later = epochs.assign(epoch=2, step_loss_max=np.inf, train_loss=np.nan, untrained_sharpness=np.nan)
    found = first_steps(trials, pd.concat([later, epochs[:3]]), measured).set_index("trial_id")
    assert found.index.tolist() == ["0", "1", "2"], "one has not finished its first epoch"
    assert found["sharpness"].tolist() == [2, 3, 2]
    assert found["c"].tolist() == [2, 6, 8]
    assert not found["loss_rises"].any()
    assert not found["lost"].any()


def test_networks_are_sorted_by_their_sizes():
    trials, epochs, measured = tables([(1.0, 1.0, 0.5, [])])
    names = ["mlp-64-64-relu-he", "mlp-128-relu-he", "mlp-64-relu-he", "mlp-64-relu-he"]
    steps = pd.concat([first_steps(trials, epochs, measured).assign(architecture=name) for name in names])
    found = thresholds(steps.assign(seed=[0, 0, 1, 0]))
    assert found["architecture"].tolist() == [names[2], names[2], names[1], names[0]]
    assert found["seed"].tolist() == [0, 1, 0, 0]


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


def test_three_widths_have_an_exponent(capsys):
    wide = PHASES.iloc[:2].assign(architecture="mlp-4096-relu-he", sharpness=340, c_loss=2.5)
    found = pd.concat([PHASES, wide])
    print_phases(found)
    widths = found["architecture"].str.extract(r"(\d+)")[0].astype(int)
    lines = capsys.readouterr().out.splitlines()[5:]
    for line, name in zip(lines, ("c_loss", "c_sharp", "c_max"), strict=True):
        known = found[name].notna()
        slope, _ = np.polyfit(np.log(widths[known]), np.log((found[name] / found["sharpness"])[known]), 1)
        assert line.startswith(f"mlp-N-relu-he: the learning rate at {name} goes as width^{slope:.2f} [")


def test_a_threshold_that_no_seed_reached_has_no_mean(capsys):
    print_phases(PHASES.assign(c_sharp=np.nan)[2:])
    line = capsys.readouterr().out.splitlines()[-1]
    assert " ".join(line.split()) == "mlp-64-relu-he 21 8.00 (8, -) - 13.00 (12, 14)"


def test_a_marker_for_each_seed_and_a_line_through_the_means(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(phase_diagram, "save", lambda figure, path: drawn.append((figure, path)))
    found = PHASES.iloc[[2, 3, 0, 1]]
    plot_phases(found, tmp_path / "a.png")
    plot_phases(found.assign(architecture=found["architecture"] + "0"), tmp_path / "a.png")
    [(figure, path), (zero, _)] = drawn
    [axis] = figure.axes
    assert zero.axes[0].get_title() == axis.get_title(), "he0 names no layer"
    assert path == tmp_path / "a.png"
    assert [text.get_text() for text in axis.get_xticklabels()] == ["64", "512"]
    assert (axis.get_xscale(), axis.get_title()) == ("log", "2 layers")
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "c_loss: loss rises",
        "c_sharp: sharpness rises",
        "c_max: lost",
        "2, the edge of a quadratic",
    ]
    *lines, two = axis.lines
    means = [[8.0, 2.55], [9.5, 3.1], [13.0, 9.25]]
    for name, line, mean, markers in zip(STYLES, lines, means, axis.collections[::2], strict=True):
        assert [*line.get_xdata()] == [64, 512]
        np.testing.assert_allclose(line.get_ydata(), mean)
        seen = found[name].notna()
        np.testing.assert_allclose(
            np.ma.compress_rows(markers.get_offsets()), np.c_[[64, 64, 512, 512], found[name]][seen]
        )
    assert (axis.get_yscale(), [*two.get_ydata()]) == ("log", [2, 2])
