"""What is known of a loop, and what its run has."""

import pytest

from mnist_tune import Loop, Run, TrialConfig, UserError


def train(run):
    yield {"train_loss": 1.0, "test_loss": 1.0}


def test_a_run_has_all_settings_of_its_trial():
    trial = TrialConfig(learning_rate=0.3, seed=7, batch_size=64, momentum=0.9)
    run = Run(trial, "00003", {"width": 32})
    assert run.learning_rate == 0.3
    assert run.seed == 7
    assert run.batch_size == 64
    assert run.momentum == 0.9
    assert run.epochs == 10
    assert run.trial_id == "00003"
    assert run.arguments == {"width": 32}
    assert run.restore() is None
    with pytest.raises(AttributeError, match="no attribute 'lr'"):
        run.lr  # noqa: B018


@pytest.mark.parametrize(
    ("values", "line"),
    [
        pytest.param(
            {"chance": 1.5, "test_examples": 10},
            "a loop's chance must be in [0, 1), got 1.5",
            id="chance",
        ),
        pytest.param(
            {"chance": 0.1}, "a loop with chance needs test_examples, too", id="count"
        ),
        pytest.param(
            {"test_examples": 0},
            "a loop's test_examples must be a whole number of at least 1, got 0",
            id="none",
        ),
        pytest.param(
            {"scores": ("F1",)},
            "a loop's score 'F1' must be of a-z, 0-9 and _, at most 40",
            id="score",
        ),
    ],
)
def test_facts_that_can_not_be_are_refused(values, line):
    with pytest.raises(UserError) as refused:
        Loop(train, **values)
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ({"guess": 2.3}, ["train_loss", "test_loss"]),
        ({}, ["train_loss", "test_loss", "untrained_loss"]),
        ({"chance": 0.1, "test_examples": 9}, ["train_loss", "test_accuracy"]),
        (
            {"chance": 0.1, "validation_examples": 9},
            ["train_loss", "validation_accuracy"],
        ),
    ],
)
def test_what_a_report_needs_follows_from_the_facts(values, needed):
    assert Loop(train, **values).needed == needed


def test_what_is_known_of_a_loop_stands_for_it_elsewhere():
    loop = Loop(train, chance=0.1, test_examples=9, env={"A": "1"}, scores=("f1",))
    facts = loop.without_code()
    assert facts.train is None
    assert facts.env == {"A": "1"}
    assert Loop(**vars(facts)) == facts
