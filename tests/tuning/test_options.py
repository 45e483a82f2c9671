"""What the flags mean that all sweeps share."""

import pytest

from mnist_tune import SweepOptions, UserError
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.tuning.options import TrialOptions, mlp_name, rates_of


@pytest.mark.parametrize(
    ("given", "measured"),
    [
        ({"sharpness_images": 300}, None),
        ({"sharpness": True}, SharpnessSettings(None, None)),
        ({"sharpness_every": 7, "sharpness_images": 300}, SharpnessSettings(7, 300)),
    ],
)
def test_sharpness_is_measured_where_it_or_how_often_is_asked_for(given, measured):
    assert SweepOptions(**given).measures() == measured


@pytest.mark.parametrize("name", ["lanes", "save_every", "sharpness_images", "train_images"])
def test_counts_are_above_zero(name):
    with pytest.raises(UserError, match=f"^--{name.replace('_', '-')} must be above 0, got 0$"):
        SweepOptions(**{name: 0})
    assert getattr(SweepOptions(**{name: 1}), name) == 1


@pytest.mark.parametrize("target", [0.0, 1.0, 95.0])
def test_a_target_is_an_accuracy(target):
    with pytest.raises(UserError, match=f"^--target must be an accuracy between 0 and 1, such as 0.95, got {target}$"):
        SweepOptions(target=target)


def test_a_command_hands_on_how_its_sweep_is_run_but_not_what_is_trained():
    options = TrialOptions(epochs=3, lanes=2, scheduler="asha", output="a")
    found = options.handed_on(SweepOptions, output="b", scheduler="fifo")
    assert found == SweepOptions(lanes=2, scheduler="fifo", output="b")


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        (3, [3.0]),
        ("0.1", [0.1]),
        ("0.01:1:3", [0.01, 0.1, 1.0]),
        ("1:0.01:5", [1.0, 0.316, 0.1, 0.0316, 0.01]),
        ("0.5:2:1", [0.5]),
        ("1.05:1.06:6", [1.05, 1.052, 1.054, 1.056, 1.058, 1.06]),
        ("2:2:3", [2.0, 2.0, 2.0]),
    ],
)
def test_rates_are_numbers_or_a_range_with_both_its_ends(text, rates):
    assert rates_of(text) == rates


@pytest.mark.parametrize("text", ["0:1:3", "1:-1:3", "0.1:inf:3", "0.1:1:0", "0.1:1:x"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(UserError, match=f"^--learning-rates can't be '{text}'; write numbers"):
        rates_of(text)


def test_the_last_layer_counts_to_the_depth_of_a_network():
    assert mlp_name(16, 2, "tanh") == "mlp-16-tanh"
    assert mlp_name(8, 4, "relu", "glorot") == "mlp-8-8-8-relu-glorot"


def test_a_resume_goes_on_in_its_own_folder(tmp_path):
    with pytest.raises(UserError, match=f"^--resume {tmp_path} goes on in that folder, .*; leave --output out$"):
        SweepOptions(resume=tmp_path, output=tmp_path / "other")
    for output in (None, tmp_path):
        assert SweepOptions(resume=tmp_path, output=output).goes_on() == tmp_path
