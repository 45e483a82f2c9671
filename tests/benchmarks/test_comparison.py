"""Turns, ratios within a round, targets, records."""

import json
import re
import sys

import pytest

from benchmarks.comparison import (
    Benchmark,
    Comparison,
    Target,
    checked,
    describe_machine,
    ratios,
    report,
    run,
    take_turns,
    write_record,
)
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


@pytest.fixture
def records(tmp_path, monkeypatch):
    """The folder of records, which is not there yet, for `python /somewhere/benchmarks/epoch.py --rounds 2`."""
    monkeypatch.setattr("benchmarks.comparison.RECORDS", tmp_path / "records")
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/epoch.py", "--rounds", "2"])
    return tmp_path / "records"


def test_a_run_prints_the_machine_first_and_records_every_round(records, capsys):
    target = Target("ours", "wall_s", "at most", 0.5, "other")
    comparison, _ = comparison_of({"ours": [1, 3], "other": [2, 4]}, targets=[target])
    run(Benchmark(rounds=2, record=True), [comparison])
    assert capsys.readouterr().out.startswith(processor_model())
    (path,) = records.iterdir()
    content = json.loads(path.read_text())
    assert path.name.startswith(content["date"][:10] + "-epoch-")
    assert content["command"] == "python benchmarks/epoch.py --rounds 2"
    assert content["environment"]["processor"] == processor_model()
    assert "jax" in content["environment"]["versions"]
    assert content["asked"] == {"record": True, "rounds": 2}
    assert content["results"]["a title"] == {
        "rounds": {
            "ours": [{"wall_s": 1, "driver_ms": None}, {"wall_s": 3, "driver_ms": None}],
            "other": [{"wall_s": 2, "driver_ms": None}, {"wall_s": 4, "driver_ms": None}],
        },
        "targets": [{"target": "ours/other wall_s at most 0.5", "median": 0.625, "met": False}],
    }


def test_nothing_is_recorded_unasked(records):
    run(Benchmark(rounds=1), [comparison_of({"ours": [1], "other": [2]})[0]])
    assert not records.exists()


def test_records_are_named_by_date_and_processor_and_older_ones_stay(records):
    for value in (1, 2, 3):
        write_record(Benchmark(record=True), {"processor": "AMD EPYC (AVX2)"}, {"value": value})
    recorded = {path.name: json.loads(path.read_text())["results"]["value"] for path in records.iterdir()}
    named = {re.sub(r"^\d{4}-\d\d-\d\d-", "", name): value for name, value in recorded.items()}
    assert named == {"epoch-amd-epyc-avx2.json": 1, "epoch-amd-epyc-avx2-2.json": 2, "epoch-amd-epyc-avx2-3.json": 3}


def test_a_record_holds_no_secret(records, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main_command.py", "--flags", "--output", "s3://me:hidden@bucket/?token=hidden"])
    write_record(Benchmark(record=True), {"processor": "a CPU"}, {"flags": sys.argv})
    (path,) = records.iterdir()
    assert "hidden" not in path.read_text()
    assert json.loads(path.read_text())["command"].endswith("'s3://***@bucket/?token=***'")


def test_the_name_of_the_host_is_not_recorded():
    assert "host" not in describe_machine()


def test_counts_below_one_are_refused():
    with pytest.raises(UserError, match="--rounds must be at least 1, got 0"):
        Benchmark(rounds=0)
