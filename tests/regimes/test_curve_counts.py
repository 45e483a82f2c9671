"""The counts of images that the noise and the patience of a curve follow from."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mnist_tune import TrialConfig
from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.regimes.histories import Histories
from mnist_tune.regimes.noise import accuracy_noise, independent_answers


def test_images_that_are_left_out_are_evaluated_but_in_no_step():
    curve = Curve(np.zeros(1), 1, batch_size=3000, holdout=10_000, drop_last=True)
    assert (curve.trained, curve.steps, curve.evaluated) == (48_000, 16, 50_000)
    assert replace(curve, drop_last=False).trained == 50_000
    assert replace(curve, batch_size=60_000).trained == 1


def test_the_noise_of_tokens_is_neither_that_of_tokens_nor_that_of_examples():
    """Examples differ in how hard they are. The standard error that follows from one
    test set is that of many."""
    rng, examples, positions = np.random.default_rng(0), 500, 64
    hard = np.clip(rng.normal(0.44, 0.15, (400, examples, 1)), 0, 1)
    shares = rng.binomial(positions, hard).mean(2) / positions  # [test sets, examples]
    measured = shares.mean(1).std()
    answers = [
        independent_answers(one.mean(), (one**2).mean(), positions) for one in shares
    ]
    expected = float(accuracy_noise(0.44, examples * np.median(answers)))
    assert expected == pytest.approx(measured, rel=0.1)
    assert (
        2 * float(accuracy_noise(0.44, examples * positions))
        < expected
        < float(accuracy_noise(0.44, examples)) / 2
    )

    tokens = pd.DataFrame(
        {
            "trial_id": "a",
            "epoch": [1, 2],
            "test_accuracy": [0.2, 0.44],
            "answers": answers[:2],
        }
    )
    for table, images in (
        (tokens, examples * np.median(answers[:2])),
        (tokens.drop(columns="answers"), examples),
    ):
        columns = Histories.of(table, "a").columns("a")
        found = Curve.of(
            columns, TrialConfig(epochs=2), replace(MNIST, test_images=examples)
        )
        assert found.images == pytest.approx(images)
