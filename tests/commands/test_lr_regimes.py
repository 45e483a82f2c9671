"""The trials of the sweep over learning rates, and what a dry run says of them."""

import sys

import pytest

from mnist_tune import SweepOptions, UserError
from mnist_tune.commands import lr_regimes
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.execution.pool import LanePool
from mnist_tune.tuning import dry_run


def test_trials_go_from_the_middle_of_the_range_outwards():
    trials = LearningRateRegimes(learning_rates=(0.001, 0.02, 0.1, 2.0, 10.0)).trials()
    rates = [trial.learning_rate for trial in trials]
    assert rates[:3] == [0.1, 0.02, 2.0]
    assert sorted(rates[3:]) == [0.001, 10.0]


def test_all_values_are_crossed_once_and_a_seed_sets_the_batch_order_too():
    config = LearningRateRegimes(
        architecture=("mlp-8-tanh", "mlp-9-tanh"), batch_size=(32, 64), momentum=(0.0, 0.9),
        learning_rates=(0.1, "0.1:1:2"), seeds=(3, 0, 3), epochs=7, holdout=50, drop_last=True,
    )  # fmt: skip
    trials = config.trials()
    assert len(set(trials)) == len(trials) == 2**5
    assert {(trial.seed, trial.data_seed) for trial in trials} == {(3, 3), (0, 0)}
    assert {(trial.epochs, trial.holdout, trial.drop_last) for trial in trials} == {(7, 50, True)}


@pytest.mark.parametrize("name", ["learning_rates", "seeds", "architecture", "optimizer", "batch_size", "momentum"])
def test_an_empty_list_is_refused(name):
    with pytest.raises(UserError, match=f"^--{name.replace('_', '-')} needs at least one value"):
        LearningRateRegimes(**{name: ()}).trials()


def test_a_dry_run_says_what_would_be_trained_and_how_long_it_takes(few_images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SweepOptions, "load", lambda *_: few_images)
    monkeypatch.setattr(dry_run, "make_pool", lambda dataset, _: LanePool(dataset))
    run = LanePool.run
    monkeypatch.setattr(LanePool, "run", lambda *given: {"one": run(*given)["one"] | {"train_s": 10.0, "eval_s": 2.0}})
    monkeypatch.setattr(dry_run, "usable_cpus", lambda: 2)
    images = len(few_images.train_labels)
    flags = f"--architecture mlp-4-tanh mlp-8-tanh --learning-rates 0.1 1 --epochs 3 --batch-size {images // 2 - 1}"
    monkeypatch.setattr(sys, "argv", ["lr_regimes.py", "--dry-run", *flags.split()])
    assert lr_regimes.main() == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"4 trials, each of at most 3 epochs, on {few_images.name}"
    assert said[1] == f"mlp-4-tanh, sgd, {images // 2 - 1}: 3 steps an epoch; the last batch has 2 images"
    assert said[-2].startswith("note: the last batch of an epoch has 2 of")
    assert sum(line.startswith("  measured: an epoch takes 12 s with its evaluation; ") for line in said) == 2
    seconds = dry_run.START_S + 4 * 3 * 12 // 2
    assert said[-1] == f"about {seconds} s on this machine, 2 at a time; less if trials are stopped early"
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="leave --resume out"):
        list(dry_run.dry_run(LearningRateRegimes(resume=tmp_path)))
