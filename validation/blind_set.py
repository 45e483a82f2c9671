"""Are the labels right on curves that nobody looked at? Train a set of them, for a
person to label before the rules do.

    python validation/blind_set.py sweeps.py --set 10

`sweeps.py` is a file that you write, with networks, data and optimisers that no earlier
set has:

    from validation.blind_set import Case

    SWEEPS = [Case("digits radam", "digits", "net.py:mlp", (0.001, 0.1, 10.0), 20, {"optimizer": "net.py:radam"})]

For a set 10 it writes to `tests/regimes` the tables `unseen_10_trials.csv` and
`unseen_10_epochs.csv`, without the rules' labels, and `unseen_10_labels.csv`. There a
person fills in `expected`, and in `acceptable` other labels that a curve may have, as
`a/b`. `docs/labels.md` says how labels were given; `label_cuts.py` compares them with
the rules'.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro

from mnist_tune import Sweep, SweepOptions, TrialConfig, UserError, cli, run_sweep
from mnist_tune.own_code.loading import load_own
from mnist_tune.regimes.histories import COLUMNS
from mnist_tune.runtime.ray_session import start_ray
from validation.label_cuts import SETS

KEPT = "trial_id learning_rate seed optimizer momentum batch_size loss schedule label_noise".split()
KEPT += ["epochs_asked", "stop_reason"]


@dataclass
class Case:
    """A sweep of one family over learning rates."""

    name: str
    data: str | Callable[[], tuple[np.ndarray, ...]] | None
    """What `--dataset` takes, or a function that returns training images and labels,
    and those of the test. None for a task."""
    network: str
    """The network, or the task."""
    rates: tuple[float, ...]
    epochs: int
    config: dict[str, Any] = field(default_factory=dict)
    """Further fields of the trials: `batch_size`, `optimizer`, ..."""
    target: float | None = None
    seeds: tuple[int, ...] = (0,)
    cut: int | None = None
    """Epochs after which the sweep is looked at, while it runs."""

    def trials(self, longer: int = 1, **changes: Any) -> list[TrialConfig]:
        """Return the trials, which train so many times as long, with some fields
        changed."""
        shared: dict[str, Any] = {"architecture": self.network}
        shared["epochs"] = longer * self.epochs
        fields = shared | self.config | changes
        trials = []
        for rate, seed in product(self.rates, self.seeds):
            trial = TrialConfig(learning_rate=rate, seed=seed, data_seed=seed, **fields)
            trials.append(trial)
        return trials


@dataclass(frozen=True, kw_only=True)
class BlindSet:
    """Train a set of sweeps that a person labels."""

    sweeps: Annotated[Path, tyro.conf.Positional]
    """A Python file with SWEEPS, a list of cases."""
    set: int
    """Number of the set."""
    output: Path = SETS
    """Folder for the tables."""
    longer: int = 1
    """Train so many times the epochs, to see what comes later; sweeps with a schedule
    are left out then."""


def cases_of(path: Path) -> list[Case]:
    """Return the sweeps of a file."""
    try:
        return list(runpy.run_path(str(path))["SWEEPS"])
    except (FileNotFoundError, KeyError) as error:
        raise UserError(
            f"{path} must be a Python file with SWEEPS, a list of cases ({error})"
        ) from None


def train(
    case: Case, folder: Path, trials: Sequence[TrialConfig], **options: Any
) -> Sweep:
    """Train a sweep as a user does."""
    if case.data is None:
        options_of_task = SweepOptions(output=folder, quiet=True, **options)
        return run_sweep(case.name, trials, options_of_task, task=case.network)
    load_own({"architecture": trials[0].architecture})
    dataset: Any = case.data
    if callable(dataset):
        dataset = dataset()
    options_of_network = SweepOptions(
        dataset=dataset, target=case.target, output=folder, quiet=True, **options
    )
    return run_sweep(case.name, trials, options_of_network)


def run(case: Case, folder: Path, longer: int) -> tuple[pd.DataFrame, ...]:
    """Train a sweep. Return its trials and epochs without the rules' labels, and a
    person's labels, still empty."""
    options: dict[str, Any] = {"scheduler": "fifo"}
    if longer > 1:
        options["execution"] = "lanes"
    sweep = train(case, folder, case.trials(longer), **options)
    meta = sweep.meta["dataset"]
    dataset = meta["name"]
    if case.data is None:
        dataset = case.name
    # without this machine's folders
    optimizers = sweep.trials["optimizer"].str.rpartition("/")[2]
    label_counts = map(str, meta.get("label_counts", ()))
    trials = sweep.trials[KEPT].assign(
        sweep=case.name,
        optimizer=optimizers,
        dataset=dataset,
        label_counts=" ".join(label_counts),
        test_images=meta["test_images"],
        target=case.target or meta.get("target"),
        positions=meta.get("positions", 1),
    )
    if case.data is None:
        trials = trials.assign(train_images=meta["train_images"], guess=meta["guess"])
    epochs = sweep.epochs.reindex(columns=["trial_id", *COLUMNS])
    epochs = epochs.assign(sweep=case.name)
    if case.cut:
        last_epochs = epochs.groupby("trial_id")["epoch"].max()
        is_cut = trials["trial_id"].map(last_epochs) > case.cut
        trials["stop_reason"] = trials["stop_reason"].mask(is_cut, "running")
        epochs = epochs[epochs["epoch"] <= case.cut]
    labels = trials[["sweep", "learning_rate", "seed"]]
    return trials, epochs, labels.assign(expected="", acceptable="")


def main() -> None:
    config = cli.parse(BlindSet)
    names = ("trials", "epochs", "labels")
    paths = [config.output / f"unseen_{config.set}_{name}.csv" for name in names]
    existing = [path.name for path in paths if path.exists()]
    if existing:
        raise UserError(
            f"set {config.set} is there already ({', '.join(existing)}): choose another --set"
        )
    cases = cases_of(config.sweeps)
    parts = []
    start_ray(None, None, False, 1)  # one Ray, of one core, for all sweeps
    for case in cases:
        if config.longer > 1 and "schedule" in case.config:
            continue
        with TemporaryDirectory(prefix="unseen-") as temporary:
            part = run(case, Path(temporary) / "sweep", config.longer)
        parts.append(part)
        print(case.name, len(part[0]), flush=True)
    for path, tables in zip(paths, zip(*parts, strict=True), strict=True):
        pd.concat(tables).to_csv(path, index=False, float_format="%.6g")


if __name__ == "__main__":
    cli.run(main)
