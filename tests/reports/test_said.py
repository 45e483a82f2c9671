"""What is said of sweeps, to the letter (`kept_texts`): findings, decisions, and what
is printed of large ones."""

import math
from dataclasses import replace

import numpy as np
import pytest
from kept_texts import assert_kept
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

STARTED = {"started": "2026-01-02T03:04:05+00:00", "ended": "2026-01-02T03:09:06+00:00"}
SETTINGS = [{"learning_rate": rate} for rate in (0.1, 0.10001, 0.4)]


@pytest.fixture
def same(tmp_path):
    """A function that compares a text with the one that is kept under a name."""
    return lambda name, lines: assert_kept(
        name, "\n".join(lines).replace(str(tmp_path), "HERE") + "\n"
    )


def in_words(sweep):
    """What a decision found."""
    result = decided(sweep, sweep.decision)
    return [] if result is None else list(decided_in_words(result, sweep.decision))


def table(sweep):
    """The columns of its table, by their titles."""
    return {
        one.title: one.cells for one in columns(View([sweep])) if one.look != "curve"
    }


def noise(order, setting):
    return 0.004 * ((order * (3 + setting)) % 5 - 2)


def clear(order, setting):
    return 0.9 - 0.05 * setting + noise(order, setting)


def test_what_a_decision_found(made_up_sweep, same):
    base, lines = made_up_sweep([0.1], epochs=1), []

    def close(order, setting):
        return 0.8 - 0.003 * setting + noise(order, setting)

    def failing(order, setting):
        return math.nan if order % (2 + setting) == 1 else 0.8 + noise(order, setting)

    def better_but_fails(order, setting):
        return (
            math.nan
            if setting == 2 and order in (1, 3)
            else 0.85 + 0.05 * (setting == 2) + noise(order, setting)
        )

    def apart(order, setting):
        return 0.9 - 0.1 * setting if order == setting else math.nan

    def confirmed(order, setting):
        return (
            None
            if (order, setting) == (2, 1)
            else math.nan
            if order == 20
            else clear(order, setting)
        )

    networks = [
        {
            "architecture": name,
            "batch_size": size,
            "learning_rate": 0.1,
            "nesterov": name == "b",
            "momentum": 0.5,
        }
        for name in ("a", "b")
        for size in (32, 64)
    ]
    both = [
        {"architecture": name, "learning_rate": rate}
        for name, rate in (("a", 0.1), ("b", 0.2))
    ]
    for name, settings, accuracy, options in (
        ("clearly", SETTINGS, clear, {"tolerance": 0.001, "chosen_by": "test"}),
        (
            "confirmed, with an error and a failure",
            SETTINGS,
            confirmed,
            {"tolerance": 0.01, "confirm": True},
        ),
        ("too few seeds", networks, clear, {"trials": 8}),
        (
            "not settled",
            both,
            close,
            {"trials": 30, "tolerance": 0.0001, "confirm": True},
        ),
        (
            "within the tolerance",
            networks[:3],
            close,
            {"trials": 60, "tolerance": 0.02},
        ),
        ("failures", SETTINGS, failing, {"trials": 24, "tolerance": 0.01}),
        (
            "better, but fails twice",
            SETTINGS,
            better_but_fails,
            {"trials": 40, "tolerance": 0.01},
        ),
        ("no seed in common", SETTINGS[:2], apart, {"trials": 4}),
        ("all failed", SETTINGS[:2], lambda *_: math.nan, {"trials": 4}),
        ("none yet", SETTINGS[:2], lambda *_: None, {"trials": 2}),
    ):
        sweep = decision(base, settings, accuracy, **options)
        lines += [
            f"== {name}",
            *in_words(sweep),
            *map(" | ".join, zip(*table(sweep).values(), strict=True)),
        ]
    same("decisions said", lines)


def test_why_a_setting_left_is_said_as_it_was_then(made_up_sweep):
    """0.4 fails with its first two seeds, so it is set aside; the best one fails once
    later."""

    def accuracy(order, setting):
        fails = order < 2 if setting == 2 else (order, setting) == (3, 0)
        return math.nan if fails else 0.9 - 0.02 * setting + noise(order, setting)

    sweep = decision(
        made_up_sweep([0.1], epochs=1), SETTINGS, accuracy, trials=40, tolerance=1e-4
    )
    first, second, *_ = in_words(sweep)
    assert first.startswith("0.1: none as reliable is ")
    assert second.startswith("1 of its 7 seeds failed (up to 52% of all may)")
    # as the answer
    assert sweep.best()[["learning_rate", "failures"]].to_numpy()[0].tolist() == [
        0.1,
        1,
    ]
    found = table(sweep)
    row = found["rate"].index("0.4")
    said = [found[name][row] for name in ("seeds", "failed", "state")]
    assert said == ["2", "2", "set aside, as another had failed with 0 seeds"]


def test_a_calmer_setting_that_is_not_told_apart_is_named(made_up_sweep):
    def accuracy(order, setting):
        return 0.9 - 0.0005 * setting + noise(order, setting)

    sweep = decision(
        made_up_sweep([0.1], epochs=1), SETTINGS[:2], accuracy, tolerance=0.02
    )
    best = sweep.decision.is_of(0, sweep.trials)
    assert not [line for line in in_words(sweep) if line.startswith("calmer")]
    restless = replace(
        sweep,
        trials=sweep.trials.assign(regime=np.where(best, "oscillating", "converged")),
    )
    said = f"of {sum(best)} seeds, {sum(best)} neither failed nor oscillated, and 0 with 0.1"
    assert f"calmer, and may be as good: 0.10001 ({said})" in list(in_words(restless))


def test_a_seed_at_chance_is_no_part_of_the_test_accuracy(made_up_sweep):
    sweep = decision(
        made_up_sweep([0.1], epochs=1),
        SETTINGS[:2],
        lambda order, k: (
            0.1 if (order, k) == (1, 0) else 0.9 - 0.05 * k + noise(order, k)
        ),
    )
    [said] = [line for line in in_words(sweep) if line.startswith("test accuracy")]
    rows = sweep.trials[sweep.decision.is_of(0, sweep.trials)]
    seeds = len(rows) - 1
    assert said.startswith(
        f"test accuracy of 0.1, {seeds} seeds: {rows['test_accuracy'].nlargest(seeds).mean():.4f}"
    )


def said(sweep):
    """What is found of a sweep, a line each."""
    found = answer(sweep)
    if isinstance(found.data, EdgeAnswer):
        for title, lines in edges_in_words(found.data):
            yield ": ".join((title, *lines))
    yield from (*found.details, *notes(sweep), *failures(sweep.trials))
    left_over = [
        question
        for question, step in zip(found.questions, found.data.next_steps, strict=True)
        if step.kind in (StepKind.RESUME, StepKind.RETRY)
    ]
    yield from (" ".join(question) for question in (*left_over, *repeated(sweep)))
    yield from (f"{name}: {text}" for name, text in (facts(sweep) | ran(sweep)).items())


def test_what_is_found_of_sweeps(made_up_sweep, edge_sweep, same):
    """What was said of an earlier one is counted."""
    base = made_up_sweep([0.1, 1, 3], seeds=2)
    number = np.arange(28)

    def with_(sweep=base, meta=None, epochs=None, **trials):
        trials, epochs = (
            sweep.trials.assign(**trials),
            sweep.epochs.assign(**epochs or {}),
        )
        return replace(
            sweep, trials=trials, epochs=epochs, meta=sweep.meta | (meta or {})
        )

    own = recorded_data("mnist", target=None, note="fewer images", positions=7)
    here = {
        "processor": "Some CPU",
        "cpus": 4,
        "versions": {"jax": "1", "ray": "", "python": "3"},
        "git_revision": "ab",
    }
    search = {"search": True, "options": {"by": "random"}}
    held_out = {
        "validation_accuracy": [0.9, 0.91, 0.95, 0.9, 0.2, 0.1],
        "validation_loss": 0.3,
        "holdout": 100,
    }
    resumed = {
        "resumed": ["2026-01-02T03:04:05+00:00"] * 2,
        "command": ["mnist-tune", "seeds", "a b"],
    }
    nodes_of = {
        "node": ["a", "b"] * 9,
        "ended_at": np.arange(18),
        "device": ["cpu", "cpu", None] * 6,
    }
    cases = {
        "a sweep": base,
        "elsewhere": with_(
            meta=STARTED | resumed | {"environment": here},
            device=["gpu"] * 4 + ["cpu", None],
            epochs={"lanes": [1] * 17 + [4]},
        ),
        "on a processor of the same name": with_(
            meta={
                "environment": {"processor": "cpu", "cpus": 4},
                "command": "it's",
                "resumed": ["2026-01-02T03:04:05"],
            }
        ),
        "data without a target": with_(
            meta={"dataset": own}, batch_size=857, train_s=3600.0
        ),
        "and nothing learned": with_(
            meta={"dataset": own},
            target=math.nan,
            batch_size=857,
            drop_last=True,
            train_accuracy=0.2,
        ),
        "and a target asked for": with_(
            meta={"dataset": own, "options": {"target": 0.9}}
        ),
        "two families": with_(
            momentum=[0.0, 0.5] * 3, weight_decay=0.01, nesterov=[False, True] * 3
        ),
        "with held-out images": with_(**held_out),
        "running": with_(
            meta=STARTED | {"ended": None},
            stop_reason=["completed"] * 2 + ["running"] + ["waiting"] * 3,
        ),
        "unknown": with_(stop_reason=["completed"] * 5 + ["unknown"]),
        "interrupted": with_(
            meta={"ended": None},
            stop_reason=["error"] * 2 + ["interrupted"] * 4,
            error="full",
        ),
        "one failed": with_(stop_reason=["error"] + ["completed"] * 5, error="full"),
        "none began": with_(
            meta={"dataset": own},
            epochs_run=0,
            regime="undecided",
            **dict.fromkeys(TIMES, 0.0),
        ),
        "all alike": with_(test_accuracy=0.9, regime="converged"),
        "none converged": with_(
            test_accuracy=[0.5] * 4 + [0.1] * 2, regime=["slow"] * 4 + ["diverged"] * 2
        ),
        "some seeds": with_(
            regime=["converged"] * 2 + ["slow", "converged"] + ["diverged"] * 2
        ),
        "lanes": with_(epochs={"lanes": [1, 3] * 9, "fill": 0.25} | nodes_of),
        "a search": with_(meta=search, **held_out),
        "a search of settings": with_(
            meta=search, **held_out, momentum=[0.1, 0.123456] * 3
        ),
        "a search of few rates": with_(
            meta=search, **held_out, momentum=[0.1] * 2 + [0.2] * 4
        ),
        "an edge": edge_sweep,
        "all learned": with_(
            edge_sweep, stop_reason=np.where(number < 16, "completed", "asha")
        ),
        "three trials": with_(
            edge_sweep, stop_reason=np.where(number > 24, "completed", "asha")
        ),
        "a decision": decision(
            base,
            SETTINGS,
            lambda order, one: 0.9 - 0.05 * one + 0.004 * (order * (3 + one) % 5),
        ),
    }
    known, lines = set(), []
    for name, sweep in cases.items():
        found = list(said(sweep))
        new = [line for line in found if line not in known]
        lines += [f"== {name}", *new, f"and {len(found) - len(new)} as before"]
        known.update(new)
    same("findings", lines)


def test_what_is_printed_of_a_sweep_with_more_trials_than_lines(
    made_up_sweep, monkeypatch, capsys, same
):
    """By ranges of rates; and all of it, where the terminal is too narrow for its
    lines."""
    monkeypatch.setattr(terminal, "MANY", 2)
    monkeypatch.setattr(findings, "FAILURES", 2)
    monkeypatch.setattr(view, "RANGES", 4)
    sweep = made_up_sweep(
        [0.01, 0.1, 3],
        seeds=2,
        architectures=["[red]x[/]", "mlp-4-tanh", "net.py:deep"],
    )
    trials = sweep.trials.assign(
        error=[""] * 15 + ["[/] is full"] * 3, stop_reason=["asha"] * 15 + ["error"] * 3
    )
    done = trials.assign(stop_reason="completed", label="a")
    for width, every_line, each in (
        (120, False, (trials, done[:12])),
        (60, True, (trials[12:], done[:6])),
    ):
        monkeypatch.setattr(terminal, "PLAIN_WIDTH", width)
        for some in each:
            print(f"== {width} wide, {len(some)} trials")
            print_report(replace(sweep, trials=some), every_line, picture=every_line)
    same("printed", capsys.readouterr().out.splitlines())
