"""What a loop has no use for is refused in a line, before anything starts."""

import pytest
from ray.tune.schedulers import PopulationBasedTraining

from mnist_tune import (
    DecideOptions,
    EdgeOptions,
    Loop,
    RangeTestOptions,
    SweepOptions,
    TrialConfig,
    UserError,
    decide,
    find_edge,
    range_test,
    run_search,
    run_sweep,
)
from mnist_tune.commands.lr_regimes import LearningRateRegimes
from mnist_tune.tuning.options import refuse_useless


def train(run):
    yield {"train_loss": 1.0, "test_loss": 1.0}


LOOP = Loop(train, guess=2.3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lanes", 4),
        ("execution", "lanes"),
        ("data_memory", 2.0),
        ("trials_per_gpu", 2),
        ("train_images", 100),
        ("train_evaluation", 100),
        ("report_every", 100),
        ("sharpness", True),
        ("sharpness_every", 10),
        ("hang_minutes", 1.0),
        ("keep_best", True),
        ("dataset", "digits"),
        ("architecture", ("convnet",)),
        ("label_noise", 10),
        ("holdout", 10),
        ("loss", "mse"),
        ("dry_run", True),
    ],
)
def test_options_of_what_we_train_are_refused(name, value):
    options = LearningRateRegimes(loop="train.py:train", **{name: value})
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UserError) as refused:
        refuse_useless(options)
    line = f"{flag} is for what is trained without a loop; leave it out beside --loop"
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target", 0.9),
        ("save_every", 5),
        ("patience", 3),
        ("gpus_per_trial", 0.5),
        ("seeds", (1, 2)),
    ],
)
def test_options_of_a_loop_are_taken(name, value):
    refuse_useless(LearningRateRegimes(loop="train.py:train", **{name: value}))


def test_gpus_are_of_loops():
    line = "--gpus-per-trial is for loops; leave it out beside --architecture"
    with pytest.raises(UserError, match=line):
        refuse_useless(LearningRateRegimes(gpus_per_trial=1))


@pytest.mark.parametrize("count", [0, 1.5, -1])
def test_a_trial_has_a_share_of_a_gpu_or_whole_ones(count):
    line = "must be a share of one GPU, or a whole number of them"
    with pytest.raises(UserError, match=line):
        SweepOptions(gpus_per_trial=count)


def test_population_based_training_is_refused():
    scheduler = PopulationBasedTraining(
        time_attr="epoch",
        metric="scheduler_loss",
        mode="min",
        hyperparam_mutations={"trial": {"learning_rate": [0.1, 0.2]}},
    )
    options = SweepOptions(loop="loop", quiet=True)
    with pytest.raises(UserError, match="PopulationBasedTraining may copy or pause"):
        run_search("loops", {"learning_rate": 0.1}, 2, options, scheduler)


def test_an_edge_needs_an_expected_rate(levels):
    with pytest.raises(UserError, match="give a learning rate with --expected"):
        find_edge(EdgeOptions(loop=levels, quiet=True))


def test_a_range_test_is_refused(levels):
    with pytest.raises(UserError, match="a range test raises the rate within an epoch"):
        range_test(RangeTestOptions(loop=levels))


def test_a_decision_needs_other_examples_than_those_of_the_test(tmp_path):
    file = tmp_path / "tested_of_a_test.py"
    file.write_text(
        "from mnist_tune import Loop\nloop = Loop(None, test_examples=9, chance=0.1)\n"
    )
    options = DecideOptions(loop=f"{file}:loop", learning_rates=(0.1, 0.2), quiet=True)
    with pytest.raises(UserError, match="must not choose by its test set"):
        decide(options)


def test_what_names_no_loop_is_refused():
    with pytest.raises(UserError, match="--loop mine: there is none"):
        run_sweep("loops", TrialConfig(), SweepOptions(loop="mine", quiet=True))


def test_two_loops_in_one_sweep_are_refused(levels):
    options = SweepOptions(loop=(levels, f"{levels}(64)"), quiet=True)
    with pytest.raises(UserError, match="name one loop, and its arguments by their"):
        run_sweep("loops", TrialConfig(), options)
