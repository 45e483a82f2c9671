"""Made-up trials of one architecture, which differ in their learning rates and
seeds."""

import pandas as pd

from validation.label_cuts import complete


def family(rows):
    """A family of one architecture: for each learning rate its regimes and test
    accuracies, a seed each."""
    trials = []
    for rate, ends in rows.items():
        for seed, (regime, accuracy) in enumerate(ends):
            trial = {"learning_rate": rate, "seed": seed}
            trials.append(trial | {"regime": regime, "test_accuracy": accuracy})
    table = complete(pd.DataFrame(trials))
    return table.assign(stop_reason="completed", reason="")


REPLICATES = family(
    {
        0.1: [("converged", 0.95), ("converged", 0.97)],
        1.0: [("converged", 0.98), ("converged", 0.98)],
        1.3: [("converged", 0.99), ("diverged", 0.1)],
        2.0: [("oscillating", 0.999), ("diverged", 0.1)],
    }
)
