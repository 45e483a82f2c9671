"""The search of the benchmark over data sets, on one so easy that its edge is found."""

import math

from mnist_tune import TrialConfig
from mnist_tune.data.dataset import load_dataset
from validation.elsewhere import Elsewhere, Trainer, measured


def test_a_search_in_one_process_finds_an_edge():
    template = TrialConfig(architecture="mlp-8-relu", epochs=2)
    edge = measured(Trainer(template, load_dataset("mnist-5k", train_images=1000)), 0.5, Elsewhere(trials=12))
    assert 4 <= len(edge.outcomes) <= 12
    assert edge.outcomes["learned"].any()
    assert math.isfinite(edge.rate(0.5)[1])
