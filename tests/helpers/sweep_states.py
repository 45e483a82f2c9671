"""Sweeps of all kinds and states, made up."""

import math
from dataclasses import replace

import pandas as pd
from made_up_sweeps import decision

from mnist_tune import TrialConfig, load_sweep
from mnist_tune.judged import Judged
from mnist_tune.sweep import Sweep

TWO_RATES = [
    {"architecture": "mlp-4-tanh", "learning_rate": rate} for rate in (0.1, 0.2)
]
TASK = {
    "name": "task",
    "note": "",
    "checksums": {},
    "train_images": 300,
    "test_images": 100,
}


class Makers:
    """Sweeps of all kinds and states, each made by a method."""

    def __init__(self, request):
        self._request = request

    def _fixture(self, name):
        return self._request.getfixturevalue(name)

    def _sweep(self, *arguments, **options):
        return self._fixture("made_up_sweep")(*arguments, **options)

    def _writer(self, name="own", **options):
        return self._fixture("new_writer")(self._fixture("tmp_path") / name, **options)

    def _row(self, *values, **named):
        return self._fixture("epoch_row")(*values, **named)

    # --- sweeps

    def settled(self):
        return self._sweep([0.001, 0.2, 0.4, 4.0])

    def one_rate(self):
        return self._sweep([0.1])

    def seeds(self):
        return self._sweep([0.1, 0.2, 4.0], seeds=3)

    def several_families(self):
        return self._sweep([0.01, 0.2, 4.0], architectures=("mlp-4-tanh", "mlp-8-tanh"))

    def warned_of(self):
        sweep = self._sweep([0.1, 1.0])
        by_rate = sweep.trials.sort_values("learning_rate")
        scores = {"regime": ["converged", "oscillating"], "test_accuracy": [0.9, 0.95]}
        return replace(sweep, trials=by_rate.assign(**scores))

    def still_learning(self):
        sweep = self._sweep([0.1, 0.2])
        labels = {"regime": "undecided", "reason": "on_its_way"}
        return replace(sweep, trials=sweep.trials.assign(**labels))

    def all_diverged(self):
        return self._sweep([3.0, 4.0], seeds=2)

    def changed_by_a_scheduler(self):
        sweep = self._sweep([0.1, 0.2])
        return replace(sweep, trials=sweep.trials.assign(changed=True))

    def held_out(self):
        sweep = self._sweep([0.1, 0.2], seeds=2)
        scores = {"validation_accuracy": 0.9, "validation_loss": 0.3, "holdout": 100}
        return replace(sweep, trials=sweep.trials.assign(**scores))

    def guesses(self):
        sweep = self._sweep([0.1, 0.2])
        return replace(sweep, trials=sweep.trials.assign(test_accuracy=0.1))

    def failed(self):
        sweep = self._sweep([0.1, 0.2, 0.4])
        ends = {
            "stop_reason": ["completed", "error", "completed"],
            "error": ["", "its worker died", ""],
            "error_kind": ["", "died", ""],
        }
        return replace(sweep, trials=sweep.trials.assign(**ends))

    # --- what has not ended

    def running(self):
        writer = self._writer("running")
        writer.epoch("00000", self._row(1), False)
        sweep = load_sweep(writer.path)
        self._request.addfinalizer(lambda: writer.finish(ended="now"))
        return sweep

    def interrupted(self):
        writer = self._writer()
        writer.epoch("00000", self._row(1), False)
        return Sweep.of(writer.finish(ended="now"))

    def nothing_trained(self):
        return Sweep.of(self._writer().finish(ended="now"))

    def no_trials(self):
        return Sweep.of(self._writer(count=0).finish(ended="now"))

    # --- scores that are no numbers

    def not_finite(self):
        sweep = self._sweep([0.1, 0.2, 0.4])
        scores = {
            "test_accuracy": [math.nan, math.inf, 0.9],
            "test_loss": [math.inf, -math.inf, math.nan],
            "train_accuracy": math.nan,
        }
        return replace(sweep, trials=sweep.trials.assign(**scores))

    def none_finite(self):
        sweep = self._sweep([0.1, 0.2])
        return replace(sweep, trials=sweep.trials.assign(test_accuracy=math.nan))

    # --- tasks

    def task(self, architectures=("mlp-4-tanh",), **data):
        sweep = self._sweep([0.1, 0.2, 0.4], architectures=architectures)
        unknown = {"test_accuracy": math.nan, "train_accuracy": math.nan}
        trials = sweep.trials.assign(**unknown, loss_noise=0.001)
        epochs = sweep.epochs.assign(**unknown)
        meta = sweep.meta | {"dataset": TASK | data}
        return replace(sweep, trials=trials, epochs=epochs, meta=meta)

    def task_of_unknown_noise(self):
        sweep = self.task()
        return replace(sweep, trials=sweep.trials.assign(loss_noise=math.nan))

    def several_tasks(self):
        return self.task(architectures=("a.py:a", "a.py:b"))

    def task_with_scores(self):
        sweep = self.task(scores=["kl"])
        scores = {"score_kl": [1.0, math.nan, 2.0]}
        return replace(sweep, trials=sweep.trials.assign(**scores))

    # --- searches

    def search(self):
        base = self._sweep([0.1, 0.2, 0.4])
        scores = {"validation_accuracy": [0.9, 0.91, 0.92], "holdout": 100}
        meta = base.meta | {"name": "search", "kind": "search"}
        return replace(base, trials=base.trials.assign(**scores), meta=meta)

    def search_with_a_decision(self, trials=40):
        sweep = self.search()
        settings = [
            {"architecture": "mlp-4-tanh", "learning_rate": rate}
            for rate in (0.4, 0.2, 0.1)
        ]

        def accuracy(seed, setting):
            apart = (0, 0.05, -0.1)[setting] if trials == 40 else setting / 1000
            return 0.9 + apart + 0.001 * (seed % 3)

        final = decision(sweep, settings, accuracy, trials=trials)
        self._fixture("monkeypatch").setattr(Judged, "final", final)
        return sweep

    def search_whose_decision_is_open(self):
        return self.search_with_a_decision(trials=6)

    def untrained_search(self):
        writer = self._writer()
        writer.meta["kind"] = "search"
        return Sweep.of(writer.finish(ended="now"))

    # --- decisions

    def decision(self, score=lambda seed, setting: (0.9, 0.95)[setting], **options):
        base = self._sweep([0.1])
        meta = base.meta | {"name": "decide", "kind": "decision"}
        return decision(replace(base, meta=meta), TWO_RATES, score, **options)

    def open_decision(self):
        return self.decision(lambda seed, setting: 0.9 + (seed + setting) % 2 / 100)

    def decision_of_few_seeds(self):
        return self.decision(lambda seed, setting: 0.9, trials=4)

    def confirmed_decision(self):
        return self.decision(confirm=True)

    def decision_in_which_one_fails(self):
        return self.decision(lambda seed, setting: (math.nan, 0.95)[setting])

    def decision_without_seeds(self):
        sweep = self.decision()
        return replace(sweep, trials=sweep.trials[:1])

    def decision_that_has_not_begun(self):
        return self._untrained("decision", {"contenders": [], "at_a_time": None})

    # --- edges

    def edge(self):
        sweep = self._fixture("edge_sweep")
        return replace(sweep, meta=sweep.meta | {"name": "edge", "kind": "edge"})

    def edge_that_none_learned(self):
        sweep = self.edge()
        return replace(sweep, epochs=sweep.epochs.assign(train_loss=2.39))

    def several_edges(self):
        """Return the edges of three widths, from which a law follows."""
        sweep = self.edge()
        widths = [f"mlp-{width}-tanh" for width in (16, 32, 64)]
        [search] = sweep.meta["options"]["searches"]
        searches = [search | {"architecture": name} for name in widths]
        options = sweep.meta["options"] | {"searches": searches}
        tables = []
        for name in widths:
            ids = f"{name}-" + sweep.trials["trial_id"]
            trials = sweep.trials.assign(architecture=name, trial_id=ids)
            ids = f"{name}-" + sweep.epochs["trial_id"]
            tables.append((trials, sweep.epochs.assign(trial_id=ids)))
        trials = pd.concat([trials for trials, _ in tables], ignore_index=True)
        epochs = pd.concat([epochs for _, epochs in tables], ignore_index=True)
        meta = sweep.meta | {"options": options}
        return replace(sweep, trials=trials, epochs=epochs, meta=meta)

    def edge_that_has_not_begun(self):
        search = TrialConfig().to_dict() | {"expected": None}
        return self._untrained("edge", {"searches": [search], "precision": 0.05})

    def untrained_edge(self):
        search = TrialConfig().to_dict() | {"expected": 1.6}
        return self._untrained("edge", {"searches": [search], "precision": 0.05})

    def _untrained(self, kind, options):
        writer = self._writer(count=0)
        writer.meta |= {"name": kind, "kind": kind, "options": options}
        return Sweep.of(writer.finish(ended=None))


NAMES = [name for name in vars(Makers) if not name.startswith("_")]
