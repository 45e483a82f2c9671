"""Tune's loop in this process: trials report made-up rows in turn, and the driver may
be killed or interrupted.

Options, folders, searchers, schedulers and the recorder are the real ones. Ray and
training are left out.
"""

import math
from contextlib import contextmanager, suppress
from unittest.mock import Mock

import pytest
import ray
from ray.tune.search import Searcher
from tune_events import TuneEvents, made_up_trial

from mnist_tune import SweepOptions, TrialConfig
from mnist_tune.execution.process_setup import WorkerSettings
from mnist_tune.regimes.divergence import finite_loss
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.placement import Placement
from mnist_tune.tuning import tuner
from mnist_tune.tuning.progress import LivePage


class Killed(BaseException):
    """The driver is killed."""


class Loop:
    """In place of `tuner.fit`.

    Attributes:
        row: a function from a trial's config and the number of an epoch to the epoch's
            row; or to the words of an error of the trial's own code.
        slots: how many trials run at a time.
        left: how many more lines of the journal are written before the driver is
            killed.
        interrupts: a function from how many trials were proposed and how many run to
            whether Ctrl-C comes.
    """

    def __init__(self):
        self.row = None
        self.slots = 2
        self.left = math.inf
        self.interrupts = lambda proposed, running: False
        self._saved = {}

    @contextmanager
    def killed_after(self, lines):
        """The driver is killed in what is done here, unless that ends before."""
        self.left = lines
        with suppress(Killed):
            yield
        self.left = math.inf

    def fit(self, opened, plan, recorder):
        arguments = self._arguments_of_tuner(opened, plan, recorder)
        opened.past.release()
        config_of_tune = arguments["tune_config"]
        search = config_of_tune.search_alg
        search.set_search_properties(None, None, arguments["param_space"])
        saved = self._saved.setdefault(opened.writer.path, {})
        # the recorder removes from `trials` what has ended
        events = TuneEvents(config_of_tune.scheduler, search, recorder)
        running = []
        proposed = 0
        while not self.interrupts(proposed, len(running)):
            while len(running) < self.slots and proposed < config_of_tune.num_samples:
                config = search.suggest(f"tunes {proposed}")
                if config in (None, Searcher.FINISHED):
                    break
                trial = made_up_trial(proposed, **config)
                running.append(trial)
                events.add(trial)
                proposed += 1
            if not running or self.interrupts(proposed, len(running)):
                break
            for trial in list(running):
                if events.report(trial, self.result(trial, saved)):
                    running.remove(trial)
        recorder.on_experiment_end(events.trials)

    def _arguments_of_tuner(self, opened, plan, recorder):
        """Return the keyword arguments that `tune.Tuner` would be called with."""
        placement = Placement({"CPU": 1}, WorkerSettings("states"))
        with pytest.MonkeyPatch.context() as patch:
            make = Mock()
            patch.setattr(tuner.tune, "Tuner", make)
            tuner.make_tuner(opened, plan, placement, None, recorder)
        return make.call_args.kwargs

    def result(self, trial, saved):
        """Return the result of a trial's next epoch, first the saved one again."""
        values = dict(trial.config["trial"])
        trial_id = values.pop("trial_id")
        config = TrialConfig(**values)
        epoch = saved.get(trial_id, 0)
        if epoch == 0 or hasattr(trial, "reported"):
            epoch += 1
        saved[trial_id] = epoch
        trial.reported = True
        row = self.row(config, epoch)
        common = {"repeated": True, "trial_config": config}
        if isinstance(row, str):
            error = {"error": row, "error_kind": "refused"}
            return common | error | {"stop_reason": "error", "done": True}
        reason = config.stop_reason(epoch, row["diverged"])
        end = {"stop_reason": reason, "done": bool(reason)}
        loss = {"scheduler_loss": finite_loss(row["train_loss"])}
        return common | row | loss | end


@pytest.fixture
def loop(monkeypatch):
    made = Loop()
    append = SweepWriter._append
    finish = SweepWriter.finish

    def or_die(call, lines):
        def called(*arguments, **named):
            if made.left <= 0:
                raise Killed
            made.left -= lines
            return call(*arguments, **named)

        return called

    monkeypatch.setattr(SweepWriter, "_append", or_die(append, 1))
    monkeypatch.setattr(SweepWriter, "finish", or_die(finish, 0))
    monkeypatch.setattr(tuner, "fit", made.fit)
    monkeypatch.setattr(tuner, "NodeWatch", lambda quiet: None)
    monkeypatch.setattr(LivePage, "__enter__", lambda page: page)
    monkeypatch.setattr(LivePage, "last", lambda page, sweep: None)
    resources = {"CPU": 2.0}
    node = {"Alive": True, "Resources": resources}
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)
    monkeypatch.setattr(ray, "nodes", lambda: [node])
    monkeypatch.setattr(SweepOptions, "start_ray", lambda options: None)
    return made
