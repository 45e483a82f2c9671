"""The measured curves have the labels that a person gave them, but for the misses that
are listed."""

import pytest
from real_curves import SWEEPS, labelled

LATE = "on its way: its epoch at the target, 29, is not quite three times the ten asked for"
MISSES = {("noise_large", 0.01, 0): LATE}
"""Sweep, learning rate and seed of trials that are labelled otherwise than a person
does, each for the reason given."""


@pytest.mark.parametrize("name", SWEEPS)
def test_labels_are_those_of_a_person(name):
    trials, epochs = SWEEPS[name]
    judged = labelled(trials, epochs)
    wrong = judged[judged["regime"] != judged["expected"]]
    shown = wrong[["learning_rate", "seed", "expected", "regime", "regime_evidence"]]
    keys = {(name, row.learning_rate, row.seed) for row in wrong.itertuples()}
    misses = {key for key in MISSES if key[0] == name}
    assert keys == misses, shown.to_string()


def test_at_least_nineteen_of_twenty_labels_are_a_persons():
    count = sum(len(trials) for trials, _ in SWEEPS.values())
    assert len(MISSES) <= 0.05 * count
