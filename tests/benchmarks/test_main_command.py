"""The one command of the README: which flags are its own, and what is recorded of a run."""

import pytest

from benchmarks.main_command import MainCommand, figures, parse
from benchmarks.processes import Finished


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        ([], MainCommand()),
        (["--record"], MainCommand(record=True)),
        (["--flags=--smoke"], MainCommand(flags=("--smoke",))),
        (
            ["--rounds", "2", "--flags", "--smoke", "--seeds", "0", "1"],
            MainCommand(rounds=2, flags=("--smoke", "--seeds", "0", "1")),
        ),
    ],
)
def test_what_follows_flags_is_the_commands(arguments, config):
    assert parse(arguments) == config


def test_a_run_has_its_times_and_the_regimes_by_learning_rate(tmp_path, new_writer, epoch_row):
    writer = new_writer(tmp_path / "sweep")
    for trial_id in ("00001", "00000"):
        for epoch in (1, 2):
            writer.epoch(trial_id, epoch_row(epoch, ended_at=1000.0 + epoch), repeated=False)
    sweep = writer.finish()
    found = figures(Finished(started_at=993.0, wall_s=20.0), sweep)
    by_rate = dict(zip(sweep.trials["learning_rate"].map(str), sweep.trials["regime"], strict=True))
    assert found == {
        "wall_s": 20.0,
        "first_epoch_s": 8.0,
        "epochs": 4,
        "regimes": {rate: [by_rate[rate]] for rate in ("0.1", "0.2")},
    }
