"""Do the running statistics of batch norm lag? A step takes the statistics of its
batch, an evaluation running ones.

While these lag, a network is evaluated as worse than it is, and another learning rate
may look best.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.noise import calm_floor


def lagging(trials: pd.DataFrame, epochs: pd.DataFrame, data: DataFacts) -> np.ndarray:
    """Return for each trial whether its evaluated training loss is above every batch's
    in half of its late epochs.

    An epoch lies between two evaluations: one with the weights of its first batch, and
    one after its last step. If both are above its largest batch loss by more than
    noise, the network did worse when it was evaluated than when it was trained. Dropout
    and augmentation do the opposite. Late is the last half of the epochs, but not the
    first one, before which nothing was trained.

    Tasks and loops are left out, since their steps may minimise something else than what is
    evaluated.

    Args:
        trials: rows of the `trials` table.
        epochs: rows of the `epochs` table.
        data: the facts about the data set.
    """
    if not data.of_networks:
        return np.full(len(trials), False)
    names = ["trial_id", "epoch", "train_loss", "step_loss_max"]
    rows = epochs.reindex(columns=names).sort_values(["trial_id", "epoch"])
    trial_id = rows["trial_id"]
    loss = rows["train_loss"].astype(float)
    largest = rows["step_loss_max"].astype(float)

    # A batch's mean may be below the loss by chance, but the mean over an epoch's
    # batches is that of all its images.
    settings = trials.set_index("trial_id")
    images = data.train_images - settings["holdout"].astype(float)
    images /= settings.get("reports", 1)
    if data.evaluated is not None:
        images = images.clip(upper=data.evaluated)
    evaluated = np.minimum(loss.groupby(trial_id).shift(), loss)
    floor = calm_floor(evaluated.clip(lower=0), trial_id.map(images).astype(float))

    is_above = floor > largest
    epoch = rows["epoch"]
    half = epoch.groupby(trial_id).transform("max") // 2
    is_late = (epoch > half) & (epoch > 1)
    share = is_above[is_late].groupby(trial_id).mean()
    return np.asarray(trials["trial_id"].map(share).astype(float).fillna(0.0) >= 0.5)
