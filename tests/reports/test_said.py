"""What is said of sweeps, to the letter (`kept_texts`): findings, decisions, and what
is printed of large ones."""

import math
from dataclasses import replace

import numpy as np
import pytest
from changed_sweeps import with_epochs, with_meta, with_trials
from kept_texts import assert_kept
from made_up_decisions import settings_at
from made_up_sweeps import decision
from recorded_data import recorded_data

from mnist_tune.answers.answer import EdgeAnswer
from mnist_tune.answers.decision import decided
from mnist_tune.answers.steps import StepKind
from mnist_tune.reports import findings, terminal, view
from mnist_tune.reports.answer import answer
from mnist_tune.reports.decided import decided_in_words
from mnist_tune.reports.findings import (
    edges_in_words,
    facts,
    failures,
    notes,
    ran,
    repeated,
)
from mnist_tune.reports.table import columns
from mnist_tune.reports.terminal import print_report
from mnist_tune.reports.view import View
from mnist_tune.results.tables import TIMES

SETTINGS = settings_at(0.1, 0.10001, 0.4)


@pytest.fixture
def same(tmp_path):
    """A function that compares a text with the one that is kept under a name."""

    def compare(name, lines):
        text = "\n".join(lines) + "\n"
        assert_kept(name, text.replace(str(tmp_path), "HERE"))

    return compare


def in_words(sweep):
    """What a decision found."""
    result = decided(sweep, sweep.decision)
    if result is None:
        return []
    return list(decided_in_words(result, sweep.decision))


def table(sweep):
    """The columns of its table, by their titles."""
    with_words = [column for column in columns(View([sweep])) if column.look != "curve"]
    return {column.title: column.cells for column in with_words}


# --- the accuracies of a decision's settings, by the order of their seeds


def noise(order, setting):
    return 0.004 * ((order * (3 + setting)) % 5 - 2)


def clear(order, setting):
    return 0.9 - 0.05 * setting + noise(order, setting)


def close(order, setting):
    return 0.8 - 0.003 * setting + noise(order, setting)


def failing(order, setting):
    if order % (2 + setting) == 1:
        return math.nan
    return 0.8 + noise(order, setting)


def better_but_fails(order, setting):
    if setting != 2:
        return 0.85 + noise(order, setting)
    if order in (1, 3):
        return math.nan
    return 0.85 + 0.05 + noise(order, setting)


def apart(order, setting):
    if order == setting:
        return 0.9 - 0.1 * setting
    return math.nan


def confirmed(order, setting):
    if (order, setting) == (2, 1):
        return None
    if order == 20:
        return math.nan
    return clear(order, setting)


def all_failing(order, setting):
    return math.nan


def not_trained(order, setting):
    return None


def four_networks():
    networks = []
    for name in ("a", "b"):
        network = {"architecture": name, "nesterov": name == "b", "momentum": 0.5}
        for size in (32, 64):
            setting = network | {"batch_size": size, "learning_rate": 0.1}
            networks.append(setting)
    return networks


def decisions(base):
    """Yield a name and a decision for each way in which one may end."""
    few = SETTINGS[:2]
    networks = four_networks()
    two_networks = [
        {"architecture": "a", "learning_rate": 0.1},
        {"architecture": "b", "learning_rate": 0.2},
    ]

    def compared(settings, accuracy, **options):
        return decision(base, settings, accuracy, **options)

    sweep = compared(SETTINGS, clear, tolerance=0.001, chosen_by="test")
    yield "clearly", sweep
    sweep = compared(SETTINGS, confirmed, tolerance=0.01, confirm=True)
    yield "confirmed, with an error and a failure", sweep
    yield "too few seeds", compared(networks, clear, trials=8)
    sweep = compared(two_networks, close, trials=30, tolerance=0.0001, confirm=True)
    yield "not settled", sweep
    sweep = compared(networks[:3], close, trials=60, tolerance=0.02)
    yield "within the tolerance", sweep
    sweep = compared(SETTINGS, failing, trials=24, tolerance=0.01)
    yield "failures", sweep
    sweep = compared(SETTINGS, better_but_fails, trials=40, tolerance=0.01)
    yield "better, but fails twice", sweep
    yield "no seed in common", compared(few, apart, trials=4)
    yield "all failed", compared(few, all_failing, trials=4)
    yield "none yet", compared(few, not_trained, trials=2)


def test_what_a_decision_found(made_up_sweep, same):
    base = made_up_sweep([0.1], epochs=1)
    lines = []
    for name, sweep in decisions(base):
        rows = zip(*table(sweep).values(), strict=True)
        lines.append(f"== {name}")
        lines += in_words(sweep)
        lines += [" | ".join(row) for row in rows]
    same("decisions said", lines)


def test_why_a_setting_left_is_said_as_it_was_then(made_up_sweep):
    """0.4 fails with its first two seeds, so it is set aside; the best one fails once
    later."""

    def accuracy(order, setting):
        if setting == 2 and order < 2:
            return math.nan
        if (order, setting) == (3, 0):
            return math.nan
        return 0.9 - 0.02 * setting + noise(order, setting)

    base = made_up_sweep([0.1], epochs=1)
    sweep = decision(base, SETTINGS, accuracy, trials=40, tolerance=1e-4)
    first, second, *_ = in_words(sweep)
    assert first.startswith("0.1: none as reliable is ")
    assert second.startswith("1 of its 7 seeds failed (up to 52% of all may)")
    # as the answer
    best = sweep.best().iloc[0]
    assert best["learning_rate"] == 0.1
    assert best["failures"] == 1
    cells = table(sweep)
    row = cells["rate"].index("0.4")
    assert cells["seeds"][row] == "2"
    assert cells["failed"][row] == "2"
    state = "set aside, as another had failed with 0 seeds"
    assert cells["state"][row] == state


def test_a_calmer_setting_that_is_not_told_apart_is_named(made_up_sweep):
    def accuracy(order, setting):
        return 0.9 - 0.0005 * setting + noise(order, setting)

    base = made_up_sweep([0.1], epochs=1)
    sweep = decision(base, SETTINGS[:2], accuracy, tolerance=0.02)
    assert not [line for line in in_words(sweep) if line.startswith("calmer")]
    best = sweep.decision.is_of(0, sweep.trials)
    restless = with_trials(sweep, regime=np.where(best, "oscillating", "converged"))
    seeds = sum(best)
    calm = f"of {seeds} seeds, {seeds} neither failed nor oscillated, and 0 with 0.1"
    assert f"calmer, and may be as good: 0.10001 ({calm})" in in_words(restless)


def test_a_seed_at_chance_is_no_part_of_the_test_accuracy(made_up_sweep):
    def accuracy(order, setting):
        if (order, setting) == (1, 0):
            return 0.1
        return clear(order, setting)

    base = made_up_sweep([0.1], epochs=1)
    sweep = decision(base, SETTINGS[:2], accuracy)
    lines = in_words(sweep)
    [line] = [text for text in lines if text.startswith("test accuracy")]
    rows = sweep.trials[sweep.decision.is_of(0, sweep.trials)]
    seeds = len(rows) - 1
    mean = rows["test_accuracy"].nlargest(seeds).mean()
    assert line.startswith(f"test accuracy of 0.1, {seeds} seeds: {mean:.4f}")


def findings_of(sweep):
    """Yield what is found of a sweep, a line each."""
    found_answer = answer(sweep)
    if isinstance(found_answer.data, EdgeAnswer):
        for title, lines in edges_in_words(found_answer.data):
            yield ": ".join((title, *lines))
    yield from found_answer.details
    yield from notes(sweep)
    yield from failures(sweep.trials)
    steps = found_answer.data.next_steps
    for question, step in zip(found_answer.questions, steps, strict=True):
        if step.kind in (StepKind.RESUME, StepKind.RETRY):
            yield " ".join(question)
    for question in repeated(sweep):
        yield " ".join(question)
    for name, text in (facts(sweep) | ran(sweep)).items():
        yield f"{name}: {text}"


STARTED = {"started": "2026-01-02T03:04:05+00:00", "ended": "2026-01-02T03:09:06+00:00"}
RESUMED = {
    "resumed": ["2026-01-02T03:04:05+00:00"] * 2,
    "command": ["mnist-tune", "seeds", "a b"],
}
HERE = {
    "processor": "Some CPU",
    "cpus": 4,
    "versions": {"jax": "1", "ray": "", "python": "3"},
    "git_revision": "ab",
}
OWN_DATA = recorded_data("mnist", target=None, note="fewer images", positions=7)
SEARCH = {"search": True, "options": {"by": "random"}}
HELD_OUT = {
    "validation_accuracy": [0.9, 0.91, 0.95, 0.9, 0.2, 0.1],
    "validation_loss": 0.3,
    "holdout": 100,
}


def sweeps_elsewhere(base):
    elsewhere = with_meta(base, **STARTED, **RESUMED, environment=HERE)
    elsewhere = with_trials(elsewhere, device=["gpu"] * 4 + ["cpu", None])
    yield "elsewhere", with_epochs(elsewhere, lanes=[1] * 17 + [4])
    same_name = with_meta(
        base,
        environment={"processor": "cpu", "cpus": 4},
        command="it's",
        resumed=["2026-01-02T03:04:05"],
    )
    yield "on a processor of the same name", same_name


def sweeps_of_own_data(base):
    own_data = with_meta(base, dataset=OWN_DATA)
    batches = with_trials(own_data, batch_size=857)
    yield "data without a target", with_trials(batches, train_s=3600.0)
    nothing_learned = with_trials(
        batches, target=math.nan, drop_last=True, train_accuracy=0.2
    )
    yield "and nothing learned", nothing_learned
    yield "and a target asked for", with_meta(own_data, options={"target": 0.9})


def sweeps_of_settings(base):
    families = with_trials(
        base, momentum=[0.0, 0.5] * 3, weight_decay=0.01, nesterov=[False, True] * 3
    )
    yield "two families", families
    yield "with held-out images", with_trials(base, **HELD_OUT)


def sweeps_that_have_not_ended(base):
    started = with_meta(base, **STARTED)
    reasons = ["completed"] * 2 + ["running"] + ["waiting"] * 3
    running = with_trials(started, stop_reason=reasons)
    yield "running", with_meta(running, ended=None)
    unknown = ["completed"] * 5 + ["unknown"]
    yield "unknown", with_trials(base, stop_reason=unknown)
    reasons = ["error"] * 2 + ["interrupted"] * 4
    interrupted = with_trials(base, stop_reason=reasons, error="full")
    yield "interrupted", with_meta(interrupted, ended=None)
    reasons = ["error"] + ["completed"] * 5
    yield "one failed", with_trials(base, stop_reason=reasons, error="full")
    no_times = dict.fromkeys(TIMES, 0.0)
    none_began = with_trials(base, epochs_run=0, regime="undecided", **no_times)
    yield "none began", with_meta(none_began, dataset=OWN_DATA)


def sweeps_by_regime(base):
    yield "all alike", with_trials(base, test_accuracy=0.9, regime="converged")
    regimes = ["slow"] * 4 + ["diverged"] * 2
    none_converged = with_trials(
        base, test_accuracy=[0.5] * 4 + [0.1] * 2, regime=regimes
    )
    yield "none converged", none_converged
    regimes = ["converged", "converged", "slow", "converged", "diverged", "diverged"]
    yield "some seeds", with_trials(base, regime=regimes)


def sweeps_on_lanes(base):
    lanes = with_epochs(
        base,
        lanes=[1, 3] * 9,
        fill=0.25,
        node=["a", "b"] * 9,
        ended_at=np.arange(18),
        device=["cpu", "cpu", None] * 6,
    )
    yield "lanes", lanes


def searches(base):
    search = with_meta(with_trials(base, **HELD_OUT), **SEARCH)
    yield "a search", search
    settings = [0.1, 0.123456] * 3
    yield "a search of settings", with_trials(search, momentum=settings)
    settings = [0.1] * 2 + [0.2] * 4
    yield "a search of few rates", with_trials(search, momentum=settings)


def edges(edge_sweep):
    yield "an edge", edge_sweep
    number = np.arange(28)
    learned = np.where(number < 16, "completed", "asha")
    yield "all learned", with_trials(edge_sweep, stop_reason=learned)
    few = np.where(number > 24, "completed", "asha")
    yield "three trials", with_trials(edge_sweep, stop_reason=few)


def slowly_falling(order, setting):
    return 0.9 - 0.05 * setting + 0.004 * (order * (3 + setting) % 5)


def test_what_is_found_of_sweeps(made_up_sweep, edge_sweep, same):
    """What was said of an earlier one is counted."""
    base = made_up_sweep([0.1, 1, 3], seeds=2)
    cases = [
        ("a sweep", base),
        *sweeps_elsewhere(base),
        *sweeps_of_own_data(base),
        *sweeps_of_settings(base),
        *sweeps_that_have_not_ended(base),
        *sweeps_by_regime(base),
        *sweeps_on_lanes(base),
        *searches(base),
        *edges(edge_sweep),
        ("a decision", decision(base, SETTINGS, slowly_falling)),
    ]
    earlier = set()
    lines = []
    for name, sweep in cases:
        sentences = list(findings_of(sweep))
        new = [sentence for sentence in sentences if sentence not in earlier]
        repetitions = len(sentences) - len(new)
        lines += [f"== {name}", *new, f"and {repetitions} as before"]
        earlier.update(new)
    same("findings", lines)


def test_what_is_printed_of_a_sweep_with_more_trials_than_lines(
    made_up_sweep, monkeypatch, capsys, same
):
    """By ranges of rates; and all of it, where the terminal is too narrow for its
    lines."""
    monkeypatch.setattr(terminal, "MANY", 2)
    monkeypatch.setattr(findings, "FAILURES", 2)
    monkeypatch.setattr(view, "RANGES", 4)
    networks = ["[red]x[/]", "mlp-4-tanh", "net.py:deep"]
    sweep = made_up_sweep([0.01, 0.1, 3], seeds=2, architectures=networks)
    errors = [""] * 15 + ["[/] is full"] * 3
    reasons = ["asha"] * 15 + ["error"] * 3
    trials = sweep.trials.assign(error=errors, stop_reason=reasons)
    done = trials.assign(stop_reason="completed", label="a")

    def print_at(width, rows, every_line):
        monkeypatch.setattr(terminal, "PLAIN_WIDTH", width)
        print(f"== {width} wide, {len(rows)} trials")
        part = replace(sweep, trials=rows)
        print_report(part, every_line, picture=every_line)

    print_at(120, trials, every_line=False)
    print_at(120, done[:12], every_line=False)
    print_at(60, trials[12:], every_line=True)
    print_at(60, done[:6], every_line=True)
    same("printed", capsys.readouterr().out.splitlines())
