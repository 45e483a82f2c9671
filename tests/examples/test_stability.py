"""Sharpness relative to the edge of stability, by hand, and its table and picture, from
sweeps on disk."""

import json
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from kept_texts import assert_kept
from made_up_sweeps import of_kind
from text_tables import barred_rows

from examples import stability
from examples.stability import plot_stability, relative_sharpness, summarise_stability
from mnist_tune import TrialConfig, UserError

SGD = {
    "optimizer": "sgd",
    "schedule": "constant",
    "momentum": 0.0,
    "nesterov": False,
    "warmup_steps": 0,
}


def trial(**config):
    return pd.DataFrame([SGD | config | {"trial_id": "a", "learning_rate": 0.2}])


MEASURED = """
trial_id step sharpness batch_sharpness preconditioned
a        0    2.0       4.0             nan
a        10   2.0       4.0             nan
a        40   6.0       12.0            nan
"""


def measurements():
    return pd.read_csv(StringIO(MEASURED), sep=r"\s+")


MOMENTUM = {"momentum": 0.9}
NESTEROV = {"momentum": 0.9, "nesterov": True}
UNKNOWN = [np.nan] * 3
PLAIN = np.array([0.2, 0.2, 0.6])  # λη/2


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, PLAIN),
        (MOMENTUM, PLAIN / 1.9),
        (NESTEROV, PLAIN * 2.8 / 1.9),
        ({"warmup_steps": 20}, [0, 0.1, 0.6]),
        ({"optimizer": "lion"}, UNKNOWN),
        ({"schedule": "cosine"}, UNKNOWN),
    ],
)
def test_the_edge_is_where_gradient_descent_becomes_unstable(config, expected):
    table = relative_sharpness(trial(**config), measurements())
    np.testing.assert_allclose(table["relative"], expected, rtol=1e-12)
    of_batches = 2 * np.array(expected)
    np.testing.assert_allclose(table["batch_relative"], of_batches, rtol=1e-12)
    assert table["sharpness"].tolist() == [2, 2, 6]


def curve_of(trial_id, relative):
    """The sharpness of a trial relative to its edge, step by step."""
    steps = range(len(relative))
    return pd.DataFrame({"trial_id": trial_id, "step": steps, "relative": relative})


def test_the_summary_begins_where_the_edge_is_reached():
    arrives = curve_of("a", [1.3, 0.5, 0.96, 0.9, 1.1, 1.0])
    never = curve_of("b", [0.2, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.6, 0.8])
    both = pd.concat([never, arrives])
    both["batch_relative"] = 2 * both["relative"]
    both["sharpness"] = 7.0
    unknown = arrives.assign(
        trial_id="c",
        sharpness=arrives["relative"],
        relative=np.nan,
        batch_relative=np.nan,
    )
    rows = summarise_stability(pd.concat([both, unknown])).set_index("trial_id")
    assert rows.index.tolist() == ["b", "a", "c"]
    assert rows.pop("alone").tolist() == [False, False, True]
    assert rows.loc["a"].tolist() == [1.3, 2, 0.9, 0.98, 1.1, 1.96]
    expected = [0.2, np.nan, 0.5, 0.6, 0.8, 1.2]
    np.testing.assert_allclose(rows.loc["b"].tolist(), expected)
    expected = [1.3, np.nan, 1.0, 1.05, 1.1, np.nan]
    np.testing.assert_allclose(rows.loc["c"].tolist(), expected)


def test_a_sweep_without_measurements_is_named(
    main_of, new_writer, epoch_row, tmp_path
):
    writer = new_writer(tmp_path / "sweep", count=1)
    writer.epoch("00000", epoch_row(1), False)
    writer.finish(ended="now")
    unmeasured = "no sharpness was measured in .*sweep; --sharpness does"
    with pytest.raises(UserError, match=unmeasured):
        main_of(stability, tmp_path / "sweep")


CONFIGS = {
    "plain": {"learning_rate": 0.2},
    "never arrives": {"learning_rate": 0.1, "seed": 1},
    "momentum": {"learning_rate": 0.4, "momentum": 0.9},
    "Nesterov's": {"learning_rate": 0.4, "momentum": 0.9, "nesterov": True},
    "warm-up": {"learning_rate": 0.2, "warmup_steps": 20},
    "adam": {"learning_rate": 0.2, "optimizer": "adam"},
    "adamw": {"learning_rate": 0.2, "optimizer": "adamw(b1=0.5)", "weight_decay": 0.01},
    "lion": {"learning_rate": 0.2, "optimizer": "lion"},
    "cosine": {"learning_rate": 0.2, "schedule": "cosine"},
}
STEPS = [0, 10, 15, 19, 20, 30]
SHARPNESS = [13.0, 5.0, 9.0, 9.6, 9.4, 12.0]


def sharpness_steps(optimizer):
    """The measurements of a trial: the step, the sharpness, its change, that of a
    batch, and what only Adam's kind has."""
    rows = []
    for step, sharpness in zip(STEPS, SHARPNESS, strict=True):
        row = [step, sharpness, 0.0, 2 * sharpness]
        if optimizer.startswith("adam"):
            row += [10 * sharpness, 0.0]
        rows.append(row)
    return rows


@pytest.fixture
def write_sweep(tmp_path, new_writer, epoch_row):
    """A function that writes the folder of a sweep of some of `CONFIGS`."""

    def write(folder, names):
        writer = new_writer(tmp_path / folder)
        writer.meta["trials"] = {}
        for number, name in enumerate(names):
            trial_id = f"{number:05d}"
            trial = TrialConfig(architecture="mlp-4-tanh", **CONFIGS[name])
            writer.meta["trials"][trial_id] = trial.to_dict()
            steps = sharpness_steps(trial.optimizer)
            measured = json.dumps(steps[:3])
            row = epoch_row(1, 1.0, step=15, sharpness_steps=measured)
            writer.epoch(trial_id, row, False)
            measured = json.dumps(steps[3:])
            row = epoch_row(2, 1 / 2, step=30, sharpness_steps=measured)
            writer.epoch(trial_id, row, False)
        writer.finish(ended="now")
        return tmp_path / folder

    return write


@pytest.fixture
def two_sweeps(write_sweep):
    """The folders of a sweep of `CONFIGS`, and of one with the first of them again."""
    return write_sweep("one", CONFIGS), write_sweep("two", ["plain"])


def test_what_is_said_and_drawn_of_ten_trials(two_sweeps, as_text, main_of, tmp_path):
    _, text, notes = main_of(stability, *two_sweeps, "--picture", "sharp.png")
    drawn = (tmp_path / "sharp.png").read_text()
    assert_kept("stability", f"{text}{notes}\n{drawn}")


def test_what_is_said_of_a_crossed_sweep(
    main_of, as_text, new_writer, epoch_row, tmp_path
):
    of_kind("crossed", tmp_path / "crossed", new_writer, epoch_row)
    code, text, notes = main_of(stability, "crossed")
    assert code == 0
    assert notes == ""
    assert_kept("stability of a crossed sweep", text)


def test_a_sweep_without_measurements_beside_one_with_them_is_left_out(
    two_sweeps, as_text, main_of, new_writer, epoch_row, tmp_path
):
    writer = new_writer(tmp_path / "plain", count=1)
    writer.epoch("00000", epoch_row(1), False)
    writer.finish(ended="now")
    _, text, _ = main_of(stability, tmp_path / "plain", two_sweeps[1])
    [line] = [line for line in text.splitlines() if "rate" in line]
    assert line.endswith("1.300 step 19 0.940   0.960 1.200         1.920")


def test_a_sweep_has_to_be_named(main_of):
    with pytest.raises(UserError, match="name the folder of a sweep"):
        main_of(stability)


AXES = """
    4   | 1  | 2.3  | relative to the edge
    18  | 1  | 2.5  | relative to the edge
    1   | 11 | 1.38 | relative to the edge
    nan | 1  | 5.05 | sharpness
"""
"""What relative sharpness is multiplied by, the trials, where the axis ends, and what
it says."""


@pytest.mark.parametrize(("scale", "trials", "end", "label"), barred_rows(AXES))
def test_the_axis_holds_the_curves_if_that_does_not_hide_what_is_near_the_edge(
    scale, trials, end, label, monkeypatch
):
    """Where the edge is not known, sharpness itself is drawn; eleven trials have no
    names."""
    count = int(trials)
    curve = pd.DataFrame({"step": [0, 10], "sharpness": [4.0, 5.0]})
    curve["relative"] = float(scale) * np.array([0.1, 0.5])
    curve["batch_relative"] = np.nan
    loss = pd.DataFrame({"step": [5, 10], "train_loss": [0.2, 0.1]})
    figures = []
    monkeypatch.setattr(stability, "save", lambda figure, path: figures.append(figure))
    curves = [(f"of {number}", curve, loss) for number in range(count)]
    plot_stability(curves, "a.png")
    above, below = figures[0].axes
    assert above.get_ylim() == pytest.approx((0, float(end)))
    assert label in above.get_ylabel()
    assert (above.get_legend() is None) == (count > 10)
    assert len(below.lines) == count
