"""A small part of the benchmark, on a made-up table: from a sweep with one seed to the
answer."""

import numpy as np
import pandas as pd
import pytest

from validation.decide_tables import DecideTables, Table, answers, lists
from validation.label_cuts import complete

RATES = (0.1, 0.2, 0.4, 0.8)


ENDED = {
    "epochs_run": 5,
    "epochs_asked": 5,
    "stop_reason": "completed",
    "regime": "converged",
    "holdout": 672,
}


def table(gaps, spread, seeds=20):
    """Accuracies whose noise is mostly that of the seed, so pairs differ little."""
    rng = np.random.default_rng(0)
    values = 0.93 - np.array(gaps)
    values = values + 0.01 * rng.normal(size=(seeds, 1))
    values += spread * rng.normal(size=(seeds, len(gaps)))
    rows = []
    for seed, accuracies in enumerate(values):
        for rate, accuracy in zip(RATES, accuracies, strict=True):
            row = {"seed": seed, "data_seed": seed, "learning_rate": rate}
            rows.append(row | {"validation_accuracy": accuracy})
    trials = complete(pd.DataFrame(rows).assign(**ENDED))
    return Table("made up", trials, trials)


CONFIG = DecideTables(lists=5, answers=2)


@pytest.fixture(scope="module")
def made_up():
    """0.2 is the best, 0.4 is as good within the tolerance of about 0.004, the others
    are not."""
    return table([0.02, 0, 0.001, 0.03], 0.004)


@pytest.mark.parametrize(("size", "count"), [(1, 20), (3, 5)])
def test_lists_hold_the_best(made_up, size, count):
    scores = lists(made_up, size, CONFIG)
    assert scores["count"] == count
    assert scores["held"] >= 0.9
    assert 1 < scores["length"] < 4


def test_answers_are_within_the_tolerance(made_up):
    answer = answers(made_up, CONFIG)
    assert answer["within"] >= 0.9
    assert answer["within"] > answer["best"], "0.4 is often the answer, too"
    assert 0.003 < answer["tolerance"] < 0.005
    assert answer["trials"] < 100
