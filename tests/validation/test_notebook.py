"""The verdicts on the notebook's experiments, with made-up sweeps."""

from dataclasses import replace
from itertools import chain, groupby

import pytest
from kept_texts import assert_kept
from recorded_data import recorded_data

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


def said(trials):
    """Each trial in words, those that differ in their seeds only together."""
    same = groupby(trials, lambda trial: replace(trial, seed=0, data_seed=0))
    for trial, group in same:
        seeds = [
            f"{one.seed}"
            if one.seed == one.data_seed
            else f"{one.seed}/{one.data_seed}"
            for one in group
        ]
        changed = {
            name: value
            for name, value in trial.to_dict().items()
            if value != PLAIN[name]
        }
        yield f"  {changed}, seeds {' '.join(seeds)}"


def test_what_is_run():
    lines = []
    for name, one in experiments().items():
        shows = "shows {} from epoch {} on".format(*shown_regime(name))
        lines.append(f"{name}: chaotic {one.chaotic}, band {one.band:g}, {shows}")
    for flags in ({}, {"epochs": 11, "seeds": (0, 1, 7)}):
        lines += ["", f"asked for {flags}:", *said(Notebook(**flags).trials())]
    assert_kept("notebook experiments", "\n".join(lines) + "\n")


# --- how it is judged


@pytest.fixture
def new_sweep(tmp_path, epoch_row):
    """A function that makes a sweep from runs, each given as its config, its epochs and
    its stop reason.

    An epoch is a training accuracy, or a pair of training and test accuracy. At 0.15 or
    less the run has diverged.
    """

    def make(*runs):
        meta = {
            "trials": {
                f"{i:05d}": config.to_dict() for i, (config, *_) in enumerate(runs)
            }
        }
        meta |= {"name": "notebook", "dataset": recorded_data("mnist"), "ended": None}
        writer = SweepWriter(
            tmp_path / f"sweep{len(list(tmp_path.iterdir()))}", meta, judge
        )
        for i, (_, epochs, reason) in enumerate(runs):
            for epoch, accuracy in enumerate(epochs, 1):
                train, test = (
                    accuracy
                    if isinstance(accuracy, tuple)
                    else (accuracy, accuracy - 0.01)
                )
                lost = (
                    {"train_loss": 60.0, "diverged": True, "above_since": 2}
                    if train <= 0.15
                    else {}
                )
                writer.epoch(
                    f"{i:05d}",
                    EpochRow.of(
                        epoch_row(epoch, train_accuracy=train)
                        | {"test_accuracy": test}
                        | lost
                    ),
                    False,
                )
            writer.end(f"{i:05d}", reason, "out of memory" if reason == "error" else "")
        return writer.finish(ended="now")

    return make


def runs_of(name, *outcomes, epochs=None):
    """Return a run of an experiment per outcome. An outcome is `<regime>` or `<regime>
    <stop reason>`."""
    configs = experiments()[name].trials(epochs, range(1, 30))[: len(outcomes)]
    found = []
    for config, told in zip(configs, outcomes, strict=True):
        regime, _, reason = told.partition(" ")
        curve = OUTCOMES[regime][: config.epochs] if regime else []
        found.append(
            (
                config,
                curve,
                reason or ("diverged" if regime == "diverged" else "completed"),
            )
        )
    return found


def verdict(sweep):
    (found,) = compare_all(sweep)
    return found.verdict, found.reason


def printed(name, shift=0.0):
    """Return the notebook's numbers of an experiment, all shifted, as epochs of a
    run."""
    table = section(name)[["train_accuracy", "test_accuracy"]] + shift
    # not printed for all
    table["train_accuracy"] = table["train_accuracy"].fillna(table["test_accuracy"])
    return list(table.itertuples(index=False, name=None))


def printed_run(name, shift=0.0):
    return experiments()[name].trials()[0], printed(name, shift), "completed"


def judged():
    """The runs of sweeps, by what they are."""
    bands = {
        name: experiments()[name].band or EXACT
        for name in experiments()
        if name not in CHAOTIC
    }
    seed = experiments()["convnet"].trials()[-1]
    for share in (0, -0.9, 1.2):
        own = [printed_run(name, share * band) for name, band in bands.items()]
        yield (
            f"off by {share:g} bands, and another seed was lost",
            [*own, (seed, LOST, "diverged")],
        )
    run, figures, reason = printed_run("convnet")
    off = [(train - 0.01, test - 0.01) for train, test in figures]
    wild = [
        (train - 0.1 * (i % 2), test - 0.1 * (i % 2))
        for i, (train, test) in enumerate(figures[:-1])
    ]
    slow, slowly, _ = printed_run("slow", -0.001)
    ends, begins, other = (
        [*off[:-1], figures[-1]],
        [*figures[:-1], off[-1]],
        [*wild, figures[-1]],
    )
    cut = (replace(slow, epochs=2), slowly[:2], reason)
    trained = (slow, [(train, test + 0.001) for train, test in slowly], reason)
    yield "off until the end, cut after two epochs", [(run, ends, reason), cut]
    yield "off at the end, in training alone", [(run, begins, reason), trained]
    yield (
        "of another regime, chaotic",
        [(run, other, reason), printed_run("oscillates")],
    )
    none = runs_of("oscillates", " error", " interrupted")
    yield (
        "another seed alone, none has begun",
        [(run, [], "error"), (seed, CALM, "completed"), *none],
    )
    some = ["diverged", "diverged", "oscillating", "oscillating", "converged"]
    yield (
        "some, the own",
        runs_of("oscillates", *some) + runs_of("diverges", "diverged"),
    )
    yield (
        "none",
        runs_of("oscillates", *["converged"] * 21)
        + runs_of("diverges", *["converged"] * 6),
    )
    yield "none of too few", runs_of("oscillates", *["diverged"] * 20)
    cuts = ("interrupted", "time_budget", "error")
    none = runs_of("diverges", *[f"diverged {cut}" for cut in cuts], *["converged"] * 3)
    yield (
        "three were cut",
        none
        + runs_of("oscillates", *[f"oscillating {cut}" for cut in cuts], "oscillating"),
    )
    for more in (0, 1):
        asked = {"oscillates": 4 + more, "diverges": 2 + more}
        runs = (
            runs_of(name, *[shown_regime(name)[0]] * 2, epochs=epochs)
            for name, epochs in asked.items()
        )
        yield f"asked for {asked}", [*chain(*runs)]


@pytest.mark.slow
def test_verdicts(new_sweep):
    lines = []
    for what, runs in judged():
        lines.append(f"{what}:")
        lines += [
            f"  {one.experiment.name}: {one.verdict}; {one.reason}"
            for one in compare_all(new_sweep(*runs))
        ]
    assert_kept("notebook verdicts", "\n".join(lines) + "\n")


def test_other_experiments_of_the_sweep_do_not_matter(new_sweep):
    """In the sweep's table, a levelled-off curve is not underfit if a sibling reached
    the target."""
    levelled = [0.85, 0.90, 0.899, 0.901, 0.900, 0.9015, 0.9012, 0.9017, 0.9018, 0.9018]
    runs = [
        (config, levelled, "completed")
        for config in experiments()["oscillates"].trials()
    ]
    sibling = (experiments()["converges"].trials()[0], CALM, "completed")
    alone, beside = new_sweep(*runs), new_sweep(sibling, *runs)
    assert (alone.trials["regime"] == "underfit").all()
    assert (beside.trials["regime"][1:] != "underfit").all()
    differs = (
        "differs",
        "0 of 21 oscillating, 21 underfit; the notebook's outcome: oscillating",
    )
    assert verdict(alone) == differs
    assert (compare_all(beside)[1].verdict, compare_all(beside)[1].reason) == differs


# --- what is printed and drawn


def test_what_is_printed_and_drawn(new_sweep, as_text, capsys, tmp_path):
    others = runs_of("oscillates", "converged", "oscillating", "diverged")[1:]
    own = [
        (run, figures[:3], reason)
        for run, figures, reason in map(printed_run, ("convnet", "slow", "oscillates"))
    ]
    apart = [
        (run, [(0.9, 0.8), (0.91, 0.7)], reason)
        for run, _, reason in map(printed_run, ("stax_mlp", "overfit"))
    ]
    found = compare_all(new_sweep(*own, *others, *apart))
    print_comparisons(found)
    plot_notebook(found, tmp_path / "notebook.png")
    text = capsys.readouterr().out + (tmp_path / "notebook.png").read_text()
    assert_kept("notebook", f"{text}\n")
