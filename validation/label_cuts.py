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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune import SweepOptions, TrialConfig, cli
from mnist_tune.regimes.curve import Curve, curves_of
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.labels import label_trials
from mnist_tune.regimes.limits import FAR, LEARNED, TREND
from mnist_tune.regimes.reasons import Reason
from mnist_tune.regimes.replicates import clopper_pearson
from mnist_tune.tuning.early_stopping import ASHA, RegimeStopping
from mnist_tune.tuning.run import Run

SETS = Path(__file__).parents[1] / "tests" / "regimes"
CUTS = 1 / 3, 1 / 2, 2 / 3

TASK = ("train_images", "test_images")
"""What a set records of a task, beside the loss of a guess."""

KEYS = ("sweep", "trial_id", "learning_rate", "seed")
"""What says which trial a label belongs to."""

USUAL = {
    "trial_id": "0",
    "changed": False,
    "epochs_run": 10,
    "epochs_asked": 10,
    "answers": 1.0,
    "late_fall": 0.0,
}
"""What a sweep says about a trial, beside its settings."""

HALVES = {"slow", "on its way"}
"""Labels that are half right of each other."""

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
        epochs_run = self.epochs.groupby("trial_id")["epoch"].max()
        is_cut = self.trials["trial_id"].map(epochs_run) > last
        stop_reason = self.trials["stop_reason"].mask(is_cut, reason)
        trials = self.trials.assign(epochs_asked=asked, stop_reason=stop_reason)
        is_there = self.epochs["epoch"] <= last
        return replace(self, trials=trials, epochs=self.epochs[is_there])

    def labelled(self) -> pd.DataFrame:
        """Return the trials with their labels and projections."""
        return label_trials(self.trials, self.epochs, self.data)


def read_set(name: str | int, folder: Path = SETS) -> Iterator[Sweep]:
    """Yield the sweeps of a set."""
    trials = read_part(folder / f"unseen_{name}_trials.csv")
    epochs = read_part(folder / f"unseen_{name}_epochs.csv")
    labels_path = folder / f"unseen_{name}_labels.csv"
    if labels_path.exists():
        labels = read_part(labels_path)
        keys = [key for key in KEYS if key in labels]
        trials = trials.merge(labels, on=keys, validate="one_to_one")
    trials = complete(trials.assign(architecture="net"))
    for name_of_sweep, part in trials.groupby("sweep", sort=False):
        is_of_sweep = epochs["sweep"] == name_of_sweep
        part = part.reset_index(drop=True)
        data = data_of(part.iloc[0])
        yield Sweep(str(name_of_sweep), part, epochs[is_of_sweep], data)


def read_part(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"trial_id": str})


def complete(trials: pd.DataFrame) -> pd.DataFrame:
    """Return a table of trials with the columns that it lacks, as they usually are."""
    usual = vars(TrialConfig(holdout=0)) | USUAL
    lacking = {name: value for name, value in usual.items() if name not in trials}
    return trials.assign(**lacking)


def data_of(trial: pd.Series) -> DataFacts:
    """Return the facts about a trial's data set, or its task, which has no counts of
    labels."""
    if pd.isna(trial["label_counts"]):
        return task_of(trial)
    target = None
    if not pd.isna(trial["target"]):
        target = float(trial["target"])
    counts = [int(count) for count in trial["label_counts"].split()]
    facts = DataFacts.of(counts, int(trial["test_images"]), target)
    # A text has several labels an example.
    positions = int(trial.get("positions", 1))
    return replace(facts, train_images=facts.train_images // positions)


def task_of(trial: pd.Series) -> DataFacts:
    """Return the facts about a trial's task."""
    guesses = {}
    if not pd.isna(trial["guess"]):
        guesses[trial["architecture"]] = float(trial["guess"])
    facts: dict[str, Any] = {name: int(trial[name]) for name in TASK}
    facts["guesses"] = guesses
    return DataFacts.of_task(facts)


def arguable(trial: Any) -> bool:
    """Return whether a person would accept several labels."""
    return isinstance(getattr(trial, "acceptable", None), str)


def score(trial: Any) -> float:
    """Return 1 for a label that the person accepts, else 0; slow and on its way are
    half right of each other."""
    label = trial.regime
    if label == "undecided" and trial.reason == Reason.ON_ITS_WAY:
        label = "on its way"
    accepted = {trial.expected}
    if arguable(trial):
        accepted = set(trial.acceptable.split("/"))
    if label in accepted:
        return 1.0
    if label in HALVES and accepted & HALVES:
        return 0.5
    return 0.0


def judged(sweep: Sweep) -> Iterator[Any]:
    """Yield the labelled trials that a person could decide."""
    for trial in sweep.labelled().itertuples():
        if trial.expected != "undecided" or arguable(trial):
            yield trial


def print_labels(sweeps: Sequence[Sweep], missed: bool) -> None:
    """Print how many labels are those of a person, and which are not."""
    trials = [trial for sweep in sweeps for trial in judged(sweep)]
    clear = [trial for trial in trials if not arguable(trial)]
    print("labels")
    print_scores("clear", clear)
    print_scores("all", trials)
    if not missed:
        return
    for trial in trials:
        if score(trial) == 1:
            continue
        accepted = trial.expected
        if arguable(trial):
            accepted = trial.acceptable
        name = f"{trial.sweep}, {trial.learning_rate:g}, seed {trial.seed}"
        print(f"  {name}: {accepted}; {trial.regime}: {trial.regime_evidence}")


def print_scores(name: str, trials: Sequence[Any]) -> None:
    """Print how many labels are right."""
    right = sum(score(trial) for trial in trials)
    count = len(trials)
    low, high = clopper_pearson(right, count)
    interval = f"({low:.0%} to {high:.0%})"
    print(f"  {name:6} {right:5.1f} of {count}, {right / count:.0%} {interval}")


def print_contradictions(sweeps: Sequence[Sweep]) -> None:
    """Print how many labels of cut curves contradict that of the whole one."""
    cuts = 0
    decided = 0
    contradictions = []
    for sweep in sweeps:
        for cut, whole in cut_and_whole(sweep):
            cuts += 1
            if "undecided" in (cut, whole):
                continue
            decided += 1
            if cut != whole:
                contradictions.append(f"{cut}, then {whole}")
    count = len(contradictions)
    print(f"cuts: {count} of {decided} decided ones contradict the whole ({cuts} cuts)")
    counts = pd.Series(contradictions).value_counts()
    lines = [f"  {count:3} {pair}" for pair, count in counts.items()]
    print(*lines, sep="\n")


def cut_and_whole(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """Yield the label of each cut curve, and that of the whole one."""
    targets = sweep.labelled()["target"]
    for row, trial_id in enumerate(sweep.trials["trial_id"]):
        target = None
        if not pd.isna(targets.iloc[row]):
            target = float(targets.iloc[row])
        # Each curve alone, with the target of its sweep.
        data = replace(sweep.data, target=target)
        trial = sweep.trials.iloc[[row]].reset_index(drop=True)
        alone = Sweep(sweep.name, trial, sweep.curve(trial_id), data)
        whole = only_regime(alone)
        epochs = len(alone.epochs)
        for last in cuts_of(epochs) - {epochs}:
            cut = alone.until(last, alone.asked, "running")
            yield only_regime(cut), whole


def only_regime(sweep: Sweep) -> str:
    """Return the regime of a sweep's only trial."""
    return str(sweep.labelled()["regime"].iloc[0])


def cuts_of(epochs: int) -> set[int]:
    """Return the epochs after which a curve of so many is cut."""
    return {max(round(share * epochs), 1) for share in CUTS}


def first_epoch(accuracy: np.ndarray, target: float) -> float:
    """Return the first epoch at the target, in the median of three, too; infinite if
    there is none before the last."""
    for epoch in range(len(accuracy) - 1):
        if accuracy[epoch] < target:
            continue
        if np.median(accuracy[epoch : epoch + 3]) >= target:
            return float(epoch + 1)
    return math.inf


@dataclass(frozen=True)
class Projection:
    """What the label of a cut curve says about an epoch that is known."""

    epoch: float
    start: float
    end: float
    not_before: float
    """The least epoch that was said; infinite for *never*, 0 if none was."""
    curve: tuple[str, str]
    epochs_asked: int
    trained: int

    @classmethod
    def of(cls, trial: Any, epoch: float, trained: int) -> Projection:
        """Return what a labelled trial says of an epoch, which is infinite if the curve
        did not get there within the epochs that it was trained."""
        curve = trial.sweep, trial.trial_id
        start = float(trial.reaches_from)
        end = float(trial.reaches_to)
        return cls(
            epoch=epoch,
            start=start,
            end=end,
            not_before=not_before(trial),
            curve=curve,
            epochs_asked=trial.epochs_asked,
            trained=trained,
        )

    @property
    def finite(self) -> bool:
        return math.isfinite(self.start) and math.isfinite(self.end)

    @property
    def may_be_false(self) -> bool:
        """Whether the run can tell if a least epoch that was said is false."""
        if not 0 < self.not_before < math.inf:
            return False
        return self.epoch < math.inf or self.not_before <= self.trained

    @property
    def is_false(self) -> bool:
        """Whether the curve got there before the least epoch that was said."""
        return self.epoch < self.not_before

    @property
    def holds(self) -> bool:
        return self.start < self.epoch + 1 and self.epoch - 1 < self.end


def not_before(trial: Any) -> float:
    """Return the least epoch that a label names; infinite for *never*, 0 if it names
    none."""
    named = NOT_BEFORE.search(trial.regime_evidence)
    if named:
        return float(named[1])
    start = float(trial.reaches_from)
    end = float(trial.reaches_to)
    if math.isinf(end) and math.isfinite(start):
        return start
    likely = float(trial.reaches)
    if math.isinf(likely):
        return math.inf
    far = FAR * trial.epochs_asked
    if likely > far:
        return float(far)
    return 0.0


def projections(
    sweeps: Iterable[Sweep], complete: bool, longer: int = 1
) -> Iterator[Projection]:
    """Yield what is said of each curve that has not reached its target at the cut. Runs
    of `longer` times the epochs asked for are cut within those, and those that count as
    complete after them."""
    for sweep in sweeps:
        asked_for = sweep.asked // longer
        curves = curves_of(sweep.trials, sweep.epochs, sweep.data)
        scores = [curve.score for curve in curves]
        accuracies = dict(zip(sweep.trials["trial_id"], scores, strict=True))
        cuts = cuts_of(asked_for)
        if complete and longer > 1:
            cuts = {asked_for}
        for last in sorted(cuts):
            if complete:
                cut = sweep.until(last, last, "completed")
            else:
                cut = sweep.until(last, asked_for, "running")
            for trial in cut.labelled().itertuples():
                accuracy = accuracies[str(trial.trial_id)]
                # What a run that ended early would have reached isn't known.
                if len(accuracy) < sweep.asked or pd.isna(trial.target):
                    continue
                epoch = first_epoch(accuracy, float(trial.target))
                if epoch > last:
                    yield Projection.of(trial, epoch, sweep.asked)


def print_projections(sweeps: Sequence[Sweep], longer: int) -> None:
    """Print how good the projections of cut sweeps are."""
    running = list(projections(sweeps, False, longer))
    after = list(projections(sweeps, True, longer))
    beyond = [cut for cut in running if cut.epoch > cut.epochs_asked]
    print(
        "projections           reached  of curves  interval  end/start     hold  too early, late  later than N: false"
    )
    print_quality("still running", running)
    print_quality("  there after the asked", beyond)
    print_quality("complete, beyond", after)


def print_quality(name: str, cuts: Sequence[Projection]) -> None:
    """Print how good projections are: how many have an interval, how wide it is, and
    how often what they say is false."""
    reached = [cut for cut in cuts if cut.epoch < math.inf]
    curves = {cut.curve for cut in reached}
    columns = [f"  {name:22} {len(reached):6}", f"{len(curves):9}"]
    # Intervals
    ranges = [cut for cut in reached if cut.finite]
    count = len(ranges)
    share = f"{count} {count / max(len(reached), 1):.0%}"
    width = math.nan
    if ranges:
        width = np.median([cut.end / cut.start for cut in ranges])
    hold = sum(cut.holds for cut in ranges)
    held = f"{hold} {hold / max(count, 1):.0%}"
    early = sum(cut.epoch >= cut.end + 1 for cut in ranges)
    late = count - hold - early
    columns += [f"{share:>8}", f"{width:9.2f}", f"{held:>7}", f"{early:9}, {late:<4}"]
    # Least epochs
    limits = [cut for cut in cuts if cut.may_be_false]
    wrong = sum(cut.is_false for cut in limits)
    never = sum(math.isinf(cut.not_before) for cut in reached)
    columns.append(f"{wrong:6} of {len(limits):<6} never: false {never}")
    print("  ".join(columns))


SCHEDULES = ("constant", "cosine", "linear")
"""The schedules that a trial may have."""

RECORDED = ("learning_rate", "seed", "momentum", "batch_size", "loss", "label_noise")
"""The settings that a set may record."""

Stops = dict[str, tuple[str, int]]
"""Why, and after which epoch, trials were stopped."""


def stops(sweep: Sweep, largest_first: bool) -> Stops:
    """Return why, and after which epoch, the default scheduler stops trials of a
    sweep."""
    scheduler = RegimeStopping(grace_period(sweep), Run(), sweep.data)
    configs = configs_of(sweep)
    stopped: Stops = {}
    for row in rows_in_order(sweep, configs, largest_first):
        trial_id = str(row["trial_id"])
        if trial_id in stopped:
            continue
        reason = scheduler.take_up(trial_id, configs[trial_id], row)
        if not reason and row["diverged"]:
            reason = "diverged"
        if reason and row["epoch"] < sweep.asked:
            stopped[trial_id] = reason, int(row["epoch"])
    return stopped


def grace_period(sweep: Sweep) -> int:
    return min(SweepOptions().grace_period, sweep.asked)


def configs_of(sweep: Sweep) -> dict[str, TrialConfig]:
    """Return the config of each trial."""
    configs = {}
    for trial in sweep.trials.to_dict("records"):
        configs[str(trial["trial_id"])] = config_of(trial, sweep.asked)
    return configs


def config_of(trial: dict[str, Any], epochs: int) -> TrialConfig:
    """Return a trial's config, as far as its set records it."""
    settings = {name: trial[name] for name in RECORDED if name in trial}
    # by which the loss of a guess is known
    settings["architecture"] = trial["architecture"]
    # What others trained has schedules that ours don't.
    if trial["schedule"] in SCHEDULES:
        settings["schedule"] = trial["schedule"]
    return TrialConfig(epochs=epochs, **settings)


def rows_in_order(
    sweep: Sweep, configs: dict[str, TrialConfig], largest_first: bool
) -> list[dict[str, Any]]:
    """Return the rows of a sweep's trials side by side, epoch by epoch."""
    epochs = sweep.epochs
    # What others trained may lack a training loss, by which ASHA proposes.
    loss = epochs["train_loss"].fillna(epochs["test_loss"])
    loss = loss.fillna(1 - epochs["train_accuracy"]).fillna(math.inf)
    rate_of = {trial_id: config.learning_rate for trial_id, config in configs.items()}
    rates = epochs["trial_id"].map(rate_of)
    if largest_first:
        rates = -rates
    rows = epochs.assign(train_loss=loss, rate=rates)
    rows = rows.sort_values(["epoch", "rate"], kind="stable").drop(columns="rate")
    # The scheduler expects None where a number is missing.
    rows = rows.astype(object)
    rows = rows.where(rows.notna(), None)
    return list(rows.to_dict("records"))


@dataclass
class Savings:
    """What early stopping saves and costs, over sweeps."""

    sweeps: int = 0
    total: int = 0
    """The epochs that trials would have run."""
    saved: int = 0
    reasons: list[str] = field(default_factory=list)
    best_lost: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)

    def add(self, sweep: Sweep, stopped: Stops) -> None:
        """Count a sweep, too."""
        self.sweeps += 1
        last = {}
        kept_last = [0.0]
        curves = curves_of(sweep.trials, sweep.epochs, sweep.data)
        for trial, curve in zip(sweep.labelled().itertuples(), curves, strict=True):
            accuracy = float(curve.held_out[-1])
            last[trial.trial_id] = accuracy
            epochs = epochs_until_diverged(curve)
            self.total += epochs
            if trial.trial_id not in stopped:
                kept_last.append(accuracy)
                continue
            reason, epoch = stopped[trial.trial_id]
            self.saved += epochs - epoch
            self.reasons.append(reason)
            name = (
                f"{sweep.name}, {trial.learning_rate:g}: {reason} after epoch {epoch}"
            )
            self.add_mistake(name, reason, epoch, trial.target, curve)
        best = max(last.values())
        best_kept = max(kept_last)
        if best_kept < best:
            self.best_lost.append(f"{sweep.name}: {best:.3f}, kept {best_kept:.3f}")

    def add_mistake(
        self, name: str, reason: str, epoch: int, target: float, curve: Curve
    ) -> None:
        """Note what a trial that was stopped after an epoch would have reached."""
        if reason in ("dead", "diverged"):
            medians = pd.Series(curve.score[epoch:]).rolling(TREND).median()
            highest = medians.max()
            if curve.data.learned(highest) > LEARNED:
                self.recovered.append(f"{name}, then {highest:.3f}")
        if reason in ("slow", ASHA):
            arrival = first_epoch(curve.score, target)
            if arrival < math.inf:
                self.arrived.append(f"{name}, there in {arrival:.0f}")


def epochs_until_diverged(curve: Curve) -> int:
    if curve.diverged is None or not curve.diverged.any():
        return curve.epochs
    return int(curve.diverged.argmax()) + 1


def print_stops(sweeps: Iterable[tuple[Sweep, Stops]]) -> None:
    """Print what early stopping saves and costs, given what it stopped."""
    savings = Savings()
    for sweep, stopped in sweeps:
        savings.add(sweep, stopped)
    share = savings.saved / savings.total
    reasons = pd.Series(savings.reasons).value_counts().to_dict()
    print(f"  {share:.0%} of {savings.total} epochs saved; stopped {reasons}")
    best_lost = f"  best lost in {len(savings.best_lost)} of {savings.sweeps} sweeps"
    print(best_lost, *savings.best_lost, sep="\n    ")
    recovered = f"  dead, and recovered: {len(savings.recovered)}"
    print(recovered, *savings.recovered, sep="\n    ")
    arrived = f"  slow, and at the target: {len(savings.arrived)}"
    print(arrived, *savings.arrived, sep="\n    ")


def main() -> None:
    config = cli.parse(LabelCuts)
    sweeps = [sweep for name in config.set for sweep in read_set(name, config.folder)]
    if all("expected" in sweep.trials for sweep in sweeps):
        print_labels(sweeps, config.missed)
        print_contradictions(sweeps)
    print_projections(sweeps, config.longer)
    # What was trained beyond the epochs asked for doesn't count from here on.
    cut_sweeps = []
    for sweep in sweeps:
        last = sweep.asked // config.longer
        cut_sweep = sweep.until(last, last, "completed")
        cut_sweeps.append(cut_sweep)
    for order in ("smallest", "largest"):
        print(f"early stopping, {order} rate first")
        is_largest = order == "largest"
        print_stops((sweep, stops(sweep, is_largest)) for sweep in cut_sweeps)


if __name__ == "__main__":
    cli.run(main)
