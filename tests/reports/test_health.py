"""How well a sweep ran, as lines and rows."""

import math
from dataclasses import replace

from mnist_tune import TrialConfig
from mnist_tune.reports.health import MOST_ERRORS, health


def test_of_many_failed_trials_the_first_are_listed_and_the_others_counted(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    trials = [TrialConfig(learning_rate=0.1 * (i + 1), epochs=1) for i in range(14)]
    writer.meta["trials"] = {f"{i:05d}": trial.to_dict() for i, trial in enumerate(trials)}
    writer.epoch("00000", epoch_row(1), False)
    writer.end("00000", "completed")
    for i in range(1, 14):
        writer.end(f"{i:05d}", "error", f"out of memory {i}")
    found = health(writer.finish(ended="now"), "a sweep")
    assert len(found.errors) == MOST_ERRORS == 10
    assert found.errors[0] == ("trial 00001 (learning rate 0.2)", "out of memory 1")
    assert found.errors[-1][0] == "trial 00010 (learning rate 1.1)"
    assert found.errors_left == 3
    assert dict(found.lines)["trials ended"] == "13 error, 1 completed"


def test_of_few_failed_trials_none_is_left_out(new_writer, tmp_path):
    writer = new_writer(tmp_path / "sweep", count=3)
    writer.end("00000", "error", "out of memory")
    found = health(writer.finish(ended="now"), "a sweep")
    assert (len(found.errors), found.errors_left) == (1, 0)


def test_times_fill_and_nodes(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    for trial_id, node in (("00000", "one"), ("00001", "two")):
        for epoch in (1, 2, 3):
            values = {"node": node, "lanes": 2 * epoch, "fill": 0.25 * epoch, "ended_at": 1e9 + 6 * epoch}
            writer.epoch(
                trial_id, epoch_row(epoch, train_s=50.0, eval_s=30.0, compile_s=15.0, wait_s=5.0, **values), False
            )
        writer.end(trial_id, "completed")
    sweep = writer.finish(ended="now")
    found = health(sweep, "a sweep")
    lines = dict(found.lines)
    assert lines["time of all trials"] == (
        "training 5 min 0 s (50%), evaluating 3 min 0 s (30%), compiling 1 min 30 s (15%), waiting 30 s (5%)"
    )
    assert lines["lanes that trained together"] == "4.0 on average, at most 6"
    assert lines["fill"] == "50% of a device's lanes asked for an epoch"
    assert lines["resumed"] == "never"
    assert found.nodes == [
        {"node": node, "device": "cpu", "trials": "1", "epochs": "3", "epochs a minute": "10.0", "waited": "5%"}
        for node in ("one", "two")
    ]
    nowhere = replace(sweep, epochs=sweep.epochs.assign(device=None))
    assert {row["device"] for row in health(nowhere, "a sweep").nodes} == {"–"}


def test_what_was_not_measured_has_no_line_and_no_number(new_writer, epoch_row, tmp_path):
    writer = new_writer(tmp_path / "sweep")
    writer.epoch("00000", epoch_row(1, train_s=3.0, eval_s=0, compile_s=0, wait_s=1.0, device=None), False)
    writer.epoch("00001", epoch_row(1, train_s=None, eval_s=None, compile_s=None, wait_s=None), False)
    found = health(writer.finish(), "it")
    assert [name for name, _ in found.lines] == ["trials ended", "time of all trials", "resumed"]
    rows = sorted((row["epochs"], row["epochs a minute"], row["waited"]) for row in found.nodes)
    assert rows == [("1", "–", "25%"), ("1", "–", "–")], "on a device, and on one that is not known"
    nothing = health(new_writer(tmp_path / "empty").finish(), "it")
    assert [name for name, _ in nothing.lines] == ["trials ended", "resumed"]
    assert nothing.nodes == []


def test_resumes_and_what_the_driver_took(sweep):
    found = sweep(("completed",), ("diverged",), ("diverged",), ("interrupted",))
    driver = {"results": 200, "cpu_s": 0.5, "pages": 3, "pages_cpu_s": 4.25}
    times = ["2026-01-02T03:04:05+00:00", "2026-01-03T04:05:06+00:00"]
    lines = dict(health(replace(found, meta=found.meta | {"driver": driver, "resumed": times}), "it").lines)
    assert lines["resumed"] == "2 times, last 2026-01-03T04:05"
    assert lines["driver"] == "2.5 ms of CPU per result"
    assert lines["this page"] == "written 3 times meanwhile, 4.2 s of CPU"
    lanes = found.epochs.assign(lanes=[1] * 5 + [4], fill=math.nan)
    lines = dict(health(replace(found, epochs=lanes), "it").lines)
    assert lines["lanes that trained together"] == "1.5 on average, at most 4"
    assert "fill" not in lines
