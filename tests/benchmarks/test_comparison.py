"""Turns, ratios within a round, targets."""

import json

import pytest

from comparison import Benchmark, Comparison, Target, checked, ratios, report, run, take_turns
from mnist_tune import UserError
from mnist_tune.machine import processor_model


def comparison_of(rounds, **options):
    """A comparison whose sides measure these numbers of seconds, round by round; and the order of the turns."""
    order = []

    def turn(side, values):
        remaining = iter(values)

        def measure():
            order.append(side)
            return {"wall_s": next(remaining), "driver_ms": None}

        return measure

    options = {"pairs": [("ours", "other")], "ratio_figures": ["wall_s"], "targets": ()} | options
    sides = {side: turn(side, values) for side, values in rounds.items()}
    formats = {"wall_s": "{:.1f}", "driver_ms": "{:.2f}"}
    return Comparison(title="a title", sides=sides, formats=formats, **options), order


def test_odd_rounds_go_backwards():
    comparison, order = comparison_of({"ours": [1, 1, 1], "other": [1, 1, 1]})
    take_turns(comparison, 3)
    assert order == ["ours", "other", "other", "ours", "ours", "other"]


def test_a_ratio_is_taken_within_a_round():
    comparison, _ = comparison_of({"ours": [2, 9, 4], "other": [1, 3, 8]})
    lines = report(comparison, take_turns(comparison, 3))
    assert lines[-1] == "ours/other: wall_s 2.00 (0.50..3.00)"  # the ratio of the medians is 4 / 3


def test_a_round_without_the_figure_has_no_ratio():
    measured = {"ours": [{"steady": None}, {"steady": 3.0}], "other": [{"steady": 2.0}, {"steady": 2.0}]}
    assert ratios(measured, "ours", "other", "steady") == [1.5]


def test_the_table_has_medians_and_a_dash_for_what_a_side_does_not_have():
    comparison, _ = comparison_of({"ours": [1, 20, 4], "other": [2, 10, 3]})
    lines = report(comparison, take_turns(comparison, 3))
    assert [line.split() for line in lines[1:4]] == [
        ["wall_s", "driver_ms"],
        ["ours", "4.0", "-"],
        ["other", "3.0", "-"],
    ]


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("ours", "wall_s", "at most", 0.5, "other"), True),
        (Target("ours", "wall_s", "at most", 0.4, "other"), False),
        (Target("ours", "wall_s", "at least", 0.5, "other"), True),
        (Target("ours", "wall_s", "at least", 1.5), False),
        (Target("ours", "wall_s", "at most", 1.0), True),
    ],
)
def test_a_target_bounds_a_figure_or_its_ratio(target, met):
    measured = {"ours": [{"wall_s": 1.0}], "other": [{"wall_s": 2.0}]}
    assert [outcome["met"] for outcome in checked([target], measured)] == [met]


def test_what_did_not_run_has_no_ratio_and_no_verdict():
    targets = (Target("ours", "wall_s", "at most", 1.0, "other"), Target("ours", "driver_ms", "at most", 4.0))
    comparison, _ = comparison_of({"ours": [1]}, targets=targets)
    measured = take_turns(comparison, 1)
    assert len(report(comparison, measured)) == 3
    assert checked(targets, measured) == []


def test_a_run_prints_the_machine_first_and_keeps_every_round(tmp_path, capsys):
    comparison, _ = comparison_of({"ours": [1, 3], "other": [2, 4]})
    run(Benchmark(rounds=2, output=tmp_path / "figures.json"), [comparison])
    assert capsys.readouterr().out.startswith(processor_model())
    rounds = json.loads((tmp_path / "figures.json").read_text())["results"]["a title"]["rounds"]
    assert [figures["wall_s"] for figures in rounds["ours"]] == [1, 3]


def test_counts_below_one_are_refused():
    with pytest.raises(UserError, match="--rounds must be at least 1, got 0"):
        Benchmark(rounds=0)
