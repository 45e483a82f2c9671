"""How many training examples are evaluated after an epoch where nobody says so."""

from __future__ import annotations

from typing import Literal

from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import LoopData, TaskData
from mnist_tune.regimes.data_facts import EVALUATED


def default_evaluation(
    data: Dataset | TaskData, asked: int | Literal["all"] | None
) -> int | Literal["all"] | None:
    """Return how many training examples are evaluated: as many as were `asked` for. By
    default these are the first 10,000; None stands for all.

    Examples in order of class are all evaluated, since the first ones are of few
    classes.
    """
    if asked is not None or isinstance(data, LoopData):
        return asked
    if data.order_note or data.spec.train_images <= EVALUATED:
        return None
    return EVALUATED
