"""How good are the labels, the projections and early stopping on curves that a person
labelled?

    python validation/label_cuts.py --set 1 2 3 4 5

A set is one of `tests/regimes`, or of another folder with files of these names
(`--folder`, `--set A`); `blind_set.py` makes a new one. The rules are called as a user
calls them, by `label_trials`. Five sets take about a minute. It prints four short
tables:

- *Labels*: how many are a person's. *On its way* for slow, or the reverse, counts half.
  An arguable curve is right with any label that the person would accept; curves that
  the person could not decide do not count. The interval is exact (Clopper-Pearson,
  95%).
- *Cuts*: each curve alone, cut at 1/3, 1/2 and 2/3 of its epochs, against its sweep's
  target. A cut contradicts the whole if both have a label, and another one.
- *Projections*: each sweep is cut at the same shares of the epochs asked for. It is
  seen as one that still runs, and as one that is complete, with the cut as the epochs
  asked for, so that what happened later is beyond them. The target is that which the
  cut sweep has. A curve reached it in the first epoch in which its accuracy, and the
  median of that epoch's and the next two, are at the target. Counted are the curves of
  all epochs that reached it after the cut: how many have a finite interval, how wide it
      is in the middle (end / start), how many intervals hold the epoch, how many end too early or begin too late; and how many were told *later than epoch N*, *> N* or *never*, falsely. For *later
  than* those count, too, that never got there within what was trained, if that is N
  epochs or more.
- *Early stopping*: the default scheduler takes the rows epoch by epoch, those of all
  trials of a sweep side by side, once with the smallest rate first and once with the
      largest: it compares a trial with those before it.
  *Best lost* are sweeps all of whose best trials, by their last held-out accuracy, were
  stopped. *Dead* trials were stopped as dead or diverged; they recovered if they had
  learned 30% of what can be learned in the median of three later epochs. *Slow* ones
  got there after all if they reached the target within the epochs asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune import SweepOptions, TrialConfig, cli
from mnist_tune.regimes.curve import curves_of
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.labels import label_trials
from mnist_tune.regimes.limits import FAR, LEARNED, TREND
from mnist_tune.regimes.reasons import Reason
from mnist_tune.regimes.replicates import clopper_pearson
from mnist_tune.tuning.early_stopping import RegimeStopping
from mnist_tune.tuning.run import Run

SETS = Path(__file__).parents[1] / "tests" / "regimes"
CUTS = 1 / 3, 1 / 2, 2 / 3

TASK = ("train_images", "test_images")
"""What a set records of a task, beside the loss of a guess."""

NOT_BEFORE = re.compile(r"(?:not before|later than) epoch (\d+)")


@dataclass(frozen=True)
class LabelCuts:
    """Score the rules on sets of curves."""

    set: tuple[str, ...] = ("1", "2", "3", "4", "5")
    """Names of the sets."""
    folder: Path = SETS
    """Where they are."""
    missed: bool = False
    """Name the curves whose label is not a person's."""
    longer: int = 1
    """How many times as long the runs were trained as was asked: with 3, the first
    third counts as what was asked, and what came after it is known."""


@dataclass(frozen=True)
class Sweep:
    """A sweep of a set, with a person's labels in `expected` and, if the set has them,
    in `acceptable`."""

    name: str
    trials: pd.DataFrame
    epochs: pd.DataFrame
    data: DataFacts

    @property
    def asked(self) -> int:
        return int(self.trials["epochs_asked"].iloc[0])

    def curve(self, trial_id: str) -> pd.DataFrame:
        """Return the rows of a trial."""
        return self.epochs[self.epochs["trial_id"] == trial_id]

    def until(self, last: int, asked: int, reason: str) -> Sweep:
        """Return the sweep cut after an epoch, as if so many were asked for; `reason`
        is that of what was cut."""
        cut = (
            self.trials["trial_id"].map(self.epochs.groupby("trial_id")["epoch"].max())
            > last
        )
        trials = self.trials.assign(
            epochs_asked=asked, stop_reason=self.trials["stop_reason"].mask(cut, reason)
        )
        return replace(
            self, trials=trials, epochs=self.epochs[self.epochs["epoch"] <= last]
        )

    def labelled(self) -> pd.DataFrame:
        """Return the trials with their labels and projections."""
        return label_trials(self.trials, self.epochs, self.data)


def read_set(name: str | int, folder: Path = SETS) -> Iterator[Sweep]:
    """Yield the sweeps of a set."""
    trials, epochs = (
        pd.read_csv(folder / f"unseen_{name}_{part}.csv", dtype={"trial_id": str})
        for part in ("trials", "epochs")
    )
    if (path := folder / f"unseen_{name}_labels.csv").exists():
        labels = pd.read_csv(path, dtype={"trial_id": str})
        keys = [
            key
            for key in ("sweep", "trial_id", "learning_rate", "seed")
            if key in labels
        ]
        trials = trials.merge(labels, on=keys, validate="one_to_one")
    trials = complete(trials.assign(architecture="net"))
    for sweep, part in trials.groupby("sweep", sort=False):
        yield Sweep(
            str(sweep),
            part.reset_index(drop=True),
            epochs[epochs["sweep"] == sweep],
            data_of(part.iloc[0]),
        )


def complete(trials: pd.DataFrame) -> pd.DataFrame:
    """Return a table of trials with the columns that it lacks, as they usually are."""
    usual = vars(TrialConfig(holdout=0)) | {
        "trial_id": "0",
        "changed": False,
        "epochs_run": 10,
        "epochs_asked": 10,
    }
    usual |= {"answers": 1.0, "late_fall": 0.0}
    return trials.assign(
        **{name: value for name, value in usual.items() if name not in trials}
    )


def data_of(trial: pd.Series) -> DataFacts:
    """Return the facts about a trial's data set, or its task, which has no counts of
    labels."""
    if pd.isna(trial["label_counts"]):
        guesses = (
            {}
            if pd.isna(trial["guess"])
            else {trial["architecture"]: float(trial["guess"])}
        )
        return DataFacts.of_task(
            {name: int(trial[name]) for name in TASK} | {"guesses": guesses}
        )
    target = None if pd.isna(trial["target"]) else float(trial["target"])
    facts = DataFacts.of(
        [int(count) for count in trial["label_counts"].split()],
        int(trial["test_images"]),
        target,
    )
    return replace(
        facts, train_images=facts.train_images // int(trial.get("positions", 1))
    )


def arguable(trial: Any) -> bool:
    """Return whether a person would accept several labels."""
    return isinstance(getattr(trial, "acceptable", None), str)


def score(trial: Any) -> float:
    """Return 1 for a label that the person accepts, else 0; slow and on its way are
    half right of each other."""
    way = trial.regime == "undecided" and trial.reason == Reason.ON_ITS_WAY
    found = "on its way" if way else trial.regime
    accepted = set(trial.acceptable.split("/")) if arguable(trial) else {trial.expected}
    if found in accepted:
        return 1.0
    halves = {"slow", "on its way"}
    return 0.5 if found in halves and accepted & halves else 0.0


def judged(sweep: Sweep) -> Iterator[Any]:
    """Yield the labelled trials that a person could decide."""
    for trial in sweep.labelled().itertuples():
        if trial.expected != "undecided" or arguable(trial):
            yield trial


def print_labels(sweeps: Sequence[Sweep], missed: bool) -> None:
    """Print how many labels are those of a person, and which are not."""
    trials = [trial for sweep in sweeps for trial in judged(sweep)]
    print("labels")
    for name, some in (
        ("clear", [trial for trial in trials if not arguable(trial)]),
        ("all", trials),
    ):
        right, count = sum(map(score, some)), len(some)
        low, high = clopper_pearson(right, count)
        print(
            f"  {name:6} {right:5.1f} of {count}, {right / count:.0%} ({low:.0%} to {high:.0%})"
        )
    for trial in trials if missed else ():
        if score(trial) < 1:
            wanted = trial.acceptable if arguable(trial) else trial.expected
            of = f"{trial.sweep}, {trial.learning_rate:g}, seed {trial.seed}"
            print(f"  {of}: {wanted}; {trial.regime}: {trial.regime_evidence}")


def print_contradictions(sweeps: Sequence[Sweep]) -> None:
    """Print how many labels of cut curves contradict that of the whole one."""
    pairs = []
    for sweep in sweeps:
        for row, target in enumerate(sweep.labelled()["target"]):
            trials, rows = (
                sweep.trials.iloc[[row]],
                sweep.curve(sweep.trials["trial_id"].iloc[row]),
            )
            target = None if pd.isna(target) else float(target)
            alone = Sweep(
                sweep.name,
                trials.reset_index(drop=True),
                rows,
                replace(sweep.data, target=target),
            )
            whole = alone.labelled()["regime"].iloc[0]
            for last in {max(round(share * len(rows)), 1) for share in CUTS} - {
                len(rows)
            }:
                pairs.append(
                    (
                        alone.until(last, alone.asked, "running")
                        .labelled()["regime"]
                        .iloc[0],
                        whole,
                    )
                )
    decided = [pair for pair in pairs if "undecided" not in pair]
    other = pd.Series(
        [f"{found}, then {whole}" for found, whole in decided if found != whole]
    ).value_counts()
    print(
        f"cuts: {other.sum()} of {len(decided)} decided ones contradict the whole ({len(pairs)} cuts)"
    )
    print(*(f"  {number:3} {pair}" for pair, number in other.items()), sep="\n")


def first_epoch(accuracy: np.ndarray, target: float) -> float:
    """Return the first epoch at the target, in the median of three, too; infinite if
    there is none before the last."""
    there = (
        epoch + 1
        for epoch in range(len(accuracy) - 1)
        if accuracy[epoch] >= target
        and np.median(accuracy[epoch : epoch + 3]) >= target
    )
    return float(next(there, math.inf))


@dataclass(frozen=True)
class Projection:
    """What the label of a cut curve says about an epoch that is known."""

    epoch: float
    start: float
    end: float
    not_before: float
    """The least epoch that was said; infinite for *never*, 0 if none was."""
    curve: tuple[str, str]
    asked: int
    trained: int

    @classmethod
    def of(cls, trial: Any, epoch: float, trained: int) -> Projection:
        """Return what a labelled trial says of an epoch, which is infinite if the curve
        did not get there within the epochs that it was trained."""
        start, end, likely = (
            float(trial.reaches_from),
            float(trial.reaches_to),
            float(trial.reaches),
        )
        named = NOT_BEFORE.search(trial.regime_evidence)
        if named:
            least = float(named[1])
        elif math.isinf(end) and math.isfinite(start):
            least = start
        elif math.isfinite(likely) and likely > FAR * trial.epochs_asked:
            least = float(FAR * trial.epochs_asked)
        else:
            least = math.inf if math.isinf(likely) else 0.0
        return cls(
            epoch,
            start,
            end,
            least,
            (trial.sweep, trial.trial_id),
            trial.epochs_asked,
            trained,
        )

    @property
    def finite(self) -> bool:
        return math.isfinite(self.start) and math.isfinite(self.end)

    @property
    def told(self) -> bool:
        """Whether the run can tell if a least epoch that was said is false."""
        return 0 < self.not_before < math.inf and (
            self.epoch < math.inf or self.not_before <= self.trained
        )

    @property
    def holds(self) -> bool:
        return self.start < self.epoch + 1 and self.epoch - 1 < self.end


def projections(
    sweeps: Iterable[Sweep], complete: bool, longer: int = 1
) -> Iterator[Projection]:
    """Yield what is said of each curve that has not reached its target at the cut. Runs
    of `longer` times the epochs asked for are cut within those, and those that count as
    complete after them."""
    for sweep in sweeps:
        asked = sweep.asked // longer
        curves = curves_of(sweep.trials, sweep.epochs, sweep.data)
        accuracies = {
            trial_id: one.score
            for trial_id, one in zip(sweep.trials["trial_id"], curves, strict=True)
        }
        cuts = (
            {asked}
            if complete and longer > 1
            else {max(round(share * asked), 1) for share in CUTS}
        )
        for last in sorted(cuts):
            seen = (
                sweep.until(last, last, "completed")
                if complete
                else sweep.until(last, asked, "running")
            )
            for trial in seen.labelled().itertuples():
                accuracy = accuracies[str(trial.trial_id)]
                if len(accuracy) == sweep.asked and not pd.isna(trial.target):
                    epoch = first_epoch(accuracy, float(trial.target))
                    if epoch > last:
                        yield Projection.of(trial, epoch, sweep.asked)


def print_projections(sweeps: Sequence[Sweep], longer: int) -> None:
    """Print how good the projections of cut sweeps are."""
    running, after = (
        list(projections(sweeps, complete, longer)) for complete in (False, True)
    )
    beyond = [one for one in running if one.epoch > one.asked]
    print(
        "projections           reached  of curves  interval  end/start     hold  too early, late  later than N: false"
    )
    for name, said in (
        ("still running", running),
        ("  there after the asked", beyond),
        ("complete, beyond", after),
    ):
        found = [one for one in said if one.epoch < math.inf]
        ranges = [one for one in found if one.finite]
        hold, early = (
            sum(one.holds for one in ranges),
            sum(one.epoch >= one.end + 1 for one in ranges),
        )
        width = (
            np.median([one.end / one.start for one in ranges]) if ranges else math.nan
        )
        least = [one for one in said if one.told]
        never = sum(math.isinf(one.not_before) for one in found)
        share = f"{len(ranges)} {len(ranges) / max(len(found), 1):.0%}"
        held = f"{hold} {hold / max(len(ranges), 1):.0%}"
        print(
            f"  {name:22} {len(found):6}  {len({one.curve for one in found}):9}  {share:>8}  {width:9.2f}  {held:>7}  "
            f"{early:9}, {len(ranges) - hold - early:<4}  {sum(one.epoch < one.not_before for one in least):6} of "
            f"{len(least):<6} never: false {never}"
        )


SCHEDULES = ("constant", "cosine", "linear")
"""The schedules that a trial may have."""

Stops = dict[str, tuple[str, int]]
"""Why, and after which epoch, trials were stopped."""


def stops(sweep: Sweep, largest_first: bool) -> Stops:
    """Return why, and after which epoch, the default scheduler stops trials of a
    sweep."""
    fates = RegimeStopping(
        min(SweepOptions().grace_period, sweep.asked), Run(), sweep.data
    )
    known = "learning_rate", "seed", "momentum", "batch_size", "loss", "label_noise"
    names = [name for name in known if name in sweep.trials]
    # What others trained may lack a training loss, by which ASHA proposes, and has
    # schedules that ours don't.
    proposed_by = (
        sweep.epochs["train_loss"]
        .fillna(sweep.epochs["test_loss"])
        .fillna(1 - sweep.epochs["train_accuracy"])
        .fillna(math.inf)
    )
    configs = {}
    for trial in sweep.trials.to_dict("records"):
        settings = {name: trial[name] for name in names}
        if trial["schedule"] in SCHEDULES:
            settings["schedule"] = trial["schedule"]
        configs[str(trial["trial_id"])] = TrialConfig(epochs=sweep.asked, **settings)
    rates = sweep.epochs["trial_id"].map(
        lambda trial_id: configs[trial_id].learning_rate
    )
    order = sweep.epochs.assign(
        train_loss=proposed_by, rate=-rates if largest_first else rates
    ).sort_values(["epoch", "rate"], kind="stable")
    found: dict[str, tuple[str, int]] = {}
    order = order.drop(columns="rate").astype(object)
    for row in order.where(order.notna(), None).to_dict("records"):
        trial_id = str(row["trial_id"])
        if trial_id not in found:
            reason = fates.take_up(trial_id, configs[trial_id], row) or (
                "diverged" if row["diverged"] else ""
            )
            if reason and row["epoch"] < sweep.asked:
                found[trial_id] = reason, int(row["epoch"])
    return found


def print_stops(sweeps: Iterable[tuple[Sweep, Stops]]) -> None:
    """Print what early stopping saves and costs, given what it stopped."""
    lost, recovered, arrived, reasons, saved, total, count = [], [], [], [], 0, 0, 0
    for sweep, stopped in sweeps:
        count, last = count + 1, {}
        curves = curves_of(sweep.trials, sweep.epochs, sweep.data)
        for trial, curve in zip(sweep.labelled().itertuples(), curves, strict=True):
            last[trial.trial_id] = float(curve.held_out[-1])
            diverged = (
                np.zeros(curve.epochs, bool)
                if curve.diverged is None
                else curve.diverged
            )
            total += (
                ran := min(int(np.append(diverged, True).argmax()) + 1, curve.epochs)
            )
            if trial.trial_id not in stopped:
                continue
            reason, epoch = stopped[trial.trial_id]
            saved, name = (
                saved + ran - epoch,
                f"{sweep.name}, {trial.learning_rate:g}: {reason} after epoch {epoch}",
            )
            reasons.append(reason)
            after = pd.Series(curve.score[epoch:]).rolling(TREND).median().max()
            if reason in ("dead", "diverged") and curve.data.learned(after) > LEARNED:
                recovered.append(f"{name}, then {after:.3f}")
            if (
                reason == "slow"
                and (there := first_epoch(curve.score, trial.target)) < math.inf
            ):
                arrived.append(f"{name}, there in {there:.0f}")
        best, kept = (
            max(last.values()),
            max((last[one] for one in last if one not in stopped), default=0.0),
        )
        lost += [f"{sweep.name}: {best:.3f}, kept {kept:.3f}"] * (kept < best)
    print(
        f"  {saved / total:.0%} of {total} epochs saved; stopped {pd.Series(reasons).value_counts().to_dict()}"
    )
    print(f"  best lost in {len(lost)} of {count} sweeps", *lost, sep="\n    ")
    print(f"  dead, and recovered: {len(recovered)}", *recovered, sep="\n    ")
    print(f"  slow, and at the target: {len(arrived)}", *arrived, sep="\n    ")


def main() -> None:
    config = cli.parse(LabelCuts)
    sweeps = [sweep for name in config.set for sweep in read_set(name, config.folder)]
    if all("expected" in sweep.trials for sweep in sweeps):
        print_labels(sweeps, config.missed)
        print_contradictions(sweeps)
    print_projections(sweeps, config.longer)
    asked = [sweep.asked // config.longer for sweep in sweeps]
    sweeps = [
        sweep.until(last, last, "completed")
        for sweep, last in zip(sweeps, asked, strict=True)
    ]
    for largest_first in (False, True):
        print(
            f"early stopping, {'largest' if largest_first else 'smallest'} rate first"
        )
        print_stops((sweep, stops(sweep, largest_first)) for sweep in sweeps)


if __name__ == "__main__":
    cli.run(main)
