"""The counts of images that the noise and the patience of a curve follow from."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mnist_tune import TrialConfig
from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.regimes.families import whole_epochs
from mnist_tune.regimes.histories import Histories
from mnist_tune.regimes.noise import accuracy_noise, independent_answers


def test_images_that_are_left_out_are_evaluated_but_in_no_step():
    curve = Curve(np.zeros(1), 1, batch_size=3000, holdout=10_000, drop_last=True)
    assert curve.trained == 48_000
    assert curve.steps == 16
    assert curve.evaluated == 50_000
    assert replace(curve, drop_last=False).trained == 50_000
    assert replace(curve, batch_size=60_000).trained == 1


EXAMPLES, POSITIONS = 500, 64


@pytest.fixture(scope="module")
def shares():
    """The shares of right tokens in each example of many test sets, [test sets,
    examples]. Examples differ in how hard they are."""
    rng = np.random.default_rng(0)
    hard = np.clip(rng.normal(0.44, 0.15, (400, EXAMPLES, 1)), 0, 1)
    return rng.binomial(POSITIONS, hard).mean(2) / POSITIONS


@pytest.fixture(scope="module")
def answers(shares):
    """How many independent answers an example counts for, by each test set."""
    return [
        independent_answers(right.mean(), (right**2).mean(), POSITIONS)
        for right in shares
    ]


def test_the_noise_of_tokens_is_neither_that_of_tokens_nor_that_of_examples(
    shares, answers
):
    """The standard error that follows from one test set is that of many."""
    measured = shares.mean(1).std()
    independent = EXAMPLES * np.median(answers)
    expected = float(accuracy_noise(0.44, independent))
    assert expected == pytest.approx(measured, rel=0.1)
    of_tokens = float(accuracy_noise(0.44, EXAMPLES * POSITIONS))
    of_examples = float(accuracy_noise(0.44, EXAMPLES))
    assert 2 * of_tokens < expected < of_examples / 2


def test_a_curve_of_tokens_counts_its_independent_answers(answers):
    table = pd.DataFrame({"epoch": [1, 2], "test_accuracy": [0.2, 0.44]})
    table["trial_id"] = "a"

    def images(table):
        columns = Histories.of(table, "a").columns("a")
        facts = replace(MNIST, test_images=EXAMPLES)
        return Curve.of(columns, TrialConfig(epochs=2), facts).images

    first = answers[:2]
    of_tokens = EXAMPLES * np.median(first)
    assert images(table.assign(answers=first)) == pytest.approx(of_tokens)
    assert images(table) == pytest.approx(EXAMPLES)


def test_a_report_has_its_part_of_an_epochs_steps_and_images():
    curve = Curve(np.zeros(10), 10, batch_size=3000, reports=5)
    assert curve.steps == 4
    assert curve.trained == 12_000

    assert Curve(np.zeros(10), 10, batch_size=3000).steps == 20


def test_epochs_that_were_asked_for_are_whole_ones_whatever_their_reports():
    trials = pd.DataFrame({"epochs_asked": [20, 30], "reports": [2, 3]})
    assert whole_epochs(trials).tolist() == [10, 10]
    assert whole_epochs({"epochs_asked": 20}) == 20
