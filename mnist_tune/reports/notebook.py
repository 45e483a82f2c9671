"""The founding notebook: its eight experiments, its printed tables, and how ours compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources

import numpy as np
import pandas as pd

from mnist_tune.errors import UserError
from mnist_tune.results.regimes import Curve, curve_regime
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
    band: float = 0.0
    """Largest difference of the final test accuracy of a run that is chaotic or depends on the device."""


def experiments() -> dict[str, Experiment]:
    """The eight experiments by name, in the notebook's order."""
    mlp = TrialConfig(architecture=WIDE, learning_rate=0.1, epochs=10, stop_when_diverged=False)
    found = [
        Experiment("converges", mlp),
        Experiment("slow", replace(mlp, learning_rate=0.001)),
        # Chaotic: the notebook's own last epochs differ by 0.015 from one to the next.
        Experiment("oscillates", replace(mlp, learning_rate=1.6), band=0.05),
        Experiment("diverges", replace(mlp, learning_rate=2.0), band=0.02),
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


@dataclass(frozen=True)
class Comparison:
    """An experiment's run beside the notebook's: `rows` has a line an epoch with both figures and differences."""

    experiment: Experiment
    rows: pd.DataFrame
    verdict: str
    reason: str


def compare(experiment: Experiment, curve: pd.DataFrame, regime: str) -> Comparison:
    """The verdict on a run.

    Args:
        experiment: what was run.
        curve: its rows of the epochs table.
        regime: its label.

    Returns:
        *exact*: every accuracy that the notebook printed for these epochs is within `EXACT`. *statistical*: the
        run is chaotic or depends on the device, the regime is the notebook's, and the test accuracy after the
        last epoch that both have is within the experiment's band. Else *differs*.
    """
    reference = section(experiment.name)
    ours = curve.set_index("epoch")[["train_accuracy", "test_accuracy", "test_loss"]]
    rows = reference.join(ours, how="inner", lsuffix="_notebook", rsuffix="_ours")
    for name in ("train_accuracy", "test_accuracy"):
        rows[f"{name}_difference"] = rows[f"{name}_ours"] - rows[f"{name}_notebook"]
    differences = rows[["train_accuracy_difference", "test_accuracy_difference"]].abs()
    largest = float(np.nanmax(differences.to_numpy())) if len(rows) else float("nan")
    if largest <= EXACT:
        return Comparison(experiment, rows, "exact", f"largest difference {largest:.5f} over {len(rows)} epochs")
    expected, _ = curve_regime(_reference_curve(reference.loc[: rows.index.max()]))
    final = float(rows["test_accuracy_difference"].iloc[-1]) if len(rows) else float("nan")
    said = f"regime {regime} (notebook {expected}), final test accuracy {final:+.4f} (band {experiment.band:g})"
    same = regime == expected and abs(final) <= experiment.band
    return Comparison(experiment, rows, "statistical" if same else "differs", said)


def _reference_curve(reference: pd.DataFrame) -> Curve:
    train = reference["train_accuracy"].to_numpy(dtype=float)
    return Curve(
        held_out=reference["test_accuracy"].to_numpy(dtype=float),
        epochs_asked=len(reference),
        train_accuracy=None if np.isnan(train).all() else train,
    )
