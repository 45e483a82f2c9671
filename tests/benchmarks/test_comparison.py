"""Turns, ratios within a round, targets, records."""

import json
import sys

import pytest

from benchmarks.comparison import (
    Benchmark,
    Comparison,
    Target,
    report,
    run,
    take_turns,
    write_record,
)
from mnist_tune.machine import processor_model


def comparison_of(rounds, **options):
    """A comparison whose sides measure these numbers of seconds, round by round; and
    the order of the turns."""
    order = []

    def turn(side, values):
        remaining = iter(values)

        def measure():
            order.append(side)
            return {"wall_s": next(remaining), "driver_ms": None}

        return measure

    options = {
        "pairs": [("ours", "other")],
        "ratio_figures": ["wall_s"],
        "targets": (),
    } | options
    sides = {side: turn(side, values) for side, values in rounds.items()}
    formats = {"wall_s": "{:.1f}", "driver_ms": "{:.2f}"}
    return Comparison(title="a title", sides=sides, formats=formats, **options), order


def test_a_ratio_is_taken_within_a_round():
    comparison, _ = comparison_of({"ours": [2, 9, 4], "other": [1, 3, 8]})
    lines = report(comparison, take_turns(comparison, 3))
    # the ratio of the medians is 4 / 3
    assert lines[-1] == "ours/other: wall_s 2.00 (0.50..3.00)"


@pytest.fixture
def records(tmp_path, monkeypatch):
    """The folder of records, which is not there yet, for `python
    /somewhere/benchmarks/epoch.py --rounds 2`."""
    monkeypatch.setattr("benchmarks.comparison.RECORDS", tmp_path / "records")
    monkeypatch.setattr(
        sys, "argv", ["/somewhere/benchmarks/epoch.py", "--rounds", "2"]
    )
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
            "ours": [
                {"wall_s": 1, "driver_ms": None},
                {"wall_s": 3, "driver_ms": None},
            ],
            "other": [
                {"wall_s": 2, "driver_ms": None},
                {"wall_s": 4, "driver_ms": None},
            ],
        },
        "targets": [
            {"target": "ours/other wall_s at most 0.5", "median": 0.625, "met": False}
        ],
    }


def test_a_record_holds_no_secret(records, monkeypatch):
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "main_command.py",
            "--flags",
            "--output",
            "s3://me:hidden@bucket/?token=hidden",
        ],
    )
    write_record(Benchmark(record=True), {"processor": "a CPU"}, {"flags": sys.argv})
    (path,) = records.iterdir()
    assert "hidden" not in path.read_text()
    assert json.loads(path.read_text())["command"].endswith(
        "'s3://***@bucket/?token=***'"
    )
