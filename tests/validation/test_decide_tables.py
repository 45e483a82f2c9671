"""A small part of the benchmark, on a made-up table: from a sweep with one seed to the
answer."""

import numpy as np
import pandas as pd

from validation.decide_tables import DecideTables, Table, answers, lists
from validation.label_cuts import complete

RATES = (0.1, 0.2, 0.4, 0.8)


def table(gaps, spread, seeds=20):
    """Accuracies whose noise is mostly that of the seed, so pairs differ little."""
    rng = np.random.default_rng(0)
    values = (
        0.93
        - np.array(gaps)
        + 0.01 * rng.normal(size=(seeds, 1))
        + spread * rng.normal(size=(seeds, len(gaps)))
    )
    rows = [
        {
            "seed": seed,
            "data_seed": seed,
            "learning_rate": rate,
            "validation_accuracy": values[seed, k],
        }
        for seed in range(seeds)
        for k, rate in enumerate(RATES)
    ]
    same = {
        "epochs_run": 5,
        "epochs_asked": 5,
        "stop_reason": "completed",
        "regime": "converged",
        "holdout": 672,
    }
    trials = complete(pd.DataFrame(rows).assign(**same))
    return Table("made up", trials, trials)


def test_lists_hold_the_best_and_answers_are_within_the_tolerance():
    """0.2 is the best, 0.4 is as good within the tolerance of about 0.004, the others
    are not."""
    found, config = (
        table([0.02, 0, 0.001, 0.03], 0.004),
        DecideTables(lists=5, answers=2),
    )
    for size in (1, 3):
        one = lists(found, size, config)
        assert one["count"] == (20 if size == 1 else 5)
        assert one["held"] >= 0.9
        assert 1 < one["length"] < 4
    answer = answers(found, config)
    assert answer["within"] >= 0.9
    assert answer["within"] > answer["best"], "0.4 is often the answer, too"
    assert 0.003 < answer["tolerance"] < 0.005
    assert answer["trials"] < 100
