"""The edge that a sweep's tables say was measured, from outcomes to what is printed."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from text_tables import rows

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
LOST = {"finite": False, "diverged": True, "above_since": 3}


@pytest.fixture
def searched(new_writer, epoch_row, tmp_path):
    """A function that writes a finished search of trials (rate, training loss,
    accuracy), of one network or of several by name, and reads it. What has no finite
    loss diverged."""

    def write_trial(writer, config, loss, accuracy, untrained):
        # all trials of a search have another seed: it counts them
        trial_id = f"{config.seed:05d}"
        writer.trial(trial_id, config)
        row = epoch_row(1, loss, accuracy, learning_rate=config.learning_rate)
        row["untrained_loss"] = untrained
        reason = "completed"
        if not math.isfinite(loss):
            row |= LOST
            reason = "diverged"
        writer.epoch(trial_id, row, False)
        writer.end(trial_id, reason)

    def write(trials, untrained=2.4, **config):
        networks = trials if isinstance(trials, dict) else {"mlp-8-relu": trials}
        writer = new_writer(tmp_path, count=0)
        searches = []
        seed = 0
        for name, outcomes in networks.items():
            template = TrialConfig(architecture=name, epochs=1, **config)
            searches.append(template.to_dict() | {"expected": 1.0})
            for rate, loss, accuracy in outcomes:
                trial = replace(template, learning_rate=rate, seed=seed)
                write_trial(writer, trial, loss, accuracy, untrained)
                seed += 1
        options = {"searches": searches, "precision": 0.05, "learned": None}
        writer.meta |= {"name": "edge", "search": True}
        writer.meta["options"] = options | {"workers": 3}
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
        odds = (rate / edge) ** (1 / 0.02)
        if rng.random() < 1 / (1 + odds):
            return (rate, 0.5, 0.9)
        return (rate, math.nan, 0.1)

    trials = {}
    for name, edge in EDGE.items():
        about_edge = [trial(edge) for _ in range(59)]
        trials[name] = [(edge / 2, 0.5, 0.9), *about_edge]
    return searched(trials).path


def with_stop_reason(sweep, changed, reason):
    """Return a sweep some of whose trials ended in another way."""
    reasons = sweep.trials["stop_reason"].mask(changed, reason)
    return replace(sweep, trials=sweep.trials.assign(stop_reason=reasons))


OUTCOME_TYPES = {
    "learned": "bool",
    "calm": "bool",
    "diverged": "bool",
    "learning_rate": "float64",
    "train_accuracy": "float64",
}


def test_an_edge_of_which_no_trial_has_ended_yet_has_no_outcomes(folder):
    ended = load_sweep(folder)
    is_open = ended.trials["architecture"] == "mlp-16-tanh"
    sweep = with_stop_reason(ended, is_open, "running")
    edge, unknown = sorted(sweep.edges(), key=lambda edge: -edge.trials)
    assert edge.title == "mlp-8-tanh"
    assert unknown.title == "mlp-16-tanh"
    assert unknown.trials == 0
    assert unknown.is_bracketed is False
    reason = "fewer than the 4 trials that say what counts as learned"
    assert f"mlp-16-tanh: no edge so far: {reason}" in repr(sweep.answer())
    types = edge.outcomes.dtypes.map(str)
    assert types.to_dict() == OUTCOME_TYPES


@pytest.mark.parametrize(
    ("loss", "learned"), [(0.009, True), (0.011, False), (0.0, True), (-1.0, True)]
)
def test_where_losses_fall_far_half_of_that_is_by_their_logarithms(loss, learned):
    row = {"diverged": False, "train_loss": loss, "untrained_loss": 1.0}
    assert Learned(guess=1.0, best=1e-4).holds(row) == learned


def test_from_a_guess_far_below_the_untrained_loss_something_is_learned():
    row = {"diverged": False, "train_loss": 0.009, "untrained_loss": 66.0}
    row |= {"loss_noise": 6.5, "loss_error": 1e-3}
    learned = Learned(guess=4.0, best=1e-4)
    assert learned.holds(row)
    uncertain = row | {"loss_error": 2.0}
    assert not learned.holds(uncertain)


def with_options(sweep, **options):
    """Return a sweep that was asked for with other options."""
    options = sweep.meta["options"] | options
    return replace(sweep, meta=sweep.meta | {"options": options})


@pytest.mark.parametrize("reason", ["running", "completed"])
def test_a_trial_of_the_pilot_that_is_trained_again_after_an_error_fixes_nothing(
    folder, reason
):
    """Trials were proposed without it."""
    sweep = load_sweep(folder)
    least = sweep.edges()[1].learned.least
    is_first = sweep.trials["learning_rate"] == least
    retried = sweep.trials["trial_id"][is_first].tolist()
    assert len(retried) == 1

    def learned(reason, **options):
        changed = with_stop_reason(sweep, is_first, reason)
        edges = with_options(changed, **options).edges()
        return edges[1].learned

    assert learned(reason, retried=retried) == learned("error")
    assert learned("error") != learned("completed")


def test_both_edges_are_found_reported_and_drawn(folder, capsys, tmp_path):
    sweep = load_sweep(folder)
    edges = sweep.edges()
    assert [edge.title for edge in edges] == sorted(EDGE)
    for edge in edges:
        half = edge.rate(0.5)
        true_edge = EDGE[edge.title]
        assert half.low < true_edge < half.high
        assert half.median == pytest.approx(true_edge, rel=0.03)
        assert edge.rate(0.9).median < half.median < edge.rate(0.1).median
        # here, all that is not calm diverged
        assert edge.calm.median == pytest.approx(half.median, rel=0.02)
        assert edge.diverges.median == pytest.approx(half.median, rel=0.02)
        assert edge.is_precise
    assert print_report(sweep, every_line=True) == 0
    report = capsys.readouterr().out
    assert f"50% at {edges[0].rate(0.5)}" in report
    assert "60 trials, half-width" in report
    assert "precise to 5%" in report
    assert "try rates between:" not in report
    picture = tmp_path / "edge.png"
    sweep.plot(picture)
    assert picture.stat().st_size > 20_000


def test_edges_of_three_widths_have_an_exponent(folder):
    sweep = load_sweep(folder)
    edges = sweep.edges()
    wide = replace(edges[0], title="mlp-32-tanh")
    sweep.__dict__["_edges"] = [*edges, wide]
    *_, (title, [last]) = findings.edges_in_words(answer(sweep).data)
    assert title == "mlp-N-tanh"
    assert last.startswith("the rate at which 50% learn goes as width^")


DIVERGED = {"curve_regime": "diverged", "regime": "diverged", "stop_reason": "diverged"}
ENDS = {
    "calm": {"regime": "diverged"},  # as its siblings learned
    "spiked": {},
    "fell": {},
    "oscillating": {"curve_regime": "oscillating"},
    "diverged": DIVERGED,
    "stopped": {"stop_reason": "slow"},
    "cut": {"stop_reason": "interrupted"},
}


def trials_with_ends():
    """Return a trial of two epochs for each of `ENDS`, slow but for what it says."""
    usual = vars(TrialConfig(holdout=0)) | {"epochs_asked": 2}
    usual |= {"stop_reason": "completed", "curve_regime": "slow", "regime": "slow"}
    rows = [usual | {"trial_id": name} | end for name, end in ENDS.items()]
    return pd.DataFrame(rows, index=range(10, 17))


def epochs_with_ends():
    """Return their epochs, the last ones first: one spiked, and one fell."""
    usual = {"untrained_loss": 2.4, "test_accuracy": 0.6, "diverged": False}
    usual |= {"train_accuracy": 0.6, "step_loss_max": 1.0}
    rows = []
    for epoch, loss in ((2, 1.0), (1, 2.0)):
        for name in ENDS:
            row = {"trial_id": name, "epoch": epoch, "train_loss": loss}
            rows.append(usual | row)
    epochs = pd.DataFrame(rows)
    is_last = epochs["epoch"] == 2
    epochs.loc[is_last & (epochs["trial_id"] == "spiked"), "step_loss_max"] = 9.0
    epochs.loc[is_last & (epochs["trial_id"] == "fell"), "train_accuracy"] = 0.5
    return epochs


def outcomes_of(epochs, learned):
    trials = trials_with_ends()
    return edge_outcomes(trials, epochs, last_rows(epochs), DATA["mnist"], learned)


def test_only_what_ended_by_itself_is_an_outcome_and_only_what_neither_slipped_nor_spiked_is_calm():
    epochs = epochs_with_ends()
    ordered = epochs.sort_values("epoch", kind="stable")
    outcomes = outcomes_of(ordered, Learned(2.3, 0.6))
    assert outcomes.index.tolist() == [10, 11, 12, 13, 14]
    assert outcomes["learned"].tolist() == [True, True, False, True, True], (
        "at least the accuracy that was asked for"
    )
    assert outcomes["calm"].tolist() == [True, False, False, False, False]
    assert outcomes["diverged"].tolist() == [True, False, False, False, True]
    by_loss = outcomes_of(epochs, Learned(2.3))
    assert by_loss["learned"].all(), "the loss of the last epoch, wherever it is"


def measured(outcomes, precision=0.05, expected=1.0):
    """A measured edge of (learning rate, whether it learned)."""
    table = pd.DataFrame(outcomes, columns=["learning_rate", "learned"])
    table["calm"] = True
    table["diverged"] = ~table["learned"]
    return MeasuredEdge("it", table, expected, precision, {})


def test_an_edge_is_precise_only_with_enough_outcomes_and_as_precise_as_asked_for():
    distances = sorted(np.linspace(-0.2, 0.2, 32), key=abs)
    rates = [math.exp(distance) for distance in distances]
    sharp = [(rate, rate < 1) for rate in rates]
    edge = measured(sharp)
    assert edge.is_precise
    assert not measured(sharp[:-1]).is_precise
    half_width = math.expm1(edge.rate(0.5).half_width)
    assert replace(edge, precision=0.985 * half_width).is_precise is True
    assert replace(edge, precision=0.97 * half_width).is_precise is False
    assert math.isnan(edge.calm.median), "all were calm"
    assert str(edge.calm) == "not found"
    assert edge.diverges == edge.rate(0.5), "each diverged that did not learn"


def test_an_edge_is_measured_as_its_search_was_asked_for(folder):
    """The families that no search was for are left out."""
    sweep = load_sweep(folder)
    search = sweep.meta["options"]["searches"][0] | {"expected": 2.0}
    narrow = with_options(sweep, searches=[search], precision=0.1, learned=0.95)
    [edge] = narrow.edges()
    assert edge.title == "mlp-8-tanh"
    assert edge.expected == 2.0
    assert edge.precision == 0.1
    assert len(edge.outcomes) == 60
    assert not edge.outcomes["learned"].any(), "their accuracy is 0.9"


def test_a_share_that_learns_at_no_rate_is_said_in_a_sentence():
    """Every fifth seed fails at any rate, so at none do nine of ten learn."""
    small = np.geomspace(0.3, 0.9, 120)
    large = np.geomspace(1.0, 1.2, 20)
    outcomes = [(rate, i % 5 > 0) for i, rate in enumerate(small)]
    outcomes += [(rate, False) for rate in large]
    first_line = findings.measured(measured(outcomes))[0]
    assert first_line.startswith(
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
    ("outcome", "line"),
    [
        (True, "all trials stayed calm; all trials diverged"),
        (False, "no trial stayed calm; no trial diverged"),
    ],
)
def test_where_all_trials_did_the_same_the_lines_say_what(outcome, line):
    edge = measured([(0.5, True), (2.0, False)])
    outcomes = edge.outcomes.assign(calm=outcome, diverged=outcome)
    lines = findings.measured(replace(edge, outcomes=outcomes))
    assert lines[1] == line


def test_a_killed_search_whose_trials_have_all_ended_says_how_to_go_on(folder):
    sweep = load_sweep(folder)
    has_ended = sweep.trials["stop_reason"] == "completed"
    meta = sweep.meta | {"ended": None, "search": True, "name": "edge"}
    killed = replace(sweep, trials=sweep.trials[has_ended], meta=meta)
    [question] = answer(killed, "there").questions
    assert question.text == "the sweep had not ended; resume with:"


def test_a_trial_whose_epochs_are_lost_is_no_outcome(folder):
    def outcomes(sweep):
        return sum(len(edge.outcomes) for edge in sweep.edges())

    sweep = load_sweep(folder)
    last_trial = sweep.trials["trial_id"].iloc[-1]
    is_lost = sweep.epochs["trial_id"] == last_trial
    without = replace(sweep, epochs=sweep.epochs[~is_lost])
    assert outcomes(without) == outcomes(sweep) - 1


LADDER = (1.0, 1 / 4, 1 / 16, 1 / 64)
"""The rates of a pilot."""


def learns(rates):
    return [(rate, 0.1, 0.95) for rate in rates]


def test_a_dead_network_has_not_learned_with_mse(searched):
    """A guess has a loss of 0.45, below half of what a He network has untrained."""
    dead = [(rate, 0.45, 0.11) for rate in np.geomspace(1.1, 8, 20)]
    sweep = searched(learns(LADDER) + dead, untrained=1.0, loss="mse")
    [edge] = sweep.edges()
    assert edge.outcomes["learned"].tolist() == [True] * 4 + [False] * 20
    assert 0.7 < edge.rate(0.5).median < 1.2


RATES_TOO_SMALL = [*LADDER, *np.geomspace(1e-3, 0.5, 16)]
RATES_BELOW = [*LADDER, *np.geomspace(0.1, 50, 40)]
LUCKY = """
    1.0       2.3  0.1
    0.25      0.3  0.9  # by luck
    0.0625    2.0  0.4  # too slow
    0.015625  2.2  0.2
"""
DIVERGE = [(0.25, 9, 0.1)] * 9


@pytest.mark.parametrize(
    ("trials", "reason"),
    [
        (learns(LADDER[:3]), "fewer than the 4 trials that say what counts as learned"),
        (
            [(rate, 2.29, 0.2 * rate**0.2) for rate in RATES_TOO_SMALL],
            "none of 20 trials learned; the most accurate, at rate 1, reached 0.2000; try more --epochs, or --learned",
        ),
        (
            rows(LUCKY) + DIVERGE,
            "less than half learned at 0.25, and smaller rates may be too slow; try more --epochs",
        ),
        (
            learns(RATES_BELOW),
            "all of 44 trials at rates 0.01562 to 50 learned; try a larger --expected",
        ),
    ],
)
def test_a_search_without_an_edge_says_why_in_place_of_an_interval(
    searched, trials, reason
):
    [edge] = searched(trials).edges()
    assert findings.measured(edge) == [f"no edge so far: {reason}"]
    assert not edge.is_precise
    has_learned = edge.outcomes["learned"].any()
    assert (edge.learned is None) == (not has_learned)


SLOW_PILOT = """
    1.0       2.3   0.1
    0.25      1.61  0.4
    0.0625    1.9   0.3
    0.015625  2.2   0.2
"""


def test_where_half_the_loss_is_out_of_reach_learned_is_relative_to_the_best_of_the_pilot(
    searched,
):
    """The pilot's best has 0.7 of a guess's loss, so 0.85 of it has learned. The trials
    after it don't count for that, nor do those of the pilot that were too slow, or
    nearly."""
    good = (0.3, 0.4, 0.9)
    within = (0.4, 1.94, 0.3)
    beyond = (0.5, 1.97, 0.3)
    later = [good] * 5 + [within] * 5 + [beyond] * 5
    [edge] = searched(rows(SLOW_PILOT) + later).edges()
    assert edge.learned.share == pytest.approx(0.85, abs=0.001)
    learned = edge.outcomes["learned"].tolist()
    assert learned == [False, True] + [True] * 10 + [False] * 5
    rule = "learned is a final training loss below 85% of a guess's or"
    assert rule in findings.measured(edge)[-1]


def test_a_search_in_which_all_diverged_asks_for_a_smaller_rate():
    edge = measured([(rate, False) for rate in (*LADDER, 3.0)])
    outcomes = edge.outcomes.assign(diverged=True, train_accuracy=0.1)
    [line] = findings.measured(replace(edge, outcomes=outcomes))
    reason = "all of 5 trials diverged, also at 0.01562; try a smaller --expected"
    assert line == f"no edge so far: {reason}"


def row_of(loss, accuracy=0.5):
    row = {"train_loss": loss, "untrained_loss": 2.4, "train_accuracy": accuracy}
    return row | {"diverged": not math.isfinite(loss)}


def test_a_pilot_goes_on_until_a_trial_has_learned():
    rule = Learned(guess=2.3)
    failed = [(1.0, row_of(2.29)), (0.25, None), (0.06, row_of(math.nan))]
    nothing = [*failed, (0.02, row_of(2.2))]
    assert rule.fixed_by([]) is None
    assert rule.fixed_by(nothing + failed) is None
    good = (3.0, row_of(1.0))
    better = (2.0, row_of(0.8))
    learned = rule.fixed_by([*nothing, good, better, *failed[:2]])
    assert learned.share == 0.5
    assert learned.least == 2.0


def test_the_least_rate_that_learned_well_is_that_of_the_pilot():
    slow = (0.01, row_of(2.0))
    barely = (0.04, row_of(1.0))
    well = (0.16, row_of(0.3))
    faster = (0.64, row_of(0.3))
    learned = Learned(guess=2.3).fixed_by([slow, barely, well, faster])
    assert learned.least == 0.16


def test_a_pilot_may_be_asked_for_an_accuracy():
    low_loss = [(1.0, row_of(0.1, 0.5))] * 4
    assert Learned(2.3, accuracy=0.6).fixed_by(low_loss) is None
    high_loss = [(1.0, row_of(2.0, 0.5))] * 4
    assert Learned(2.3, accuracy=0.5).fixed_by(high_loss).least == 1
