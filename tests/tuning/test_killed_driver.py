"""A sweep whose driver is killed at any moment and resumed does what it would have
done."""

import math
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from loop import Killed
from recorded_data import recorded_data
from tune_events import TuneEvents, made_up_trial

from mnist_tune import SweepOptions, TrialConfig
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.judged import judged
from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.results.journal import read_journal
from mnist_tune.results.tables import journal_tables
from mnist_tune.runtime.placement import Placement
from mnist_tune.tuning import tuner
from mnist_tune.tuning.opened import Opened
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.progress import ProgressView
from mnist_tune.tuning.recorder import Recorder

EPOCHS = np.arange(1, 11)
ON_ITS_WAY = 1 - 0.11 * EPOCHS**-0.4
STALLED = np.concatenate([ON_ITS_WAY[:5], np.full(5, ON_ITS_WAY[4])])
CURVES = {
    (1.0, 0): 1 - 0.06 * EPOCHS**-1.2,
    (0.01, 0): STALLED,
    (0.02, 0): 1 - 0.45 * EPOCHS**-0.35,  # slow
    (0.01, 1): STALLED,
    (2.0, 0): np.array([0.8, 0.6, 0.82, 0.55, 0.85, 0.6, 0.8, 0.5, 0.8, 0.7]),
    (3.0, 0): np.full(10, 0.1),  # diverges in its third epoch
    (0.02, 1): ON_ITS_WAY,
}
"""Training accuracies by learning rate and seed. What is stalled is proposed after
epoch 5, and slow later."""

TRIALS = {
    f"{i:05d}": TrialConfig(
        learning_rate=rate, seed=seed, data_seed=seed, epochs=10, holdout=0
    )
    for i, (rate, seed) in enumerate(CURVES)
}


def trial_id_of(config):
    [trial_id] = [trial_id for trial_id in TRIALS if TRIALS[trial_id] == config]
    return trial_id


class Driver:
    """Tune's loop with one trial at a time, in this process, and with made-up
    processes.

    Args:
        after: the driver is killed once it has written so many lines of the journal.
    """

    def __init__(self, folder, new_writer, epoch_row, scheduler, states, after=None):
        resume = folder.exists()
        self.writer = new_writer(folder, count=0, resume=resume)
        self.states = states
        self.epoch_row = epoch_row
        self.writer.meta["dataset"] = recorded_data("mnist")
        if resume:
            past = Past.of(read_journal(self.writer.path), self.writer.meta)
            histories = past.histories
            self.writer.last_epochs = {
                trial_id: histories.last_epoch(trial_id) for trial_id in past.trials
            }
        else:
            past = Past(open=TRIALS)
            for trial_id, config in TRIALS.items():
                self.writer.trial(trial_id, config)
        self.append = self.writer._append
        self.left = after
        self.writer._append = self.append_or_die
        view = ProgressView(7, 70, 0, quiet=True)
        self.recorder = Recorder(self.writer, view, past.open, past, scheduler)
        self.events = self.events_of_tune(scheduler, past)
        self.trials = {}
        for trial_id, config in past.open.items():
            values = {"trial_id": trial_id, **config.to_dict()}
            trial = made_up_trial(trial_id, trial=values)
            self.trials[trial_id] = trial
            self.events.add(trial)
        past.release()

    def append_or_die(self, event):
        if self.left == 0:
            raise Killed
        self.append(event)
        if self.left is not None:
            self.left -= 1

    def events_of_tune(self, name, past):
        """Return what tells the scheduler and the stopper with which Tune would be
        called."""
        if name == "patience":
            options = SweepOptions(grace_period=5, patience=1)
        else:
            options = SweepOptions(scheduler=name, grace_period=5)
        opened = Opened(options, self.writer, past, None)
        placement = Placement({"CPU": 2}, WorkerSettings("states"))
        with pytest.MonkeyPatch.context() as patch:
            make = Mock()
            patch.setattr(tuner.ray, "cluster_resources", dict)
            patch.setattr(tuner.ray, "nodes", list)
            patch.setattr(tuner, "NodeWatch", lambda quiet: "watch")
            patch.setattr(tuner.tune, "Tuner", make)
            plan = Plan(past.open)
            tuner.make_tuner(opened, plan, placement, ["data"], self.recorder)
        scheduler = make.call_args.kwargs["tune_config"].scheduler
        stopper = make.call_args.kwargs["run_config"].stop
        return TuneEvents(scheduler, callback=self.recorder, stopper=stopper)

    def run(self):
        for trial_id, trial in self.trials.items():
            config = TRIALS[trial_id]
            # a process that finds a state reports its row again
            first = max(self.states.get(trial_id, 0), 1)
            for epoch in range(first, 11):
                self.states[trial_id] = epoch
                if self.events.report(trial, self.result(config, epoch)):
                    break
        self.writer.release()  # as the end of the process does

    def result(self, config, epoch):
        accuracy = float(CURVES[config.learning_rate, config.seed][epoch - 1])
        diverged = config.learning_rate == 3.0 and epoch == 3
        loss = math.nan if diverged else 4 * (1 - accuracy)
        row = self.epoch_row(
            epoch,
            loss,
            accuracy,
            step_loss_max=1.0,
            diverged=diverged,
            finite=not diverged,
            learning_rate=config.learning_rate,
        )
        reason = config.stop_reason(epoch, diverged)
        end = {"stop_reason": reason, "done": bool(reason)}
        common = {"repeated": True, "trial_config": config}
        common["own_id"] = trial_id_of(config)
        return row | common | end | {"scheduler_loss": finite_loss(loss)}


def recorded(driver):
    """Return the rows and the stop reasons in a sweep's journal."""
    journal = read_journal(driver.writer.path)
    reasons = {trial_id: end["stop_reason"] for trial_id, end in journal.ends.items()}
    return journal.epochs[["trial_id", "epoch", "train_loss"]], reasons


def summary(driver):
    trials = judged(journal_tables(driver.writer.path, driver.writer.meta)).trials
    return trials[["trial_id", "stop_reason", "epochs_run", "regime"]]


REASONS = {
    "regimes": "completed slow slow slow completed diverged slow".split(),
    "patience": "patience patience slow patience patience patience slow".split(),
}


@pytest.mark.promise("After a kill the same trials stop after the same epochs")
@pytest.mark.parametrize("scheduler", ["regimes", "asha", "patience"])
@pytest.mark.parametrize("keeps_states", [True, False])
def test_a_sweep_that_is_killed_after_any_line_and_resumed_stops_the_same_trials_after_the_same_epochs(
    new_writer, epoch_row, tmp_path, scheduler, keeps_states
):
    """The driver is killed after every third line, a row or an end, so also between a
    row and the decision on it. The states of the trials that run are kept, or are lost
    (then after every seventh line)."""
    whole = Driver(tmp_path / "whole", new_writer, epoch_row, scheduler, {})
    whole.run()
    rows, ends = recorded(whole)
    trials = summary(whole)
    reasons = trials["stop_reason"].tolist()
    if scheduler in REASONS:
        assert reasons == REASONS[scheduler]
        assert trials["epochs_run"].tolist()[1] in (6, 7, 8)  # it was proposed after 5
    else:
        assert set(reasons) == {"completed", "asha", "diverged"}
    stride = 3 if keeps_states else 7
    for after in range(0, len(rows) + len(trials), stride):
        folder = tmp_path / str(after)
        states = {}
        killed = Driver(folder, new_writer, epoch_row, scheduler, states, after)
        with pytest.raises(Killed):
            killed.run()
        killed.writer.release()
        # the tables are made of nothing else, and take most of the time
        if after % 9 == 0:
            assert len(summary(killed)) == len(trials)
        if not keeps_states:
            states = {}
        resumed = Driver(folder, new_writer, epoch_row, scheduler, states)
        resumed.run()
        rows_again, ends_again = recorded(resumed)
        place = f"after {after} lines"
        pd.testing.assert_frame_equal(rows_again, rows, obj=f"the rows {place}")
        assert ends_again == ends, place
        if after % 9 == 0:
            trials_again = summary(resumed)
            pd.testing.assert_frame_equal(
                trials_again, trials, obj=f"the trials {place}"
            )
