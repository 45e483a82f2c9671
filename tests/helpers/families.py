"""Made-up trials of one architecture, which differ in their learning rates and
seeds."""

import pandas as pd

from validation.label_cuts import complete


def family(rows):
    """A family of one architecture: for each learning rate its regimes and test
    accuracies, a seed each."""
    each = [
        (rate, seed, *pair)
        for rate, pairs in rows.items()
        for seed, pair in enumerate(pairs)
    ]
    table = pd.DataFrame(
        each, columns=["learning_rate", "seed", "regime", "test_accuracy"]
    )
    return complete(table).assign(stop_reason="completed", reason="")


REPLICATES = family(
    {
        0.1: [("converged", 0.95), ("converged", 0.97)],
        1.0: [("converged", 0.98), ("converged", 0.98)],
        1.3: [("converged", 0.99), ("diverged", 0.1)],
        2.0: [("oscillating", 0.999), ("diverged", 0.1)],
    }
)
