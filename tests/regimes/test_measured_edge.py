"""The edge that a sweep's tables say was measured, from outcomes to what is printed."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

from mnist_tune import TrialConfig, UserError, load_sweep
from mnist_tune.regimes.data_facts import DATA
from mnist_tune.regimes.measured_edge import (
    Learned,
    MeasuredEdge,
    edge_outcomes,
    last_rows,
)
from mnist_tune.reports import findings
from mnist_tune.reports.answer import answer
from mnist_tune.reports.terminal import print_report

EDGE = {"mlp-8-tanh": 1.5, "mlp-16-tanh": 3.0}


@pytest.fixture
def searched(new_writer, epoch_row, tmp_path):
    """A function that writes a finished search of trials (rate, training loss,
    accuracy), of one network or of several by name, and reads it. What has no finite
    loss diverged."""

    def write(trials, untrained=2.4, **config):
        networks = trials if isinstance(trials, dict) else {"mlp-8-relu": trials}
        templates = [
            TrialConfig(architecture=name, epochs=1, **config) for name in networks
        ]
        searches = [one.to_dict() | {"expected": 1.0} for one in templates]
        writer = new_writer(tmp_path, count=0)
        writer.meta |= {"name": "edge", "search": True}
        writer.meta["options"] = {
            "searches": searches,
            "precision": 0.05,
            "learned": None,
            "workers": 3,
        }
        each = [
            (one, *trial)
            for one, some in zip(templates, networks.values(), strict=True)
            for trial in some
        ]
        for number, (template, rate, loss, accuracy) in enumerate(each):
            lost, trial_id = not math.isfinite(loss), f"{number:05d}"
            writer.trial(
                trial_id, dataclasses.replace(template, learning_rate=rate, seed=number)
            )
            row = epoch_row(
                1, loss, accuracy, learning_rate=rate, untrained_loss=untrained
            )
            writer.epoch(
                trial_id,
                row
                | (
                    {"finite": False, "diverged": True, "above_since": 3}
                    if lost
                    else {}
                ),
                False,
            )
            writer.end(trial_id, "diverged" if lost else "completed")
        writer.finish(ended="now")
        return load_sweep(tmp_path)

    return write


@pytest.fixture
def folder(searched):
    """A search for two edges of width 0.02, with 60 trials each; those that fail
    diverge."""
    rng = np.random.default_rng(0)

    def trial(edge):
        rate = edge * math.exp(rng.normal(0, 0.08))
        learned = rng.random() < 1 / (1 + (rate / edge) ** (1 / 0.02))
        return (rate, 0.5, 0.9) if learned else (rate, math.nan, 0.1)

    trials = {
        name: [(edge / 2, 0.5, 0.9), *(trial(edge) for _ in range(59))]
        for name, edge in EDGE.items()
    }
    return searched(trials).path


def test_an_edge_of_which_no_trial_has_ended_yet_has_no_outcomes(folder):
    running = load_sweep(folder)
    open_ones = running.trials["architecture"] == "mlp-16-tanh"
    trials = running.trials.assign(
        stop_reason=running.trials["stop_reason"].mask(open_ones, "running")
    )
    found = dataclasses.replace(running, trials=trials)
    edge, other = sorted(found.edges(), key=lambda one: -one.trials)
    assert (edge.title, other.title) == ("mlp-8-tanh", "mlp-16-tanh")
    assert (other.trials, other.is_bracketed) == (0, False)
    assert (
        "mlp-16-tanh: no edge so far: fewer than the 4 trials that say what counts as learned"
        in repr(found.answer())
    )
    assert edge.outcomes.dtypes.map(str).to_dict() == {
        "learned": "bool",
        "calm": "bool",
        "diverged": "bool",
        "learning_rate": "float64",
        "train_accuracy": "float64",
    }


@pytest.mark.parametrize(
    ("loss", "learned"), [(0.009, True), (0.011, False), (0.0, True), (-1.0, True)]
)
def test_where_losses_fall_far_half_of_that_is_by_their_logarithms(loss, learned):
    row = {"diverged": False, "train_loss": loss, "untrained_loss": 1.0}
    assert Learned(guess=1.0, best=1e-4).holds(row) == learned


def test_from_a_guess_far_below_the_untrained_loss_something_is_learned():
    row = {
        "diverged": False,
        "train_loss": 0.009,
        "untrained_loss": 66.0,
        "loss_noise": 6.5,
        "loss_error": 1e-3,
    }
    assert Learned(guess=4.0, best=1e-4).holds(row)
    assert not Learned(guess=4.0, best=1e-4).holds(row | {"loss_error": 2.0})


@pytest.mark.parametrize("reason", ["running", "completed"])
def test_a_trial_of_the_pilot_that_is_trained_again_after_an_error_fixes_nothing(
    folder, reason
):
    """Trials were proposed without it."""
    sweep = load_sweep(folder)
    first = sweep.trials["learning_rate"] == sweep.edges()[1].learned.least
    [again] = sweep.trials["trial_id"][first]

    def learned(reason, **options):
        trials = sweep.trials.assign(
            stop_reason=sweep.trials["stop_reason"].mask(first, reason)
        )
        meta = sweep.meta | {"options": sweep.meta["options"] | options}
        return dataclasses.replace(sweep, trials=trials, meta=meta).edges()[1].learned

    assert learned(reason, retried=[again]) == learned("error") != learned("completed")


def test_both_edges_are_found_reported_and_drawn(folder, capsys, tmp_path):
    sweep = load_sweep(folder)
    edges = sweep.edges()
    assert [edge.title for edge in edges] == sorted(EDGE)
    for edge in edges:
        found = edge.rate(0.5)
        assert found.low < EDGE[edge.title] < found.high
        assert found.median == pytest.approx(EDGE[edge.title], rel=0.03)
        assert edge.rate(0.9).median < found.median < edge.rate(0.1).median
        # here, all that is not calm diverged
        assert edge.calm.median == pytest.approx(found.median, rel=0.02)
        assert edge.diverges.median == pytest.approx(found.median, rel=0.02)
        assert edge.is_precise
    assert print_report(sweep, every_line=True) == 0
    said = capsys.readouterr().out
    assert f"50% at {edges[0].rate(0.5)}" in said
    assert "60 trials, half-width" in said
    assert "precise to 5%" in said
    assert "try rates between:" not in said
    sweep.plot(tmp_path / "edge.png")
    assert (tmp_path / "edge.png").stat().st_size > 20_000


def test_edges_of_three_widths_have_an_exponent(folder):
    sweep = load_sweep(folder)
    two = sweep.edges()
    sweep.__dict__["_edges"] = [*two, dataclasses.replace(two[0], title="mlp-32-tanh")]
    *_, (title, [last]) = findings.edges_in_words(answer(sweep).data)
    assert title == "mlp-N-tanh"
    assert last.startswith("the rate at which 50% learn goes as width^")


def test_only_what_ended_by_itself_is_an_outcome_and_only_what_neither_slipped_nor_spiked_is_calm():
    usual = vars(TrialConfig(holdout=0)) | {
        "stop_reason": "completed",
        "curve_regime": "slow",
        "regime": "slow",
    }
    trials = pd.DataFrame(
        [
            usual | {"trial_id": trial_id, "epochs_asked": 2} | values
            for trial_id, values in {
                "calm": {"regime": "diverged"},  # as its siblings learned
                "spiked": {},
                "fell": {},
                "oscillating": {"curve_regime": "oscillating"},
                "diverged": {
                    "curve_regime": "diverged",
                    "regime": "diverged",
                    "stop_reason": "diverged",
                },
                "stopped": {"stop_reason": "slow"},
                "cut": {"stop_reason": "interrupted"},
            }.items()
        ],
        index=range(10, 17),
    )
    known = {
        "train_loss": 1.0,
        "untrained_loss": 2.4,
        "test_accuracy": 0.6,
        "diverged": False,
    }
    rows = [
        known
        | {
            "trial_id": trial_id,
            "epoch": epoch,
            "train_accuracy": 0.6,
            "step_loss_max": 1.0,
        }
        for epoch in (2, 1)
        for trial_id in trials["trial_id"]
    ]
    epochs = pd.DataFrame(rows)
    epochs.loc[
        (epochs["trial_id"] == "spiked") & (epochs["epoch"] == 2), "step_loss_max"
    ] = 9.0
    epochs.loc[
        (epochs["trial_id"] == "fell") & (epochs["epoch"] == 2), "train_accuracy"
    ] = 0.5
    epochs.loc[epochs["epoch"] == 1, "train_loss"] = 2.0
    ordered = epochs.sort_values("epoch", kind="stable")
    found = edge_outcomes(
        trials, ordered, last_rows(ordered), DATA["mnist"], Learned(2.3, 0.6)
    )
    assert found.index.tolist() == [10, 11, 12, 13, 14]
    assert found["learned"].tolist() == [True, True, False, True, True], (
        "at least the accuracy that was asked for"
    )
    assert found["calm"].tolist() == [True, False, False, False, False]
    assert found["diverged"].tolist() == [True, False, False, False, True]
    by_loss = edge_outcomes(
        trials, epochs, last_rows(epochs), DATA["mnist"], Learned(2.3)
    )
    assert by_loss["learned"].all(), "the loss of the last epoch, wherever it is"


def measured(outcomes, precision=0.05, expected=1.0):
    """A measured edge of (learning rate, whether it learned)."""
    table = pd.DataFrame(outcomes, columns=["learning_rate", "learned"])
    return MeasuredEdge(
        "it",
        table.assign(calm=True, diverged=~table["learned"]),
        expected,
        precision,
        {},
    )


def test_an_edge_is_precise_only_with_enough_outcomes_and_as_precise_as_asked_for():
    rates = [math.exp(x) for x in sorted(np.linspace(-0.2, 0.2, 32), key=abs)]
    sharp = [(rate, rate < 1) for rate in rates]
    edge = measured(sharp)
    half_width = edge.rate(0.5).half_width
    assert edge.is_precise
    assert not measured(sharp[:-1]).is_precise
    for share, precise in ((0.985, True), (0.97, False)):
        assert (
            dataclasses.replace(
                edge, precision=share * math.expm1(half_width)
            ).is_precise
            is precise
        )
    assert math.isnan(edge.calm.median), "all were calm"
    assert str(edge.calm) == "not found"
    assert edge.diverges == edge.rate(0.5), "each diverged that did not learn"


def test_an_edge_is_measured_as_its_search_was_asked_for(folder):
    """The families that no search was for are left out."""
    sweep = load_sweep(folder)
    search = sweep.meta["options"]["searches"][0] | {"expected": 2.0}
    options = sweep.meta["options"] | {
        "searches": [search],
        "precision": 0.1,
        "learned": 0.95,
    }
    [edge] = dataclasses.replace(sweep, meta=sweep.meta | {"options": options}).edges()
    assert (edge.title, edge.expected, edge.precision) == ("mlp-8-tanh", 2.0, 0.1)
    assert len(edge.outcomes) == 60
    assert not edge.outcomes["learned"].any(), "their accuracy is 0.9"


def test_a_share_that_learns_at_no_rate_is_said_in_a_sentence():
    """Every fifth seed fails at any rate, so at none do nine of ten learn."""
    rates = [*np.geomspace(0.3, 0.9, 120), *np.geomspace(1.0, 1.2, 20)]
    edge = measured([(rate, rate < 1 and i % 5 > 0) for i, rate in enumerate(rates)])
    assert findings.measured(edge)[0].startswith(
        "seeds that learn, by learning rate: 90% at no rate; 50% at 0."
    )


@pytest.mark.parametrize(
    "searches",
    [
        "text",
        [3],
        [{"batch_size": 32}],
        [{"expected": -1.0}],
        [{"expected": 1.0, "learning_rat": 0.1}],
    ],
)
def test_a_forged_list_of_searches_is_refused(folder, searches):
    file = folder / "sweep.json"
    meta = json.loads(file.read_text())
    meta["options"]["searches"] = searches
    file.write_text(json.dumps(meta))
    with pytest.raises(UserError, match="was not written by a sweep"):
        load_sweep(folder)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (True, "all trials stayed calm; all trials diverged"),
        (False, "no trial stayed calm; no trial diverged"),
    ],
)
def test_where_all_trials_did_the_same_the_lines_say_what(outcome, said):
    edge = measured([(0.5, True), (2.0, False)])
    edge = dataclasses.replace(
        edge, outcomes=edge.outcomes.assign(calm=outcome, diverged=outcome)
    )
    assert findings.measured(edge)[1] == said


def test_a_killed_search_whose_trials_have_all_ended_says_how_to_go_on(folder):
    sweep = load_sweep(folder)
    ended = sweep.trials[sweep.trials["stop_reason"] == "completed"]
    killed = dataclasses.replace(
        sweep,
        trials=ended,
        meta=sweep.meta | {"ended": None, "search": True, "name": "edge"},
    )
    [said] = answer(killed, "there").questions
    assert said.text == "the sweep had not ended; resume with:"


def test_a_trial_whose_epochs_are_lost_is_no_outcome(folder):
    sweep = load_sweep(folder)
    lost = sweep.trials["trial_id"].iloc[-1]
    known = dataclasses.replace(
        sweep, epochs=sweep.epochs[sweep.epochs["trial_id"] != lost]
    )
    assert (
        sum(len(edge.outcomes) for edge in known.edges())
        == sum(len(edge.outcomes) for edge in sweep.edges()) - 1
    )


LADDER = (1.0, 1 / 4, 1 / 16, 1 / 64)
"""The rates of a pilot."""


def test_a_dead_network_has_not_learned_with_mse(searched):
    """A guess has a loss of 0.45, below half of what a He network has untrained."""
    dead = [(rate, 0.45, 0.11) for rate in np.geomspace(1.1, 8, 20)]
    [edge] = searched(
        [*((rate, 0.1, 0.95) for rate in LADDER), *dead], untrained=1.0, loss="mse"
    ).edges()
    assert edge.outcomes["learned"].tolist() == [True] * 4 + [False] * 20
    assert 0.7 < edge.rate(0.5).median < 1.2


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        (
            [(rate, 0.1, 0.95) for rate in LADDER[:3]],
            "fewer than the 4 trials that say what counts as learned",
        ),
        (
            [
                (rate, 2.29, 0.2 * rate**0.2)
                for rate in (*LADDER, *np.geomspace(1e-3, 0.5, 16))
            ],
            "none of 20 trials learned; the most accurate, at rate 1, reached 0.2000; try more --epochs, or --learned",
        ),
        (  # one trial of the pilot learned by luck, smaller rates were too slow, and others at its rate diverge
            [
                (1.0, 2.3, 0.1),
                (1 / 4, 0.3, 0.9),
                (1 / 16, 2.0, 0.4),
                (1 / 64, 2.2, 0.2),
                *[(0.25, 9, 0.1)] * 9,
            ],
            "less than half learned at 0.25, and smaller rates may be too slow; try more --epochs",
        ),
        (
            [(rate, 0.1, 0.95) for rate in (*LADDER, *np.geomspace(0.1, 50, 40))],
            "all of 44 trials at rates 0.01562 to 50 learned; try a larger --expected",
        ),
    ],
)
def test_a_search_without_an_edge_says_why_in_place_of_an_interval(
    searched, trials, said
):
    [edge] = searched(trials).edges()
    assert findings.measured(edge) == [f"no edge so far: {said}"]
    assert not edge.is_precise
    assert (edge.learned is None) == (not edge.outcomes["learned"].any())


def test_where_half_the_loss_is_out_of_reach_learned_is_relative_to_the_best_of_the_pilot(
    searched,
):
    """The pilot's best has 0.7 of a guess's loss, so 0.85 of it has learned. The trials
    after it don't count for that, nor do those of the pilot that were too slow, or
    nearly."""
    pilot = [
        (1.0, 2.3, 0.1),
        (1 / 4, 1.61, 0.4),
        (1 / 16, 1.9, 0.3),
        (1 / 64, 2.2, 0.2),
    ]
    later = [(0.3, 0.4, 0.9)] * 5 + [(0.4, 1.94, 0.3)] * 5 + [(0.5, 1.97, 0.3)] * 5
    [edge] = searched(pilot + later).edges()
    assert edge.learned.share == pytest.approx(0.85, abs=0.001)
    assert (
        edge.outcomes["learned"].tolist() == [False, True] + [True] * 10 + [False] * 5
    )
    assert (
        "learned is a final training loss below 85% of a guess's or"
        in findings.measured(edge)[-1]
    )


def test_a_search_in_which_all_diverged_asks_for_a_smaller_rate():
    edge = measured([(rate, False) for rate in (*LADDER, 3.0)])
    edge = dataclasses.replace(
        edge, outcomes=edge.outcomes.assign(diverged=True, train_accuracy=0.1)
    )
    [said] = findings.measured(edge)
    assert (
        said
        == "no edge so far: all of 5 trials diverged, also at 0.01562; try a smaller --expected"
    )


def row_of(loss, accuracy=0.5):
    return {
        "train_loss": loss,
        "untrained_loss": 2.4,
        "train_accuracy": accuracy,
        "diverged": not math.isfinite(loss),
    }


def test_a_pilot_goes_on_until_a_trial_has_learned():
    asked = Learned(guess=2.3)
    nothing = [
        (1.0, row_of(2.29)),
        (0.25, None),
        (0.06, row_of(math.nan)),
        (0.02, row_of(2.2)),
    ]
    assert asked.fixed_by([]) is None
    assert asked.fixed_by(nothing + nothing[:3]) is None
    found = asked.fixed_by(
        [*nothing, (3.0, row_of(1.0)), (2.0, row_of(0.8)), *nothing[:2]]
    )
    assert (found.share, found.least) == (0.5, 2.0)
    slow, barely, well = row_of(2.0), row_of(1.0), row_of(0.3)
    assert (
        asked.fixed_by([(0.01, slow), (0.04, barely), (0.16, well), (0.64, well)]).least
        == 0.16
    )
    assert Learned(2.3, accuracy=0.6).fixed_by([(1.0, row_of(0.1, 0.5))] * 4) is None
    assert Learned(2.3, accuracy=0.5).fixed_by([(1.0, row_of(2.0, 0.5))] * 4).least == 1
