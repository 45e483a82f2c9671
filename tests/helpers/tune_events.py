"""What Tune tells its scheduler, its searcher and its callback, in its order.
`tests/tuning/test_tune_events.py` holds the installed Ray to the same."""

from types import SimpleNamespace
from unittest.mock import Mock

from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import NoopStopper


def made_up_trial(number, **config):
    """Return what stands for one of Tune's trials."""
    return SimpleNamespace(
        trial_id=f"tunes {number}", config=config, run_metadata=SimpleNamespace()
    )


class TuneEvents:
    """A stand-in for Tune's controller. Who is not given hears nothing."""

    def __init__(self, scheduler=None, search=None, callback=None, stopper=None):
        self.scheduler = scheduler or FIFOScheduler()
        self.search = search or Mock(spec=Searcher)
        self.callback = callback or Callback()
        self.stopper = stopper or NoopStopper()
        self.trials = []

    def add(self, trial):
        """A trial begins, or waits to."""
        self.trials.append(trial)
        self.scheduler.on_trial_add(None, trial)

    def report(self, trial, result):
        """A trial reports an epoch. Return whether it has ended: by itself, which
        `done` in the result says, or because the stopper or the scheduler stops it."""
        decision = TrialScheduler.STOP
        is_stopped = self.stopper(trial.trial_id, result)
        if not is_stopped and not result["done"]:
            decision = self.scheduler.on_trial_result(None, trial, result)
        ends = decision == TrialScheduler.STOP
        if ends:
            result["done"] = True
        else:
            self.search.on_trial_result(trial.trial_id, result)
        self.callback.on_trial_result(0, self.trials, trial, result)
        if ends:
            self.scheduler.on_trial_complete(None, trial, result)
            self.search.on_trial_complete(trial.trial_id, result=result)
            self.callback.on_trial_complete(0, self.trials, trial)
        return ends

    def fail(self, trial):
        """A trial ends in an error that Tune saw."""
        self.scheduler.on_trial_error(None, trial)
        self.search.on_trial_complete(trial.trial_id, error=True)
        self.callback.on_trial_error(0, self.trials, trial)
