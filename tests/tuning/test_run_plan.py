"""How a plan is run, up to where Tune takes over."""

from mnist_tune import SweepOptions
from mnist_tune.tuning import sweep, tuner
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.progress import ProgressView


def test_a_resumed_sweep_shows_the_epochs_of_the_trials_that_go_on(new_writer, epoch_row, tmp_path, monkeypatch):
    writer = new_writer(tmp_path / "sweep", count=3)
    for epoch in (1, 2, 3, 4):
        writer.epoch("00000", epoch_row(epoch), False)
    writer.end("00000", "completed")
    writer.epoch("00001", epoch_row(1), False)
    writer.finish(ended=None)
    again, shown = new_writer(tmp_path / "sweep", count=3, resume=True), []

    def show(*given):
        shown.append(given)
        return ProgressView(*given)

    monkeypatch.setattr(sweep, "start_ray", lambda *arguments: None)
    monkeypatch.setattr(sweep, "ProgressView", show)
    monkeypatch.setattr(tuner, "fit", lambda *arguments: None)
    trials = again.journal.known_trials(again.meta)
    plan = Plan.of({trial_id: trials[trial_id] for trial_id in ("00001", "00002")})
    sweep.run_plan(again, plan, [], SweepOptions(quiet=True))
    assert shown == [(2, 8, 1, True)]
