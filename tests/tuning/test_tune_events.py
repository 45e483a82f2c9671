"""The stand-in for Tune tells what the installed Tune tells, in its order."""

import pytest
from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from tune_events import TuneEvents, made_up_trial

FATES = ("completes", "is stopped", "has run its course", "fails")


def heard_by(heard):
    """Return a scheduler, a searcher, a callback and a stopper that write down what
    they hear, and whether it is of a trial's last epoch."""

    def hear(who, what, result=None):
        is_last = result is not None and result["done"]
        fate = result and result["fate"]
        heard.append((who, what, is_last, fate))

    class Schedules(FIFOScheduler):
        def on_trial_add(self, controller, trial):
            hear("scheduler", "add")

        def on_trial_result(self, controller, trial, result):
            hear("scheduler", "result", result)
            is_last = trial.config["fate"] == "is stopped" and result["epoch"] == 2
            return self.STOP if is_last else self.CONTINUE

        def on_trial_complete(self, controller, trial, result):
            hear("scheduler", "complete", result)

        def on_trial_error(self, controller, trial):
            hear("scheduler", "error")

    class Proposes(Searcher):
        def __init__(self):
            super().__init__("epoch", "max")
            self.left = list(FATES)

        def suggest(self, trial_id):
            return {"fate": self.left.pop(0)} if self.left else Searcher.FINISHED

        def on_trial_result(self, trial_id, result):
            hear("searcher", "result", result)

        def on_trial_complete(self, trial_id, result=None, error=False):
            hear("searcher", "error" if error else "complete", result)

    class Listens(Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            hear("callback", "result", result)

        def on_trial_complete(self, iteration, trials, trial, **info):
            hear("callback", "complete")

        def on_trial_error(self, iteration, trials, trial, **info):
            hear("callback", "error")

    class Stops(Stopper):
        def __call__(self, trial_id, result):
            hear("stopper", "result", result)
            is_over = result["fate"] == "has run its course" and result["epoch"] == 2
            if is_over:
                result["fate"] = "is told to all"
            return is_over

        def stop_all(self):
            return False

    return Schedules(), Proposes(), Listens(), Stops()


def epochs_of(fate):
    """Return the results of a trial, None if it fails then."""
    results = [
        {"epoch": epoch, "done": epoch == 3, "fate": fate} for epoch in (1, 2, 3)
    ]
    return [results[0], None] if fate == "fails" else results


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # of Ray's
def test_the_stand_in_tells_what_tune_tells_in_its_order(one_core, tmp_path):
    tunes = []
    ours = []
    results = {fate: epochs_of(fate) for fate in FATES}

    class Trains(tune.Trainable):
        def setup(self, config):
            self.results = iter(results[config["fate"]])

        def step(self):
            result = next(self.results)
            if result is None:
                raise ValueError("fails")
            return result

    scheduler, search, callback, stopper = heard_by(tunes)
    tune.Tuner(
        Trains,
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            num_samples=len(FATES),
            max_concurrent_trials=1,
        ),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            verbose=0,
            callbacks=[callback],
            stop=stopper,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    scheduler, search, callback, stopper = heard_by(ours)
    events = TuneEvents(scheduler, search, callback, stopper)
    for number in range(len(FATES)):
        config = search.suggest(f"tunes {number}")
        trial = made_up_trial(number, **config)
        events.add(trial)
        for result in results[config["fate"]]:
            if result is None:
                events.fail(trial)
            elif events.report(trial, result):
                break
    assert ours == tunes
    assert len(ours) > 20
    assert ("searcher", "complete", True, "is told to all") in tunes
