"""What the labels of the made-up curves and sweeps say."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_curves import ISSUE_CURVES, curve, rise, sweep

from mnist_tune.regimes.curve_rules import curve_regime, reached
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.regimes.diverged import since
from mnist_tune.regimes.forecast import forecast


@pytest.mark.parametrize("name", ["late collapse", "late collapse of ten", "collapse in the last epoch"])
def test_a_late_collapse_says_where_it_was_and_when_it_fell(name):
    found, _ = ISSUE_CURVES[name]
    fell = int((found.accuracy > 0.5).sum()) + 1
    evidence = curve_regime(found)[1]
    assert evidence.startswith(f"late: accuracy {found.accuracy[fell - 2]:.4f}, then ")
    assert f"in epoch {fell}" in evidence


def test_a_dead_network_names_its_step():
    assert curve_regime(ISSUE_CURVES["dead"][0])[1].startswith("dead since step 7: accuracy never above 0.1124")
    assert since(curve([0.2, 0.1, 0.1, 0.1])) == " since epoch 2"


def test_single_spikes_are_evidence():
    assert curve_regime(ISSUE_CURVES["two spikes in fifty epochs"][0])[1].endswith("2 spikes in 50 epochs")


def test_a_target_belongs_to_the_data_set():
    found = ISSUE_CURVES["Fashion-MNIST"][0]
    assert curve_regime(found, MNIST.target)[0] != "converged"
    assert "no target known" in curve_regime(found, None)[1]


@pytest.mark.parametrize("epochs", range(1, 7))
def test_without_a_target_every_length_has_a_label(epochs):
    """No sibling has learned, so that there is no target, and the curve is above chance and rises ever faster."""
    found = curve([0.16, 0.17, 0.19, 0.22, 0.26, 0.31][:epochs])
    assert curve_regime(found, None)[0] == "undecided"


def test_too_few_epochs_promise_nothing():
    """Not even that the target is never reached."""
    assert forecast(curve([0.5, 0.7]), 0.95).latest == np.inf
    assert reached(curve([0.5, 0.7]), 0.95, "undecided") is None


# --- with siblings


SMOKE = (0.01, [0.60, 0.725, 0.81]), (0.1, [0.886, 0.9048, 0.92]), (1.0, [0.9277, 0.9364, 0.944])


def test_the_smoke_sweep():
    assert sweep(*SMOKE)["regime"].tolist() == ["slow", "undecided", "undecided"]


def test_the_order_of_siblings_changes_nothing():
    assert sweep(*SMOKE[::-1])["regime"].tolist() == ["undecided", "undecided", "slow"]


DEAD = [0.1124] * 10, {"train_loss": [2.301] * 10, "untrained_loss": 2.4, "step_loss_max": [2.6] * 10}
GOOD = list(rise(0.94, 0.988, 10)), {"train_loss": [0.1] * 10, "untrained_loss": 2.4, "step_loss_max": [0.7] * 10}


def test_siblings_tell_dead_from_unlearnable():
    assert sweep((0.1, *GOOD), (3.0, *DEAD))["regime"].tolist() == ["converged", "diverged"]
    assert set(sweep((0.1, *DEAD), (3.0, *DEAD))["regime"]) <= {"underfit", "undecided"}
    assert sweep((0.1, *GOOD), (1e-6, *DEAD))["regime"].tolist() == ["converged", "slow"]


def test_the_best_of_a_sweep_is_slow_if_its_own_curve_says_so():
    slow = [list(rise(0.3 + 0.1 * i, 0.6 + 0.1 * i, 10)) for i in range(3)]
    found = sweep(*zip((1e-4, 1e-3, 1e-2), slow, strict=True))
    assert found["curve_regime"].tolist() == ["slow"] * 3
    assert found["regime"].tolist() == ["slow"] * 3


def test_batch_sizes_are_told_apart():
    good, slow = list(rise(0.94, 0.988, 10)), list(rise(0.3, 0.7, 10))
    found = sweep((0.1, good), (0.1, slow), (0.01, DEAD[0]), batch_size=[8, 2048, 2048])
    assert found["regime"].tolist() == ["converged", "slow", "slow"]
    found = sweep((0.1, good), (3.0, *DEAD), batch_size=[8, 2048])
    assert found["regime"].tolist() == ["converged", "diverged"]


def test_what_is_at_the_target_is_not_slow_though_a_sibling_is_far_ahead():
    ahead, behind = [0.97, 0.98, 0.985], [0.90, 0.93, 0.951]
    assert sweep((0.1, ahead), (0.01, behind), asked=10)["regime"].tolist() == ["converged", "undecided"]
    assert sweep((0.1, ahead), (0.01, [*behind[:2], 0.949]), asked=10)["regime"][1] == "slow"


def test_memorised_labels_are_overfit():
    assert curve_regime(curve(rise(0.3, 0.99, 10), held_out=[0.1] * 10))[0] == "overfit"


def test_what_crept_away_from_the_target_is_neither_slow_nor_underfit():
    assert curve_regime(curve([0.9, 0.95, 0.96, *np.linspace(0.958, 0.94, 7)]))[0] == "undecided"


def test_a_plateau_at_chance_may_end():
    assert curve_regime(curve([0.11, 0.11, 0.12], asked=10, train_loss=[2.302, 2.30, 2.299]))[0] == "undecided"


def test_the_best_sibling_is_the_measure_where_there_is_no_target():
    data = replace(MNIST, target=None)
    found = sweep((0.1, list(rise(0.82, 0.905, 10))), (0.01, list(rise(0.6, 0.8, 10))), data=data)
    assert found["regime"].tolist() == ["converged", "slow"]


def test_where_all_have_one_rate_none_is_the_best():
    slow = list(rise(0.3, 0.7, 10))
    assert sweep((0.1, slow), (0.1, slow))["regime"].tolist() == ["slow", "slow"]


def test_what_is_at_chance_at_the_rate_at_which_another_seed_learned_is_dead():
    assert sweep((0.1, *GOOD), (0.1, *DEAD))["regime"].tolist() == ["converged", "diverged"]
