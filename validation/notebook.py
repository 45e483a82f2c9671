"""The notebook's eight experiments, its printed tables, and how our numbers compare with
these. `sweeps/notebook.py` runs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd

from mnist_tune.columns import COUNT_OR_ALL
from mnist_tune.continuation import resumable
from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.labels import curve_regime
from mnist_tune.regimes.replicates import regime_counts
from mnist_tune.reports.figures import panels, save
from mnist_tune.reports.terminal import print_report, print_result
from mnist_tune.results.tables import Tables
from mnist_tune.trial import UNFINISHED_REASONS, TrialConfig
from mnist_tune.tuning.options import InResume, SweepOptions, refuse_too_many
from mnist_tune.tuning.resuming import command_options
from mnist_tune.tuning.sweep import run_or_resume


@dataclass(frozen=True, kw_only=True)
class Notebook(SweepOptions):
    """Repeat the notebook's eight experiments and compare our numbers with every number
    that it prints."""

    NAME: ClassVar[str] = "notebook"
    EXAMPLES: ClassVar[dict[str, str]] = {
        "": "All eight experiments, most of an hour on two cores:",
        "--epochs 1 --seeds 1": "The first row of every table:",
    }

    train_evaluation: Annotated[int | Literal["all"] | None, COUNT_OR_ALL] = "all"
    """Evaluate only this many training images after each epoch. The notebook evaluates
    all."""
    scheduler: Literal["fifo"] = "fifo"
    """Every experiment runs to its end."""
    epochs: Annotated[int | None, InResume.ADDS] = None
    """Stop every experiment after this many epochs. oscillates needs 5 to show its
    outcome, diverges 3."""
    seeds: Annotated[tuple[int, ...], InResume.ADDS] = ()
    """Other seeds of oscillates, diverges and convnet than the notebook's own; by
    default the first 20, 5 and 5."""

    def trials(self, recorded: Iterable[TrialConfig] = ()) -> list[TrialConfig]:
        """Return the trials, the longest first, so that no worker is idle at the end;
        also of a resume, whichever are `recorded`."""
        refuse_too_many(len(self.seeds), "--seeds")
        trials = []
        for experiment in experiments().values():
            trials += experiment.trials(self.epochs, self.seeds)
        long = [trial for trial in trials if trial.label in LONG]
        short = [trial for trial in trials if trial.label not in LONG]
        return [*long, *short]


def main() -> int:
    options = command_options(Notebook)
    sweep = run_or_resume(options)
    if options.json:
        return print_result(sweep, options.json)
    with resumable(sweep.record, sweep.path):
        code = print_report(sweep)
        if comparisons := compare_all(sweep):
            print_comparisons(comparisons)
            plot_notebook(comparisons, sweep.picture("notebook.png"))
            print(f"Picture: {sweep.picture('notebook.png')}")
    return code


LONG = ("convnet", "convnet seeds", "overfit")
"""Labels of the trials that take longest."""

TABLES = Path(__file__).with_name("notebook_tables.csv")
"""All that the notebook printed."""

EXACT = 0.0005
"""The largest difference of an accuracy from the notebook's if an experiment is
reproduced exactly."""


@dataclass(frozen=True)
class Experiment:
    """One section of the notebook."""

    name: str
    trial: TrialConfig
    seeds: int = 0
    """The number of other seeds that are run. Each seeds the initialisation and the
    batch order."""
    chaotic: bool = False
    """Whether rounding decides the outcome of a run. If so, the outcomes of all seeds
    are judged."""
    band: float = 0.0
    """The largest difference of the final test accuracy from the notebook's if the run
    is not exact."""

    def trials(
        self, epochs: int | None = None, seeds: Sequence[int] = ()
    ) -> list[TrialConfig]:
        """Return the notebook's run, labelled with the experiment's name, then those of
        other seeds, labelled `<name> seeds`, if the experiment has some."""
        length = self.trial.epochs
        if epochs is not None:
            length = min(epochs, length)
        own = replace(self.trial, epochs=length, label=self.name)
        if not self.seeds:
            return [own]
        other = replace(own, label=f"{self.name} seeds", stop_when_diverged=True)
        count = len(seeds) or self.seeds
        other_seeds = [
            seed for seed in seeds or range(self.seeds + 1) if seed != own.seed
        ]
        trials = [own]
        for seed in other_seeds[:count]:
            trials.append(replace(other, seed=seed, data_seed=seed))
        return trials


def experiments() -> dict[str, Experiment]:
    """Return the eight experiments by name, in the notebook's order."""
    usual = TrialConfig(architecture="mlp-1024-128-tanh", learning_rate=0.1)
    mlp = replace(usual, epochs=10, holdout=0, stop_when_diverged=False)
    slow = replace(mlp, learning_rate=0.001)
    oscillates = replace(mlp, learning_rate=1.6)
    diverges = replace(mlp, learning_rate=2.0)
    underfit = replace(mlp, architecture="mlp-4-tanh")
    deep = replace(mlp, architecture="mlp-2048-1024-512-1024-512-128-tanh", epochs=30)
    overfit = replace(deep, learning_rate=0.01, label_noise=30_000)
    # The notebook had already drawn batches from its generator, so its batch order
    # in the last two is unknown.
    stax = replace(mlp, seed=123, epochs=20)
    stax_mlp = replace(stax, architecture="stax-mlp", learning_rate=0.15, epochs=12)
    convnet = replace(stax, architecture="convnet", learning_rate=0.06)
    in_order = [
        Experiment("converges", mlp),
        Experiment("slow", slow),
        # A fifth of the runs (16 of 80) do not diverge within two epochs; all of these
        # oscillate. Measured on an AMD EPYC (AVX2) with 16 seeds, each with five orders
        # of the images in a batch, which only changes the rounding. If runs are
        # independent, none of 21 oscillates with probability 0.8**21 = 0.01.
        Experiment("oscillates", oscillates, seeds=20, chaotic=True),
        # On the same machine 10 of 12 seeds diverged, and the notebook's seed did so
        # with each of 9 orders of the images. None of 6 seeds diverges with probability
        # (2 / 12)**6 = 2e-5.
        Experiment("diverges", diverges, seeds=5, chaotic=True),
        Experiment("underfit", underfit),
        Experiment("overfit", overfit),
        Experiment("stax_mlp", stax_mlp, band=0.003),
        Experiment("convnet", convnet, seeds=5, band=0.004),
    ]
    return {experiment.name: experiment for experiment in in_order}


def section(name: str) -> pd.DataFrame:
    """Return the notebook's numbers of an experiment, by epoch."""
    table = pd.read_csv(TABLES).query("section == @name").set_index("epoch")
    return table[["train_accuracy", "test_accuracy", "test_loss"]]


def shown_regime(name: str) -> tuple[str, int]:
    """Return the regime of the notebook's run of an experiment, and the first epoch
    after which its table shows it."""
    reference = section(name)
    regimes = []
    for epoch in reference.index:
        curve = _reference_curve(reference.loc[:epoch])
        regimes.append(curve_regime(curve).regime)
    final = regimes[-1]
    first = regimes.index(final)
    return final, int(reference.index[first])


@dataclass(frozen=True)
class Comparison:
    """Our run of an experiment compared with the notebook's."""

    experiment: Experiment
    rows: pd.DataFrame
    """One row per epoch of the notebook's own seed, with both numbers and their
    difference."""
    verdict: str
    reason: str
    other_seeds: pd.DataFrame
    """Test accuracy of the other seeds of a chaotic experiment, of shape [epochs,
    trials]."""


def compare_all(sweep: Tables) -> list[Comparison]:
    """Compare each of the notebook's experiments that the sweep holds, by its run with
    the notebook's own seed.

    Verdicts:
        exact: every accuracy that the notebook printed for these epochs is within
            `EXACT`.
        statistical: the regime is the notebook's, and the test accuracy after the last
            common epoch is within the experiment's band. For a chaotic experiment: some
            run has the notebook's outcome, with any seed.
        differs: neither of these.
        undecided: a chaotic experiment has too few epochs to show the outcome, or no
            run shows it but fewer have ended than the experiment needs.
    """
    comparisons = []
    for experiment in experiments().values():
        labels = [experiment.name, f"{experiment.name} seeds"]
        trials = sweep.trials[sweep.trials["label"].isin(labels)]
        has_begun = trials["epochs_run"] > 0
        if not experiment.chaotic:
            # Only the notebook's own seed counts, which is the first.
            has_begun = has_begun[:1]
        if has_begun.any():
            comparisons.append(_compare(experiment, trials, sweep))
    return comparisons


def _compare(experiment: Experiment, trials: pd.DataFrame, sweep: Tables) -> Comparison:
    own = trials[trials["label"] == experiment.name].iloc[0]
    is_own = sweep.epochs["trial_id"] == own["trial_id"]
    rows = _side_by_side(section(experiment.name), sweep.epochs[is_own])
    curves = pd.DataFrame()
    if experiment.chaotic:
        verdict, reason = _outcomes(experiment, trials)
        has_begun = trials["epochs_run"] > 0
        is_other = trials["trial_id"] != own["trial_id"]
        other_ids = trials.loc[has_begun & is_other, "trial_id"]
        curves = sweep.curves("test_accuracy")[other_ids]
    else:
        verdict, reason = _figures(experiment, rows, own["curve_regime"])
    return Comparison(experiment, rows, verdict, reason, curves)


def _side_by_side(theirs: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Return the notebook's numbers and ours for the epochs that both have, and how
    accuracies differ."""
    ours = epochs.set_index("epoch")[theirs.columns].add_suffix("_ours")
    rows = theirs.add_suffix("_notebook").join(ours, how="inner")
    for name in ("train_accuracy", "test_accuracy"):
        rows[f"{name}_difference"] = rows[f"{name}_ours"] - rows[f"{name}_notebook"]
    return rows


def _figures(
    experiment: Experiment, rows: pd.DataFrame, regime: str
) -> tuple[str, str]:
    differences = rows[["train_accuracy_difference", "test_accuracy_difference"]]
    largest = differences.abs().max().max()
    if largest <= EXACT:
        return "exact", f"largest difference {largest:.5f} over {len(rows)} epochs"
    reference = section(experiment.name).loc[: rows.index.max()]
    expected = curve_regime(_reference_curve(reference)).regime
    final = rows["test_accuracy_difference"].iloc[-1]
    accuracy = f"final test accuracy {final:+.4f} (band {experiment.band:g})"
    reason = f"regime {regime} (notebook {expected}), {accuracy}"
    if regime == expected and abs(final) <= experiment.band:
        return "statistical", reason
    return "differs", reason


def _outcomes(experiment: Experiment, trials: pd.DataFrame) -> tuple[str, str]:
    """Judge by `curve_regime`, which does not depend on other trials of the sweep."""
    expected, needed = shown_regime(experiment.name)
    ended = trials[~trials["stop_reason"].isin(UNFINISHED_REASONS)]
    same = ended["curve_regime"] == expected
    rest = len(trials) - len(ended)
    reason = f"{same.sum()} of {len(ended)} {expected}"
    other_regimes = regime_counts(ended["curve_regime"][~same])
    if other_regimes:
        reason += f", {other_regimes}"
    reason += f"; the notebook's outcome: {expected}"
    if rest:
        reason += f"; {rest} not ended"
    epochs = trials["epochs_asked"].max()
    if epochs < needed:
        return (
            "undecided",
            f"{reason}, which needs {needed} epochs to show, not {epochs}",
        )
    if same.any():
        return "statistical", reason
    if len(ended) <= experiment.seeds:
        return (
            "undecided",
            f"{reason}; to tell that none has it, {experiment.seeds + 1} runs must have ended",
        )
    return "differs", reason


def _reference_curve(reference: pd.DataFrame) -> Curve:
    train = reference["train_accuracy"].to_numpy(dtype=float)
    # The notebook did not print it for all experiments.
    train_score = train
    if np.isnan(train).all():
        train_score = None
    return Curve(
        held_out=reference["test_accuracy"].to_numpy(dtype=float),
        epochs_asked=len(reference),
        train_score=train_score,
    )


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Print the notebook's numbers beside ours, epoch by epoch, and the verdict on each
    experiment."""
    titles = ["experiment", "epoch"]
    forms = {}
    for split in ("train", "test"):
        titles += [f"{split}: notebook", "ours", "difference"]
        forms[f"{split}_accuracy_notebook"] = "{:.4f}".format
        forms[f"{split}_accuracy_ours"] = "{:.4f}".format
        forms[f"{split}_accuracy_difference"] = "{:+.5f}".format
    tables = []
    for comparison in comparisons:
        name = comparison.experiment.name
        tables.append(comparison.rows.reset_index().assign(experiment=name))
    rows = pd.concat(tables)[["experiment", "epoch", *forms]]
    print(rows.to_string(index=False, header=titles, formatters=forms, na_rep="-"))
    for comparison in comparisons:
        name = comparison.experiment.name
        print(f"{name}: {comparison.verdict}; {comparison.reason}")


def plot_notebook(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw a panel per experiment: the notebook's curves (crosses, dashed), ours
    (dots), and thin those of other seeds of a chaotic one."""
    figure, axes = panels((14.4, 6.4), 2, 4)
    for axis, comparison in zip(axes.flat, comparisons, strict=False):
        for split, colour in (("train", "#3a76c4"), ("test", "#d1342f")):
            theirs = comparison.rows[f"{split}_accuracy_notebook"]
            ours = comparison.rows[f"{split}_accuracy_ours"]
            their_label = None
            our_label = None
            # The legend is that of all panels.
            if axis is axes.flat[0]:
                their_label = f"{split}, notebook"
                our_label = f"{split}, ours"
            axis.plot(theirs, "x--", color=colour, ms=8, lw=1, label=their_label)
            axis.plot(ours, ".-", color=colour, ms=5, lw=1, alpha=0.7, label=our_label)
        axis.plot(comparison.other_seeds, ".-", color="#8fb58f", ms=3, lw=0.7)
        title = f"{comparison.experiment.name}: {comparison.verdict}"
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="epoch", ylabel="accuracy")
        axis.xaxis.get_major_locator().set_params(integer=True)
    for axis in axes.flat[len(comparisons) :]:
        axis.set_visible(False)
    axes.flat[0].plot([], [], ".-", color="#8fb58f", label="test, other seeds")
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    save(figure, path)
