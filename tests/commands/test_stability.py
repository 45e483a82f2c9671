"""Sharpness relative to the edge of stability, by hand, and its table and picture, from sweeps on disk."""

import importlib.util
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from mnist_tune import UserError
from mnist_tune.commands import stability as module
from mnist_tune.commands.stability import plot_stability, relative_sharpness, summarise_stability, trial_names

SGD = {"optimizer": "sgd", "schedule": "constant", "momentum": 0.0, "nesterov": False, "warmup_steps": 0}


def trial(**config):
    return pd.DataFrame([SGD | config | {"trial_id": "a", "learning_rate": 0.2}])


def measurements(**columns):
    plain = {"sharpness": [2.0, 2.0, 6.0], "batch_sharpness": [4.0, 4.0, 12.0], "preconditioned": np.nan}
    return pd.DataFrame({"trial_id": "a", "step": [0, 10, 40]} | plain | columns)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, [0.2, 0.2, 0.6]),  # λη/2
        ({"momentum": 0.9}, [0.2 / 1.9, 0.2 / 1.9, 0.6 / 1.9]),
        ({"momentum": 0.9, "nesterov": True}, [0.2 * 2.8 / 1.9, 0.2 * 2.8 / 1.9, 0.6 * 2.8 / 1.9]),
        ({"warmup_steps": 20}, [0, 0.1, 0.6]),
        ({"optimizer": "lion"}, [np.nan] * 3),
        ({"schedule": "cosine"}, [np.nan] * 3),
    ],
)
def test_the_edge_is_where_gradient_descent_becomes_unstable(config, expected):
    found = relative_sharpness(trial(**config), measurements())
    np.testing.assert_allclose(found["relative"], expected, rtol=1e-12)
    np.testing.assert_allclose(found["batch_relative"], 2 * np.array(expected), rtol=1e-12)
    assert found["sharpness"].tolist() == [2, 2, 6]


@pytest.mark.parametrize(("optimizer", "threshold"), [("adam", 38), ("adamw(b1=0.5)", 6)])
def test_adam_is_measured_by_what_it_sees_once_its_second_moment_is_an_average(optimizer, threshold):
    found = relative_sharpness(trial(optimizer=optimizer), measurements(preconditioned=[np.nan, 900.0, 95.0]))
    np.testing.assert_allclose(found["relative"], [np.nan, np.nan, 0.2 * 95 / threshold])
    assert found["batch_relative"].isna().all()
    row = summarise_stability(found).iloc[0]
    assert not row["alone"]
    assert row["high"] == row["low"] == found["relative"].iloc[2]


def test_the_summary_begins_where_the_edge_is_reached():
    arrives = pd.DataFrame({"trial_id": "a", "step": range(6), "relative": [1.3, 0.5, 0.96, 0.9, 1.1, 1.0]})
    never = pd.DataFrame({"trial_id": "b", "step": range(9), "relative": [0.2, *[0.9] * 5, 0.5, 0.6, 0.8]})
    both = pd.concat([never, arrives]).assign(batch_relative=lambda table: 2 * table["relative"], sharpness=7.0)
    unknown = arrives.assign(trial_id="c", sharpness=arrives["relative"], relative=np.nan, batch_relative=np.nan)
    found = summarise_stability(pd.concat([both, unknown])).set_index("trial_id")
    assert found.index.tolist() == ["b", "a", "c"]
    assert found.pop("alone").tolist() == [False, False, True]
    assert found.loc["a"].tolist() == [1.3, 2, 0.9, 0.98, 1.1, 1.96]
    np.testing.assert_allclose(found.loc["b"].tolist(), [0.2, np.nan, 0.5, 0.6, 0.8, 1.2])
    np.testing.assert_allclose(found.loc["c"].tolist(), [1.3, np.nan, 1.0, 1.05, 1.1, np.nan])


SCRIPT = Path(__file__).parents[2] / "analysis" / "stability.py"


@pytest.fixture
def stability():
    spec = importlib.util.spec_from_file_location("stability", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["stability"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["stability"]


def test_several_sweeps_in_one_table(stability, new_writer, epoch_row, tmp_path, monkeypatch, capsys):
    for batch_size, sharpness in ((64, 20), (128, 10)):
        writer = new_writer(tmp_path / str(batch_size), count=1, batch_size=batch_size)
        steps = f"[[0, 1, 0, 1], [10, {sharpness}, 0, {sharpness}]]"
        writer.epoch("00000", epoch_row(1, sharpness_steps=steps), False)
        writer.finish(ended="now")
    figure = tmp_path / "picture.png"
    monkeypatch.setattr(
        sys, "argv", ["stability", *(str(tmp_path / n) for n in ("64", "128")), "--figure", str(figure)]
    )
    stability.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-6:] for line in lines[3:5]] == [
        ["step", "10", "1.000", "1.000", "1.000", "1.000"],
        ["0.050", "never", "0.500", "0.500", "0.500", "0.500"],
    ]
    assert "batch size 64, rate 0.1" in lines[3]
    assert min(matplotlib.image.imread(figure).shape[:2]) > 300


def test_two_seeds_have_two_names(made_up_sweep):
    names = trial_names(made_up_sweep([0.1], seeds=2).trials)
    assert list(names.values()) == ["mlp-4-tanh, rate 0.1, seed 0", "mlp-4-tanh, rate 0.1, seed 1"]


def test_seeds_are_named_if_any_two_trials_differ_in_them(made_up_sweep):
    trials = made_up_sweep([0.123456, 1]).trials
    assert trial_names(trials) == {"00000": "mlp-4-tanh, rate 0.1235", "00001": "mlp-4-tanh, rate 1"}
    named = trial_names(trials.assign(seed=[0, 1], batch_size=[32, 64]))
    assert named["00001"] == "mlp-4-tanh, batch size 64, rate 1, seed 1"


def test_a_sweep_without_measurements_is_named(stability, new_writer, epoch_row, tmp_path, monkeypatch):
    writer = new_writer(tmp_path / "sweep", count=1)
    writer.epoch("00000", epoch_row(1), False)
    writer.finish(ended="now")
    monkeypatch.setattr(sys, "argv", ["stability", str(tmp_path / "sweep")])
    with pytest.raises(UserError, match=r"no sharpness was measured in .*sweep; --sharpness does"):
        stability.main()


def test_what_has_no_threshold_is_drawn_alone(stability, new_writer, epoch_row, tmp_path, monkeypatch, capsys):
    plain, of_adam = "[[0, 1, 0, 1], [30, 20, 0, 20]]", "[[0, 1, 0, 1, NaN, NaN], [30, 20, 0, 20, 380, 0]]"
    for name, steps in (("sgd", plain), ("adam", of_adam), ("lion", plain)):
        writer = new_writer(tmp_path / name, count=1, optimizer=name)
        writer.epoch("00000", epoch_row(1, sharpness_steps=steps), False)
        writer.finish(ended="now")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stability", "sgd", "adam", "lion"])
    stability.main()
    text, alone = capsys.readouterr().out.split("Sharpness of trials whose edge of stability is not known")
    assert [line.split()[-6:] for line in text.splitlines()[3:]] == [
        ["0.050", "step", "30", "1.000", "1.000", "1.000", "1.000"][-6:],
        ["-", "never", "1.000", "1.000", "1.000", "-"],
    ]
    lion, last = alone.splitlines()[-2:]
    assert "lion" in lion
    assert lion.split()[-4:] == ["1.000", "20.000", "20.000", "20.000"]
    assert last == "Picture: stability.png"
    assert (tmp_path / "stability.png").exists()
    monkeypatch.setattr(sys, "argv", ["stability"])
    with pytest.raises(UserError, match="name the folder of a"):
        stability.main()


def test_trials_of_the_same_name_are_all_drawn(stability, new_writer, epoch_row, tmp_path, monkeypatch):
    """Such as of two data sets."""
    drawn = []
    for name in ("one", "two"):
        writer = new_writer(tmp_path / name, count=1)
        writer.epoch("00000", epoch_row(1, sharpness_steps="[[0, 1, 0, 1], [10, 20, 0, 20]]"), False)
        writer.finish(ended="now")
    monkeypatch.setattr("mnist_tune.commands.stability.plot_stability", lambda curves, path: drawn.extend(curves))
    monkeypatch.setattr(sys, "argv", ["stability", str(tmp_path / "one"), str(tmp_path / "two")])
    stability.main()
    assert len(drawn) == len({name for name, *_ in drawn}) == 2


@pytest.mark.parametrize(("most", "top"), [(0.5, 1.15 * 1.2), (2.0, 1.15 * 2.0), (9.0, 2.5)])
def test_a_line_for_each_trial_a_thin_one_for_its_batch_sharpness_and_its_loss_below(tmp_path, monkeypatch, most, top):
    drawn = []
    monkeypatch.setattr(module, "save", lambda figure, path: drawn.append((figure, path)))
    curve = pd.DataFrame({"step": [0, 10], "relative": [0.1, most], "batch_relative": [0.2, 0.3], "sharpness": [4, 5]})
    unknown = curve.assign(relative=np.nan, batch_relative=np.nan)
    loss = pd.DataFrame({"step": [5, 10], "train_loss": [0.2, 0.1]})
    curves = [("one", curve.assign(relative=0.1), loss), ("two", curve, loss)]
    plot_stability(curves, tmp_path / "a.png")
    plot_stability([*curves, ("three", unknown, loss)], tmp_path / "b.png")
    plot_stability([("three", unknown, loss)], tmp_path / "c.png")
    plot_stability([(f"{i}", curve, loss) for i in range(11)], tmp_path / "e.png")
    many, _ = drawn.pop()
    assert many.axes[0].get_legend_handles_labels()[1] == ["batch sharpness"]
    assert len({line.get_color() for line in many.axes[-1].lines}) == 11
    (figure, path), (both, _), (lone, _) = drawn
    assert [len(of.axes) for of in (both, lone)] == [3, 2]
    plot_stability([("adam", curve.assign(batch_relative=np.nan), loss)], tmp_path / "d.png")
    assert drawn.pop()[0].axes[0].get_legend_handles_labels()[1] == ["adam"]
    assert [[*of.axes[-2].lines[0].get_ydata()] for of in (both, lone)] == [[4, 5], [4, 5]]
    assert path == tmp_path / "a.png"
    axis, below = figure.axes
    assert [[*line.get_xydata().ravel()] for line in below.lines] == [[5, 0.2, 10, 0.1]] * 2
    assert below.get_yscale() == "log"
    one, batches, two, _, edge, _ = axis.lines
    assert [line.get_color() for line in below.lines] == [one.get_color(), two.get_color()]
    assert [*edge.get_ydata()] == [1, 1]
    assert [*two.get_xdata()] == [0, 10]
    assert [[*line.get_ydata()] for line in (one, two, batches)] == [[0.1, 0.1], [0.1, most], [0.2, 0.3]]
    assert one.get_color() == batches.get_color() != two.get_color()
    assert axis.get_legend_handles_labels()[1] == ["one", "two", "batch sharpness"]
    assert axis.get_ylim() == pytest.approx((0, top))
