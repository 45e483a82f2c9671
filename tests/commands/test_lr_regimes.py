"""The trials of the sweep over learning rates, and what a dry run says of them."""

import re

import pytest

from mnist_tune import SweepOptions, UserError
from mnist_tune.cli import parse
from mnist_tune.commands import lr_regimes
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.execution.pool import LanePool
from mnist_tune.tuning import dry_run
from mnist_tune.tuning.sweep import combinations


def test_trials_go_from_the_middle_of_the_range_outwards():
    options = LearningRateRegimes(learning_rates=(0.001, 0.02, 0.1, 2.0, 10.0))
    rates = [trial.learning_rate for trial in options.trials()]
    assert rates[:3] == [0.1, 0.02, 2.0]
    assert sorted(rates[3:]) == [0.001, 10.0]


def test_all_values_are_crossed_once_and_a_seed_sets_the_batch_order_too():
    options = LearningRateRegimes(
        architecture=("mlp-8-tanh", "mlp-9-tanh"),
        batch_size=(32, 64),
        momentum=(0.0, 0.9),
        learning_rates=(0.1, "0.1:1:2"),
        seeds=(3, 0, 3),
        epochs=7,
        holdout=50,
        drop_last=True,
    )
    trials = options.trials()
    assert len(trials) == 2**5
    assert len(set(trials)) == 2**5
    seeds = {(trial.seed, trial.data_seed) for trial in trials}
    assert seeds == {(3, 3), (0, 0)}
    for trial in trials:
        assert trial.epochs == 7
        assert trial.holdout == 50
        assert trial.drop_last


CROSSED = {
    "architecture": ["mlp-8-tanh", "mlp-9-tanh"],
    "batch_size": [32, 64],
    "momentum": [0.5, 0.9],
    "nesterov": [False, True],
    "weight_decay": [0.001, 0.1],
    "clip_norm": [0.0, 1.0],
    "schedule": ["constant", "cosine"],
    "warmup_steps": [0, 20],
    "loss": ["cross-entropy", "mse"],
    "drop_last": [False, True],
    "label_noise": [0, 10],
    "holdout": [50, 100],
}
"""Two values of each setting."""


def test_every_setting_is_crossed_as_run_sweep_crosses_it():
    words = ["--learning-rates", "0.1", "0.2", "--seeds", "0"]
    for name, values in CROSSED.items():
        words += ["--" + name.replace("_", "-"), *map(str, values)]
    trials = parse(LearningRateRegimes, words).trials()
    fields = CROSSED | {"learning_rate": [0.1, 0.2], "epochs": 10}
    expected = combinations(fields)
    assert len(trials) == 2**13
    assert set(trials) == set(expected)


def test_a_switch_without_a_value_is_on():
    words = ["--momentum", "0.9", "--nesterov", "--drop-last"]
    options = parse(LearningRateRegimes, words)
    assert options.nesterov == (True,)
    assert options.drop_last == (True,)


@pytest.mark.parametrize(
    "name",
    ["learning_rates", "seeds", "architecture", "optimizer", "batch_size", "momentum"],
)
def test_an_empty_list_is_refused(name):
    flag = name.replace("_", "-")
    with pytest.raises(UserError, match=f"^--{flag} needs at least one value"):
        LearningRateRegimes(**{name: ()}).trials()


def test_a_dry_run_trains_an_epoch_and_makes_no_folder(
    few_images, main_of, tmp_path, monkeypatch
):
    monkeypatch.setattr(SweepOptions, "load", lambda *_: few_images)
    monkeypatch.setattr(dry_run, "make_pool", lambda dataset, _: LanePool(dataset))
    code, text, _ = main_of(lr_regimes, "--dry-run", "--architecture", "mlp-4-tanh")
    assert code == 0
    trials = "16 trials, each of at most 10 epochs"
    assert text.startswith(f"{trials}, on {few_images.name}\n")
    measured = r"an epoch takes \S+ s with its evaluation; compiling took \S+ s"
    assert re.search(rf"measured: {measured}\nabout [\d.]+ s", text)
    assert not list(tmp_path.iterdir())
