"""Are the notebook's numbers ours? Its eight experiments, side by side with its printed tables.

    python sweeps/notebook.py
    python sweeps/notebook.py --only converges slow underfit overfit --epochs 10

Ends with a table, a verdict for each experiment (exact, statistical or differs) and notebook.png.

Measured on 2 cores of a 2.6 GHz Xeon: all but the convnet, 12 epochs, 4 min 34 s; converges, slow, underfit and
overfit are exact, the others statistical. The convnet's ten runs of 20 epochs take half an hour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mnist_tune import Sweep, TrialConfig, UserError, cli
from mnist_tune.reports.figures import plot_notebook
from mnist_tune.reports.notebook import Comparison, Experiment, compare, experiments
from mnist_tune.reports.text import print_comparisons, print_replicates, print_report
from mnist_tune.trial import closest
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.sweep import run_or_resume

TRUE_SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Notebook(SweepOptions):
    """Repeats the founding notebook's eight experiments and compares every printed figure."""

    scheduler: Literal["fifo"] = "fifo"
    """Every experiment runs to its end."""
    only: tuple[str, ...] = ()
    """Experiments to run: converges, slow, oscillates, diverges, underfit, overfit, stax_mlp, convnet."""
    epochs: int | None = None
    """Cut every experiment short at this many epochs."""
    same_seed: bool = False
    """Of the convnet run only the notebook's own five runs, which share key and batch order."""

    def trials(self) -> list[TrialConfig]:
        """The longest first, so that no worker waits for one at the end."""
        known = experiments()
        for name in self.only:
            if name not in known:
                raise UserError(f"--only: no experiment {name!r}{closest(name, known)}")
        chosen = [known[name] for name in dict.fromkeys(self.only or known)]
        trials = [trial for experiment in chosen for trial in self._runs(experiment)]
        return sorted(trials, key=lambda trial: trial.label not in ("convnet", "convnet seeds", "overfit"))

    def _runs(self, experiment: Experiment) -> list[TrialConfig]:
        epochs = experiment.trial.epochs if self.epochs is None else min(self.epochs, experiment.trial.epochs)
        trial = replace(experiment.trial, epochs=epochs, label=experiment.name)
        runs = [trial] * experiment.runs
        if experiment.runs > 1 and not self.same_seed:
            label = f"{experiment.name} seeds"
            runs += [replace(trial, seed=seed, data_seed=seed, label=label) for seed in TRUE_SEEDS]
        return runs


def compare_all(sweep: Sweep) -> list[Comparison]:
    """A comparison for each of the notebook's experiments that the sweep holds, by its first run."""
    found = []
    for experiment in experiments().values():
        runs = sweep.trials[sweep.trials["label"] == experiment.name]
        if len(runs) and runs.iloc[0]["epochs_run"]:
            first = runs.iloc[0]
            curve = sweep.epochs[sweep.epochs["trial_id"] == first["trial_id"]]
            found.append(compare(experiment, curve, first["regime"]))
    return found


SEEDS_NOTE = (
    "The notebook's five convnet runs share one key and one batch order: their spread measures the device's "
    "arithmetic (none on a CPU), not the seed. The 'convnet seeds' runs differ in seed and batch order: their "
    "spread is what a reader would expect of 'five runs'."
)


def main() -> int:
    config = cli.parse(Notebook)
    sweep = run_or_resume("notebook", config.trials, config)
    code = print_report(sweep)
    comparisons = compare_all(sweep)
    print_comparisons(comparisons)
    if sweep.trials["label"].str.startswith("convnet").any():
        print_replicates(sweep.trials[sweep.trials["label"].str.startswith("convnet")])
        print(SEEDS_NOTE)
    if comparisons:
        plot_notebook(comparisons, sweep.path / "notebook.png")
        print(f"Picture: {sweep.path / 'notebook.png'}")
    return code


if __name__ == "__main__":
    cli.run(main)
