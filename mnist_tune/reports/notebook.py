"""The founding notebook: its eight experiments, its printed tables, and how ours compare."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import resources

import numpy as np
import pandas as pd

from mnist_tune.errors import UserError
from mnist_tune.regimes.labels import Curve, curve_regime, regime_counts
from mnist_tune.results.journal import UNFINISHED_REASONS
from mnist_tune.results.tables import Sweep
from mnist_tune.trial import TrialConfig

EXACT = 0.0005
"""Largest difference of an accuracy from the notebook's in an experiment that is reproduced exactly."""

WIDE = "mlp-1024-128-tanh"
DEEP = "mlp-2048-1024-512-1024-512-128-tanh"


@dataclass(frozen=True)
class Experiment:
    """One section of the notebook."""

    name: str
    trial: TrialConfig
    runs: int = 1
    """Repetitions, all of the same seeds, as in the notebook."""
    seeds: int = 0
    """Other seeds that are run beside the notebook's; each seeds the initialisation and the batch order."""
    chaotic: bool = False
    """Rounding decides what a run does: the outcomes of all seeds are judged, not the figures of one."""
    band: float = 0.0
    """Largest difference of the final test accuracy of a run that is not exact."""

    def trials(self, epochs: int | None = None, seeds: int | None = None) -> list[TrialConfig]:
        """The notebook's runs, labelled with the experiment's name, then those of other seeds, `<name> seeds`.

        Args:
            epochs: the most of a run; None is all.
            seeds: other seeds, where the experiment has any; None is as many as it needs.
        """
        length = self.trial.epochs if epochs is None else min(epochs, self.trial.epochs)
        own = replace(self.trial, epochs=length, label=self.name)
        count = self.seeds if seeds is None or not self.seeds else seeds
        others = [seed for seed in range(count + 1) if seed != own.seed][:count]
        other = replace(own, label=f"{self.name} seeds", stop_when_diverged=True)
        return [own] * self.runs + [replace(other, seed=seed, data_seed=seed) for seed in others]


def experiments() -> dict[str, Experiment]:
    """The eight experiments by name, in the notebook's order."""
    mlp = TrialConfig(architecture=WIDE, learning_rate=0.1, epochs=10, stop_when_diverged=False)
    found = [
        Experiment("converges", mlp),
        Experiment("slow", replace(mlp, learning_rate=0.001)),
        # One run in five has not diverged after two epochs: of 16 seeds on an AMD EPYC (AVX2), each with the images of
        # a batch in five orders (which changes nothing but rounding), 16 of 80. Those that went on all oscillated.
        # That none of 21 runs does has a probability of 0.8**21 = 0.01, were they independent.
        Experiment("oscillates", replace(mlp, learning_rate=1.6), seeds=20, chaotic=True),
        # There 10 of 12 seeds diverged, the notebook's in each of 9 orders; all of 6 recover: (2 / 12)**6 = 2e-5.
        Experiment("diverges", replace(mlp, learning_rate=2.0), seeds=5, chaotic=True),
        Experiment("underfit", replace(mlp, architecture="mlp-4-tanh")),
        Experiment("overfit", replace(mlp, architecture=DEEP, learning_rate=0.01, epochs=30, label_noise=30_000)),
        # The notebook's batch stream had been used by then; its order in these epochs is not known.
        Experiment(
            "stax_mlp",
            replace(mlp, architecture="stax-mlp", learning_rate=0.15, seed=123, epochs=12),
            band=0.003,
        ),
        Experiment(
            "convnet",
            replace(mlp, architecture="convnet", learning_rate=0.06, seed=123, epochs=20),
            runs=5,
            seeds=5,
            band=0.004,
        ),
    ]
    return {experiment.name: experiment for experiment in found}


def tables() -> pd.DataFrame:
    """The notebook's printed figures: section, run, epoch, train_accuracy, test_accuracy, test_loss."""
    with resources.files("mnist_tune.reports").joinpath("notebook_tables.csv").open() as file:
        return pd.read_csv(file)


def section(name: str) -> pd.DataFrame:
    """The figures of an experiment by epoch.

    Raises:
        UserError: the notebook has no such experiment.
    """
    found = tables()
    found = found[found["section"] == name]
    if found.empty:
        raise UserError(f"the notebook has no experiment {name!r}; it has {', '.join(experiments())}")
    return found.set_index("epoch")[["train_accuracy", "test_accuracy", "test_loss"]]


def outcome(name: str) -> tuple[str, int]:
    """The regime of the notebook's own table of an experiment, and the epochs after which it shows."""
    reference = section(name)
    shown = [curve_regime(_reference_curve(reference.loc[:epoch]))[0] for epoch in reference.index]
    return shown[-1], int(reference.index[shown.index(shown[-1])])


@dataclass(frozen=True)
class Comparison:
    """An experiment's run beside the notebook's."""

    experiment: Experiment
    rows: pd.DataFrame
    """A line an epoch of the notebook's own seed, with both figures and their difference."""
    verdict: str
    reason: str
    others: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Of a chaotic experiment: test accuracy, epoch × trial, of the other seeds."""


def compare_all(sweep: Sweep) -> list[Comparison]:
    """A comparison for each of the notebook's experiments that the sweep holds, by its first run."""
    found = []
    for experiment in experiments().values():
        trials = sweep.trials[sweep.trials["label"].isin([experiment.name, f"{experiment.name} seeds"])]
        judged = trials if experiment.chaotic else trials[:1]
        if judged["epochs_run"].any():
            found.append(compare(experiment, trials, sweep.epochs))
    return found


def compare(experiment: Experiment, trials: pd.DataFrame, epochs: pd.DataFrame) -> Comparison:
    """The verdict on an experiment.

    Args:
        experiment: what was run.
        trials: its rows of the trials table; the figures are those of the first run of the notebook's own seed.
        epochs: the epochs table.

    Returns:
        *exact*: every accuracy that the notebook printed for these epochs is within `EXACT`. *statistical*: the run
        depends on the device or on a batch order that is not known, its regime is the notebook's, and the test
        accuracy after the last epoch that both have is within the experiment's band. Else *differs*. A chaotic
        experiment is *statistical* where some run has the notebook's outcome, whichever seed's it is, and
        *differs* where none has; it is *undecided* where the runs have too few epochs to show the outcome,
        and where none shows it but fewer ended than the experiment asks for.
    """
    own = trials[trials["label"] == experiment.name].iloc[0]
    curves = epochs[epochs["trial_id"].isin(trials["trial_id"])]
    rows = _side_by_side(experiment.name, curves[curves["trial_id"] == own["trial_id"]])
    if not experiment.chaotic:
        return Comparison(experiment, rows, *_judge_figures(experiment, rows, own["curve_regime"]))
    others = curves[curves["trial_id"] != own["trial_id"]]
    others = others.pivot(index="epoch", columns="trial_id", values="test_accuracy")
    return Comparison(experiment, rows, *_judge_outcomes(experiment, trials), others)


def _side_by_side(name: str, curve: pd.DataFrame) -> pd.DataFrame:
    ours = curve.set_index("epoch")[["train_accuracy", "test_accuracy", "test_loss"]]
    rows = section(name).add_suffix("_notebook").join(ours.add_suffix("_ours"), how="inner")
    for split in ("train_accuracy", "test_accuracy"):
        rows[f"{split}_difference"] = rows[f"{split}_ours"] - rows[f"{split}_notebook"]
    return rows


def _judge_figures(experiment: Experiment, rows: pd.DataFrame, regime: str) -> tuple[str, str]:
    differences = rows[["train_accuracy_difference", "test_accuracy_difference"]].abs()
    largest = float(np.nanmax(differences.to_numpy())) if len(rows) else float("nan")
    if largest <= EXACT:
        return "exact", f"largest difference {largest:.5f} over {len(rows)} epochs"
    expected, _ = curve_regime(_reference_curve(section(experiment.name).loc[: rows.index.max()]))
    final = float(rows["test_accuracy_difference"].iloc[-1]) if len(rows) else float("nan")
    said = f"regime {regime} (notebook {expected}), final test accuracy {final:+.4f} (band {experiment.band:g})"
    same = regime == expected and abs(final) <= experiment.band
    return "statistical" if same else "differs", said


def _judge_outcomes(experiment: Experiment, trials: pd.DataFrame) -> tuple[str, str]:
    """By the curves' own regimes, as the notebook's table: what else the sweep holds is of no account."""
    expected, needed = outcome(experiment.name)
    ended = trials[~trials["stop_reason"].isin(UNFINISHED_REASONS)]
    same, rest = ended["curve_regime"] == expected, len(trials) - len(ended)
    counts = [f"{same.sum()} of {len(ended)} {expected}", regime_counts(ended["curve_regime"][~same])]
    said = (
        ", ".join(filter(None, counts)) + f"; the notebook's outcome: {expected}" + f"; {rest} not ended" * (rest > 0)
    )
    asked = trials["epochs_asked"].max()
    if asked < needed:
        return "undecided", f"{said}, which its table shows after {needed} epochs, not after {asked}"
    if same.any():
        return "statistical", said
    if len(ended) <= experiment.seeds:
        return "undecided", f"{said}; that none has it tells something once {experiment.seeds + 1} have ended"
    return "differs", said


def _reference_curve(reference: pd.DataFrame) -> Curve:
    train = reference["train_accuracy"].to_numpy(dtype=float)
    return Curve(
        held_out=reference["test_accuracy"].to_numpy(dtype=float),
        epochs_asked=len(reference),
        train_accuracy=None if np.isnan(train).all() else train,
    )
