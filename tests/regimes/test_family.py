"""What trials of one network say of each other, and what they may not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from made_up_curves import AT_CHANCE, FAST, curve, level, losses, rise, sweep
from text_tables import numbers

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.labels import Family, Trial
from mnist_tune.regimes.reasons import Label, Reason

# --- at chance


@given(st.floats(1.5, 9), st.integers(0, 9), st.booleans())
def test_no_rate_below_all_that_learned_is_diverged(untrained, falls, flagged):
    """Whatever its untrained loss was, and whether its loss fell."""
    course = np.full(10, 2.4) - 0.001 * np.minimum(np.arange(10), falls)
    peaks = [untrained + 1, *[2.5] * 9]
    flags = {"diverged": [flagged] * 10, "above_since": 1}
    measured = losses(course, peaks, untrained, **flags)
    judged = sweep((0.001, AT_CHANCE, measured), (0.01, FAST), (0.1, FAST))
    assert judged["regime"][0] != "diverged"


# --- invariance


@given(st.permutations(range(6)))
def test_the_order_of_siblings_changes_nothing(order):
    wild = numbers("0.9 0.8 0.93 0.85 0.95 0.9 0.94 0.91 0.95 0.9")
    slow = list(rise(0.58, 0.86, 10))
    rates = (0.001, 0.1, 0.3, 0.5, 1.0, 3.0)
    courses = (slow, FAST, level(0.84), FAST, wild, AT_CHANCE)
    trials = [*zip(rates, courses, strict=True)]
    judged = sweep(*trials)
    permuted = [trials[i] for i in order]
    again = sweep(*permuted)
    for name in ("regime", "regime_evidence"):
        assert again[name].tolist() == judged[name][order].tolist()


def test_a_trial_without_an_epoch_is_undecided_and_says_nothing_of_others():
    sibling = Trial(0.1, 0.0, curve(level(0.80)))
    alone = Family()
    alone.put("own", sibling)
    both = Family()
    both.put("empty", Trial(1.0, 0.0, Curve(np.array([]), 10)))
    both.put("own", sibling)
    assert both.label("empty") == Label.of("undecided", Reason.NO_EPOCH)
    assert both.label("own") == alone.label("own")
