"""The pairwise table of options, what is found wrong with its sweeps, and a few of its
rows."""

import random
from itertools import product
from pathlib import Path

import pytest

from checks.combinations import (
    COUNTS,
    OPTIONS,
    Fields,
    Printed,
    compared,
    differing,
    fields_apart,
    flags,
    incomplete,
    table,
    tried,
    unmarked,
    values,
    write_data,
)
from checks.markers import marked
from checks.pairwise import every_pair, pairs, pairwise
from mnist_tune import cli
from mnist_tune.commands.lr_regimes import LearningRateRegimes

VALUES = {"a": 3, "b": 3, "c": 2, "d": 4, "e": 2, "f": 3}


def met(rows):
    return set().union(*map(pairs, rows))


def refused(row):
    """Refuse all of a=1 but with b=2 and c=0, and c=1 with d=3."""
    if row["a"] == 1 and (row["b"], row["c"]) != (2, 0):
        return True
    return row["c"] == 1 and row["d"] == 3


def not_refused(rows):
    """Those rows that are not refused."""
    return [row for row in rows if not refused(row)]


@pytest.mark.parametrize("seed", range(5))
def test_every_pair_meets_in_a_row_that_is_not_refused_where_there_is_one(seed):
    rows = pairwise(VALUES, refused, seed)
    combinations = product(*map(range, VALUES.values()))
    possible = [dict(zip(VALUES, row, strict=True)) for row in combinations]
    assert met(rows) == met(possible)
    assert met(not_refused(rows)) == met(not_refused(possible))
    # 432 rows are possible, 12 are the fewest that hold the pairs of a and d
    assert len(rows) < 30


def test_the_table_holds_every_pair_of_the_options():
    assert met(table(0)) == every_pair(COUNTS)
    assert len(OPTIONS) >= 16


def test_the_flags_of_every_value_mean_that_value():
    for name, kinds in OPTIONS.items():
        for number in range(len(kinds)):
            fields = values({"data": 0} | {name: number}, Path("folder"))
            options = cli.parse(LearningRateRegimes, flags(fields))
            assert options == LearningRateRegimes(**fields), fields


FIELDS: Fields = {
    "scheduler": "fifo",
    "execution": "process",
    "epochs": 4,
    "learning_rates": (0.1, 0.2),
}


@pytest.fixture
def sweep(tmp_path, new_writer, epoch_row):
    """A function that makes a sweep of two trials of four epochs, and changes the last
    row."""

    def make(name, rows=4, stop_reason="completed", **last):
        writer = new_writer(tmp_path / name, data_seed=0)
        for trial_id in ("00000", "00001"):
            for epoch in range(1, rows + 1):
                rate = 0.1 if trial_id == "00000" else 0.2
                row = epoch_row(epoch, learning_rate=rate, **last)
                writer.epoch(trial_id, row, repeated=False)
            writer.end(trial_id, stop_reason)
        return writer.finish()

    return make


def test_a_whole_sweep_has_no_fault(sweep):
    once = sweep("once")
    other = sweep("other", ended_at=7.0, train_s=7.0)
    assert incomplete(once, FIELDS) == []
    assert differing(other, once, FIELDS) == []


def test_what_differs_from_the_undisturbed_sweep_is_found(sweep):
    once = sweep("once")
    other_loss = differing(sweep("loss", train_loss=0.5000001), once, FIELDS)
    assert other_loss == ["train_loss, test_loss differ from the undisturbed sweep's"]
    short = differing(sweep("short", rows=1), once, FIELDS)
    assert short == ["0 rows in place of 8"]


def test_what_is_incomplete_is_found(sweep):
    once = sweep("once")
    short = incomplete(sweep("short", rows=1), FIELDS)
    assert short[0] == "trial 00000 ended as interrupted"
    five_epochs = incomplete(once, FIELDS | {"epochs": 5})
    assert five_epochs[0] == "trial 00000, completed, has the epochs [1, 2, 3, 4]"
    failed = incomplete(sweep("failed", stop_reason="error"), FIELDS)
    assert failed[0] == "trial 00000 ended as error"
    one_rate = incomplete(once, FIELDS | {"learning_rates": (0.1,)})
    assert one_rate[0] == "2 trials in place of 1"


def test_as_lanes_only_rounding_may_differ(sweep):
    once = sweep("once")
    fields = FIELDS | {"execution": "lanes"}
    assert differing(sweep("rounded", train_loss=0.5000001), once, fields) == []
    assert differing(sweep("other", train_loss=0.6), once, fields)


def printed(**row):
    """Return a command's object with a trial, and a question."""
    trial = {"trial_id": "00000", "regime_evidence": "slow", "error": ""} | row
    content = {
        "path": "/sweep",
        "answer": {"finding": "found"},
        "trials": [trial],
        "questions": [{"text": "Try more:", "command": "mnist-tune resume sweep"}],
        "text": {"notes": ["no target"]},
    }
    return Printed(0, content, [])


def test_texts_with_markers_are_no_difference_and_facts_are():
    plain = printed(train_s=1.0)
    with_marker = printed(regime_evidence=marked("slow"))
    assert fields_apart(plain, with_marker, leave_out=["train_s"]) == []
    assert fields_apart(plain, with_marker) == ["trials differs with markers"]
    with_marker.content["questions"][0]["command"] = "mnist-tune show sweep"
    apart = fields_apart(plain, with_marker, leave_out=["train_s"])
    assert apart == ["questions differs with markers"]


def test_texts_without_a_marker_are_noticed():
    content = printed(regime_evidence=marked("slow"), error="died").content
    assert unmarked(content) == ["'no target' has no marker", "'died' has no marker"]


def test_a_refused_row_is_refused_alike_with_markers(tmp_path):
    write_data(tmp_path / "data")
    row = values(dict.fromkeys(OPTIONS, 0) | {"nesterov": 1}, tmp_path / "data")
    what, faults = compared(row, tmp_path)
    assert what.startswith("refused: error: nesterov needs momentum")
    assert faults == []


FEW = (
    {
        "data": 3,
        "architecture": 3,
        "schedule": 1,
        "label noise": 1,
        "scheduler": 1,
        "rates": 2,
        "save every": 1,
    },
    {"nesterov": 1},
)
"""Rows of few trials: an own network with a state, and one that is refused."""


@pytest.mark.ray
def test_rows_run_or_are_refused(tmp_path, one_core, as_users_have_it):
    data = tmp_path / "data"
    write_data(data)
    for number, row in enumerate(FEW):
        folder = tmp_path / str(number)
        folder.mkdir()
        fields = values(dict.fromkeys(OPTIONS, 0) | row, data)
        outcome, faults = tried("once", fields, folder, random.Random(0))
        is_refused = "nesterov" in row
        expected = "refused: nesterov needs momentum" if is_refused else "once"
        assert outcome.startswith(expected), fields
        assert faults == [], fields
