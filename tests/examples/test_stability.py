"""Sharpness relative to the edge of stability, by hand, and its table and picture, from
sweeps on disk."""

import json

import numpy as np
import pandas as pd
import pytest
from kept_texts import assert_kept
from made_up_sweeps import of_kind

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


def measurements(**columns):
    plain = {
        "sharpness": [2.0, 2.0, 6.0],
        "batch_sharpness": [4.0, 4.0, 12.0],
        "preconditioned": np.nan,
    }
    return pd.DataFrame({"trial_id": "a", "step": [0, 10, 40]} | plain | columns)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, [0.2, 0.2, 0.6]),  # λη/2
        ({"momentum": 0.9}, [0.2 / 1.9, 0.2 / 1.9, 0.6 / 1.9]),
        (
            {"momentum": 0.9, "nesterov": True},
            [0.2 * 2.8 / 1.9, 0.2 * 2.8 / 1.9, 0.6 * 2.8 / 1.9],
        ),
        ({"warmup_steps": 20}, [0, 0.1, 0.6]),
        ({"optimizer": "lion"}, [np.nan] * 3),
        ({"schedule": "cosine"}, [np.nan] * 3),
    ],
)
def test_the_edge_is_where_gradient_descent_becomes_unstable(config, expected):
    found = relative_sharpness(trial(**config), measurements())
    np.testing.assert_allclose(found["relative"], expected, rtol=1e-12)
    np.testing.assert_allclose(
        found["batch_relative"], 2 * np.array(expected), rtol=1e-12
    )
    assert found["sharpness"].tolist() == [2, 2, 6]


def test_the_summary_begins_where_the_edge_is_reached():
    arrives = pd.DataFrame(
        {"trial_id": "a", "step": range(6), "relative": [1.3, 0.5, 0.96, 0.9, 1.1, 1.0]}
    )
    never = pd.DataFrame(
        {
            "trial_id": "b",
            "step": range(9),
            "relative": [0.2, *[0.9] * 5, 0.5, 0.6, 0.8],
        }
    )
    both = pd.concat([never, arrives]).assign(
        batch_relative=lambda table: 2 * table["relative"], sharpness=7.0
    )
    unknown = arrives.assign(
        trial_id="c",
        sharpness=arrives["relative"],
        relative=np.nan,
        batch_relative=np.nan,
    )
    found = summarise_stability(pd.concat([both, unknown])).set_index("trial_id")
    assert found.index.tolist() == ["b", "a", "c"]
    assert found.pop("alone").tolist() == [False, False, True]
    assert found.loc["a"].tolist() == [1.3, 2, 0.9, 0.98, 1.1, 1.96]
    np.testing.assert_allclose(
        found.loc["b"].tolist(), [0.2, np.nan, 0.5, 0.6, 0.8, 1.2]
    )
    np.testing.assert_allclose(
        found.loc["c"].tolist(), [1.3, np.nan, 1.0, 1.05, 1.1, np.nan]
    )


def test_a_sweep_without_measurements_is_named(
    main_of, new_writer, epoch_row, tmp_path
):
    writer = new_writer(tmp_path / "sweep", count=1)
    writer.epoch("00000", epoch_row(1), False)
    writer.finish(ended="now")
    with pytest.raises(
        UserError, match=r"no sharpness was measured in .*sweep; --sharpness does"
    ):
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


@pytest.fixture
def two_sweeps(tmp_path, new_writer, epoch_row):
    """The folders of a sweep of `CONFIGS`, and of one with the first of them again."""
    for name, configs in (("one", CONFIGS), ("two", ["plain"])):
        writer = new_writer(tmp_path / name)
        trials = {
            f"{i:05d}": TrialConfig(architecture="mlp-4-tanh", **CONFIGS[one])
            for i, one in enumerate(configs)
        }
        writer.meta["trials"] = {
            trial_id: trial.to_dict() for trial_id, trial in trials.items()
        }
        for trial_id, trial in trials.items():
            of_adam = (
                [[10 * one, 0.0] for one in SHARPNESS]
                if trial.optimizer.startswith("adam")
                else [[]] * 6
            )
            rows = [
                [s, one, 0.0, 2 * one, *of]
                for s, one, of in zip(STEPS, SHARPNESS, of_adam, strict=True)
            ]
            for epoch, part in ((1, rows[:3]), (2, rows[3:])):
                measured = epoch_row(epoch, 1 / epoch) | {
                    "sharpness_steps": json.dumps(part),
                    "step": part[-1][0],
                }
                writer.epoch(trial_id, measured, False)
        writer.finish(ended="now")
    return tmp_path / "one", tmp_path / "two"


def test_what_is_said_and_drawn_of_ten_trials(two_sweeps, as_text, main_of, tmp_path):
    _, said, notes = main_of(stability, *two_sweeps, "--picture", "sharp.png")
    drawn = (tmp_path / "sharp.png").read_text()
    assert_kept("stability", f"{said}{notes}\n{drawn}")


def test_what_is_said_of_a_crossed_sweep(
    main_of, as_text, new_writer, epoch_row, tmp_path
):
    of_kind("crossed", tmp_path / "crossed", new_writer, epoch_row)
    code, said, notes = main_of(stability, "crossed")
    assert (code, notes) == (0, "")
    assert_kept("stability of a crossed sweep", said)


def test_a_sweep_has_to_be_named(main_of):
    with pytest.raises(UserError, match="name the folder of a sweep"):
        main_of(stability)


@pytest.mark.parametrize(
    ("scale", "count", "top", "label"),
    [
        (4, 1, 2.3, "relative to the edge"),
        (18, 1, 2.5, "relative to the edge"),
        (1, 11, 1.38, "relative to the edge"),
        (np.nan, 1, 5.05, "sharpness"),
    ],
)
def test_the_axis_holds_the_curves_if_that_does_not_hide_what_is_near_the_edge(
    scale, count, top, label, monkeypatch
):
    """Where the edge is not known, sharpness itself is drawn; eleven trials have no
    names."""
    curve = pd.DataFrame(
        {
            "step": [0, 10],
            "relative": [0.1, 0.5],
            "batch_relative": np.nan,
            "sharpness": [4.0, 5.0],
        }
    )
    curve["relative"] *= scale
    loss = pd.DataFrame({"step": [5, 10], "train_loss": [0.2, 0.1]})
    drawn = []
    monkeypatch.setattr(stability, "save", lambda figure, path: drawn.append(figure))
    plot_stability([(f"of {i}", curve, loss) for i in range(count)], "a.png")
    above, below = drawn[0].axes
    assert above.get_ylim() == pytest.approx((0, top))
    assert label in above.get_ylabel()
    assert (above.get_legend() is None) == (count > 10)
    assert len(below.lines) == count
