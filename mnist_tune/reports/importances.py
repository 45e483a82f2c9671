"""How much each setting matters for the result: permutation importances of a random forest, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mnist_tune.regimes.families import held_out
from mnist_tune.reports.page_data import with_epochs

LEAST_TRIALS = 40
"""With fewer trials, half of which are held out, the forest learns nothing."""

MOST_TRIALS = 2000
"""The forest sees at most this many trials, evenly chosen: more of them change the order of no importance."""

EXTRA = "python -m pip install scikit-learn"


class Importances(NamedTuple):
    """How much each setting matters to a random forest."""

    lost: list[tuple[str, float]]
    """Each setting with how much of R² is lost when its values are shuffled among the trials held out, the most first.
    """
    explained: float
    """R² of the forest on the trials held out; where it is low, the importances say little."""
    trials: int


def importances(trials: pd.DataFrame, names: Sequence[str]) -> Importances | str:
    """Return the importances of these settings for the logarithm of the error on the images that trials
    are compared on; or in words why there are none.

    Permutation importance as of Breiman 2001, on trials that the forest has not seen. The learning rate counts by its
    logarithm.
    """
    accuracy = f"{held_out(trials)}_accuracy"
    known = with_epochs(trials).dropna(subset=[accuracy])
    known = known.iloc[:: -(-len(known) // MOST_TRIALS) or 1]
    if len(known) < LEAST_TRIALS:
        return f"Importances need {LEAST_TRIALS} trials that finished an epoch."
    try:
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.inspection import permutation_importance
    except ImportError:
        return f"Importances need scikit-learn: {EXTRA}"
    table = np.column_stack([_numbers(name, known[name]) for name in names])
    error = np.log10(np.maximum(1 - known[accuracy].to_numpy(float), 1e-4))
    order = np.random.default_rng(0).permutation(len(known))
    seen, others = order[::2], order[1::2]
    forest = RandomForestRegressor(n_estimators=50, min_samples_leaf=2, random_state=0).fit(table[seen], error[seen])
    found = permutation_importance(forest, table[others], error[others], n_repeats=5, random_state=0)
    ranked = np.argsort(-found.importances_mean, kind="stable")
    explained = float(forest.score(table[others], error[others]))
    lost = [(names[i], max(float(found.importances_mean[i]), 0.0)) for i in ranked]
    return Importances(lost, explained, len(known))


def _numbers(name: str, values: pd.Series) -> np.ndarray:
    known = values if pd.api.types.is_numeric_dtype(values) else pd.Series(pd.factorize(values, sort=True)[0])
    numbers: np.ndarray = known.to_numpy(float)
    return np.log10(numbers) if name == "learning_rate" else numbers
