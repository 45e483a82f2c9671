"""The verdicts on the notebook's experiments, with made-up sweeps."""

from dataclasses import dataclass, replace
from itertools import groupby

import pytest
from kept_texts import assert_kept
from recorded_data import recorded_data
from text_tables import numbers

from mnist_tune import TrialConfig
from mnist_tune.epoch_row import EpochRow
from mnist_tune.judged import judge
from mnist_tune.results.writer import SweepWriter
from validation.notebook import (
    EXACT,
    Notebook,
    compare_all,
    experiments,
    plot_notebook,
    print_comparisons,
    section,
    shown_regime,
)

PLAIN = TrialConfig().to_dict()
CHAOTIC = ("oscillates", "diverges")
OSCILLATING = [0.8, 0.85, 0.8, 0.9, 0.88, 0.84, 0.93, 0.93, 0.93, 0.95]
CALM = [0.9 + 0.009 * epoch for epoch in range(10)]
LOST = [0.1]
OUTCOMES = {"oscillating": OSCILLATING, "converged": CALM, "diverged": LOST}


# --- what is run


def same_but_for_seeds(trial):
    return replace(trial, seed=0, data_seed=0)


def seed_of(trial):
    if trial.seed == trial.data_seed:
        return f"{trial.seed}"
    return f"{trial.seed}/{trial.data_seed}"


def in_words(trials):
    """Each trial in words, those that differ in their seeds only together."""
    for trial, replicates in groupby(trials, same_but_for_seeds):
        changed = {}
        for name, value in trial.to_dict().items():
            if value != PLAIN[name]:
                changed[name] = value
        seeds = " ".join(map(seed_of, replicates))
        yield f"  {changed}, seeds {seeds}"


def test_what_is_run():
    lines = []
    for name, experiment in experiments().items():
        regime, epoch = shown_regime(name)
        judged_by = f"chaotic {experiment.chaotic}, band {experiment.band:g}"
        lines.append(f"{name}: {judged_by}, shows {regime} from epoch {epoch} on")
    for flags in ({}, {"epochs": 11, "seeds": (0, 1, 7)}):
        trials = Notebook(**flags).trials()
        lines += ["", f"asked for {flags}:", *in_words(trials)]
    assert_kept("notebook experiments", "\n".join(lines) + "\n")


# --- how it is judged


@dataclass
class Run:
    """A run of a sweep. An epoch is a pair of training and test accuracy."""

    config: TrialConfig
    epochs: list[tuple[float, float]]
    stop_reason: str = "completed"


def with_test(train):
    """Return epochs whose test accuracy is a hundredth lower."""
    return [(accuracy, accuracy - 0.01) for accuracy in train]


@pytest.fixture
def new_sweep(tmp_path, epoch_row):
    """A function that makes a sweep from runs. At a training accuracy of 0.15 or less, a
    run has diverged."""

    def write_run(writer, trial_id, run):
        for epoch, (train, test) in enumerate(run.epochs, 1):
            row = epoch_row(epoch, train_accuracy=train) | {"test_accuracy": test}
            if train <= 0.15:
                row |= {"train_loss": 60.0, "diverged": True, "above_since": 2}
            writer.epoch(trial_id, EpochRow.of(row), False)
        error = "out of memory" if run.stop_reason == "error" else ""
        writer.end(trial_id, run.stop_reason, error)

    def make(*runs):
        ids = [f"{i:05d}" for i in range(len(runs))]
        configs = [run.config.to_dict() for run in runs]
        meta = {"name": "notebook", "dataset": recorded_data("mnist"), "ended": None}
        meta["trials"] = dict(zip(ids, configs, strict=True))
        count = len(list(tmp_path.iterdir()))
        writer = SweepWriter(tmp_path / f"sweep{count}", meta, judge)
        for trial_id, run in zip(ids, runs, strict=True):
            write_run(writer, trial_id, run)
        return writer.finish(ended="now")

    return make


def runs_of(name, *outcomes, epochs=None):
    """Return a run of an experiment per outcome. An outcome is `<regime>` or `<regime>
    <stop reason>`."""
    configs = experiments()[name].trials(epochs, range(1, 30))[: len(outcomes)]
    runs = []
    for config, outcome in zip(configs, outcomes, strict=True):
        regime, _, reason = outcome.partition(" ")
        course = OUTCOMES[regime][: config.epochs] if regime else []
        if not reason:
            reason = "diverged" if regime == "diverged" else "completed"
        runs.append(Run(config, with_test(course), reason))
    return runs


def verdict(sweep):
    [comparison] = compare_all(sweep)
    return comparison.verdict, comparison.reason


def printed(name, shift=0.0):
    """Return a run of an experiment that has the notebook's numbers, all shifted."""
    table = section(name)[["train_accuracy", "test_accuracy"]] + shift
    # not printed for all
    table["train_accuracy"] = table["train_accuracy"].fillna(table["test_accuracy"])
    epochs = list(table.itertuples(index=False, name=None))
    return Run(experiments()[name].trials()[0], epochs)


def shifted(epochs, shift):
    return [(train + shift, test + shift) for train, test in epochs]


def off_by_bands():
    """Yield sweeps whose runs are off by a share of the band of their experiment."""
    calm = [name for name in experiments() if name not in CHAOTIC]
    last_seed = experiments()["convnet"].trials()[-1]
    lost = Run(last_seed, with_test(LOST), "diverged")
    for share in (0, -0.9, 1.2):
        runs = []
        for name in calm:
            band = experiments()[name].band or EXACT
            runs.append(printed(name, share * band))
        title = f"off by {share:g} bands, and another seed was lost"
        yield title, [*runs, lost]


def off_in_part():
    """Yield sweeps whose runs are off in some epochs."""
    run = printed("convnet")
    figures = run.epochs
    off = shifted(figures, -0.01)
    at_the_end = replace(run, epochs=[*off[:-1], figures[-1]])
    slow = printed("slow", -0.001)
    two_epochs = replace(slow.config, epochs=2)
    cut = replace(slow, config=two_epochs, epochs=slow.epochs[:2])
    yield "off until the end, cut after two epochs", [at_the_end, cut]

    all_but_the_end = replace(run, epochs=[*figures[:-1], off[-1]])
    in_training = [(train, test + 0.001) for train, test in slow.epochs]
    of_training = replace(slow, epochs=in_training)
    yield "off at the end, in training alone", [all_but_the_end, of_training]

    wild = []
    for i, (train, test) in enumerate(figures[:-1]):
        fall = 0.1 * (i % 2)
        wild.append((train - fall, test - fall))
    to_and_fro = replace(run, epochs=[*wild, figures[-1]])
    yield "of another regime, chaotic", [to_and_fro, printed("oscillates")]

    failed = replace(run, epochs=[], stop_reason="error")
    last_seed = experiments()["convnet"].trials()[-1]
    of_another_seed = Run(last_seed, with_test(CALM))
    not_begun = runs_of("oscillates", " error", " interrupted")
    title = "another seed alone, none has begun"
    yield title, [failed, of_another_seed, *not_begun]


def with_outcomes():
    """Yield sweeps of the experiments that are chaotic, with outcomes of their runs."""
    some = ["diverged", "diverged", "oscillating", "oscillating", "converged"]
    oscillates = runs_of("oscillates", *some)
    yield "some, the own", oscillates + runs_of("diverges", "diverged")

    oscillates = runs_of("oscillates", *["converged"] * 21)
    yield "none", oscillates + runs_of("diverges", *["converged"] * 6)
    yield "none of too few", runs_of("oscillates", *["diverged"] * 20)

    cuts = ("interrupted", "time_budget", "error")
    diverged_cut = [f"diverged {cut}" for cut in cuts]
    diverges = runs_of("diverges", *diverged_cut, *["converged"] * 3)
    oscillating_cut = [f"oscillating {cut}" for cut in cuts]
    oscillates = runs_of("oscillates", *oscillating_cut, "oscillating")
    yield "three were cut", diverges + oscillates

    for further in (0, 1):
        epochs = {"oscillates": 4 + further, "diverges": 2 + further}
        runs = []
        for name, count in epochs.items():
            regime, _ = shown_regime(name)
            runs += runs_of(name, regime, regime, epochs=count)
        yield f"asked for {epochs}", runs


@pytest.mark.slow
def test_verdicts(new_sweep):
    lines = []
    for title, runs in [*off_by_bands(), *off_in_part(), *with_outcomes()]:
        lines.append(f"{title}:")
        for comparison in compare_all(new_sweep(*runs)):
            name = comparison.experiment.name
            lines.append(f"  {name}: {comparison.verdict}; {comparison.reason}")
    assert_kept("notebook verdicts", "\n".join(lines) + "\n")


LEVELLED = with_test(
    numbers("0.85 0.90 0.899 0.901 0.900 0.9015 0.9012 0.9017 0.9018 0.9018")
)


def test_other_experiments_of_the_sweep_do_not_matter(new_sweep):
    """In the sweep's table, a levelled-off curve is not underfit if a sibling reached
    the target."""
    runs = [Run(config, LEVELLED) for config in experiments()["oscillates"].trials()]
    sibling = Run(experiments()["converges"].trials()[0], with_test(CALM))
    alone = new_sweep(*runs)
    assert (alone.trials["regime"] == "underfit").all()
    beside = new_sweep(sibling, *runs)
    assert (beside.trials["regime"][1:] != "underfit").all()
    reason = "0 of 21 oscillating, 21 underfit; the notebook's outcome: oscillating"
    assert verdict(alone) == ("differs", reason)
    comparison = compare_all(beside)[1]
    assert comparison.verdict == "differs"
    assert comparison.reason == reason


# --- what is printed and drawn


def test_what_is_printed_and_drawn(new_sweep, as_text, capsys, tmp_path):
    short = []
    for name in ("convnet", "slow", "oscillates"):
        run = printed(name)
        short.append(replace(run, epochs=run.epochs[:3]))
    seeds = runs_of("oscillates", "converged", "oscillating", "diverged")[1:]
    apart = []
    for name in ("stax_mlp", "overfit"):
        apart.append(replace(printed(name), epochs=[(0.9, 0.8), (0.91, 0.7)]))
    comparisons = compare_all(new_sweep(*short, *seeds, *apart))
    print_comparisons(comparisons)
    picture = tmp_path / "notebook.png"
    plot_notebook(comparisons, picture)
    text = capsys.readouterr().out + picture.read_text()
    assert_kept("notebook", f"{text}\n")
