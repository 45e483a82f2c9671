"""What is true of a sweep beside its answer: what restricts it, what has not ended,
what was trained, how that ran."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pandas as pd

from mnist_tune.answers.answer import EdgeAnswer
from mnist_tune.answers.progress import Progress, progress
from mnist_tune.data.last_batch import small_last_batch
from mnist_tune.judged import Judged
from mnist_tune.numbers import counted, listed, rate, spoken
from mnist_tune.regimes import limits
from mnist_tune.regimes.edge_posterior import LEAST_OUTCOMES
from mnist_tune.regimes.families import FAMILY, SIBLINGS, has, held_out, setting, varied
from mnist_tune.regimes.labels import level_losses
from mnist_tune.regimes.measured_edge import (
    CALM,
    DIVERGED,
    LEARNED,
    LEARNED_SHARE,
    PILOT,
    Interval,
    MeasuredEdge,
)
from mnist_tune.regimes.running_statistics import lagging
from mnist_tune.reports.decided import on_other_images
from mnist_tune.reports.questions import Question
from mnist_tune.results.sweep_meta import SweepMeta
from mnist_tune.trial import LIVE_REASONS, TrialConfig

SHARES = (0.9, 0.5, 0.1)
"""The shares of seeds whose rates are reported."""

FAILURES = 10
"""The most errors that are said. If more trials failed, their errors are mostly the
same."""

WORK = {
    "train_s": "training",
    "eval_s": "evaluating",
    "compile_s": "compiling",
    "wait_s": "waiting",
}

SPLITS = {"validation": "held-out", "test": "test", "train": "training"}
"""The examples of a split in words; trials are compared on one of the first two."""


def so_far(now: Progress) -> str:
    """Return how far a running sweep is, as `12 of 16 trials ended, 2 running, 2
    waiting`; empty if it has ended."""
    if not now.live:
        return ""
    live = f"{now.running} running, {now.waiting} waiting"
    if now.unknown:
        live = f"{now.unknown} unknown"
    return f"{now.trials - now.live} of {now.trials} trials ended, {live}"


def time_left(sweep: Judged) -> str:
    """Return about how long a running sweep still takes, to follow its progress; empty
    if too little is known."""
    ended, live = (
        sweep.epochs["ended_at"].astype(float),
        sweep.trials[sweep.trials["stop_reason"].isin(LIVE_REASONS)],
    )
    # before it, nobody may have trained
    for last in sweep.record.resumed[-1:]:
        ended = ended[ended > datetime.fromisoformat(last).timestamp()]
    span = ended.max() - ended.min() if len(ended) > 1 else 0
    left = float((live["epochs_asked"] - live["epochs_run"]).clip(lower=0).sum())
    return f", about {spoken(left * span / (len(ended) - 1))} left" if span > 0 else ""


def edges_in_words(found: EdgeAnswer) -> list[tuple[str, list[str]]]:
    """Return what was measured of each edge, and how edges of several widths follow
    from these: a title, and lines."""
    lines = [(edge.title, measured(edge)) for edge in found.edges]
    for law in found.laws:
        lines.append((law.title, [f"the rate at which 50% learn {law}"]))
    return lines


def measured(edge: MeasuredEdge) -> list[str]:
    """Return what was measured of an edge, with its neighbours and its cost, as
    lines."""
    if not edge.is_bracketed:
        return [_unbracketed(edge)]
    shares = "; ".join(f"{share:.0%} at {edge.rate(share)}" for share in SHARES)
    calm = _half(edge.calm, edge.outcomes[CALM], "half stay calm up to", "stayed calm")
    diverged = _half(
        edge.diverges, edge.outcomes[DIVERGED], "half diverge from", "diverged"
    )
    half_width = math.expm1(edge.rate(0.5).half_width)
    asked = f"{100 * edge.precision:.3g}%"
    why = f"precise to {asked}" if edge.is_precise else f"precision {asked} not reached"
    if edge.is_precise:
        half_width = min(half_width, edge.precision)  # as it was when the search ended
    elif half_width <= edge.precision:
        why = f"fewer than {LEAST_OUTCOMES} trials may look more precise than they are"
    slow = f" ({edge.too_slow} at rates that are too slow)" * bool(edge.too_slow)
    cost = f"{counted(edge.trials)}{slow}, half-width {half_width:.1%}: {why}"
    lines = [
        f"seeds that learn, by learning rate: {shares}",
        f"{calm}; {diverged}",
        cost,
    ]
    if edge.learned and edge.learned.share != LEARNED_SHARE:
        share = f"{edge.learned.share:.0%} of a guess's or the untrained one"
        lines.append(
            f"half was out of reach of the pilot, so learned is a final training loss below {share}"
        )
    return lines


def _unbracketed(edge: MeasuredEdge) -> str:
    """Return why there is no interval: too few trials learned, or all did, or the
    search has only begun."""
    trials = edge.outcomes
    count, rates = counted(len(trials)), trials["learning_rate"]
    if trials[LEARNED].nunique() == 2:
        why = f"less than half learned at {rate(rates.min())}, and smaller rates may be too slow; try more --epochs"
    elif trials[LEARNED].any():
        why = f"all of {count} at rates {rate(rates.min())} to {rate(rates.max())} learned; try a larger --expected"
    elif len(trials) < len(PILOT):
        why = f"fewer than the {len(PILOT)} trials that say what counts as learned"
    elif trials[DIVERGED].all():
        why = f"all of {count} diverged, also at {rate(rates.min())}; try a smaller --expected"
    elif math.isnan(most := trials["train_accuracy"].max()):
        why = f"none of {count} learned; try more --epochs"
    else:
        best = f"the most accurate, at rate {rate(rates[trials['train_accuracy'].idxmax()])}, reached {most:.4f}"
        why = f"none of {count} learned; {best}; try more --epochs, or --learned"
    return f"no edge so far: {why}"


def _half(interval: Interval, holds: pd.Series, half: str, did: str) -> str:
    """Return where half of the trials do something, or that all did, or none."""
    if not math.isnan(interval.median):
        return f"{half} {interval}"
    return f"{'all trials' if holds.all() else 'no trial'} {did}"


def notes(sweep: Judged) -> Iterator[str]:
    """Yield what restricts the answer."""
    data, trials = sweep.record.data, sweep.trials
    # there regimes are beside the point
    labelled = sweep.decision is None and not sweep.edges()
    targets = [
        data.with_wrong_labels(count).target for count in trials["label_noise"].unique()
    ]
    if (
        labelled
        and data.by_accuracy
        and (trials["epochs_run"] > 0).any()
        and None in targets
    ):
        less = f"less {limits.NEAR_BEST * (1 - data.chance):.2g}"
        less += ", or less three times its noise if that is more; see --target"
        target = f"; each network's is the accuracy of its best trial (median of three epochs), {less}"
        if trials["target"].isna().all():
            ended = trials[
                trials["epochs_run"].ge(trials["epochs_asked"])
                & trials["regime"].ne("overfit")
            ]
            accuracy = ended["train_accuracy"].fillna(
                ended[f"{held_out(trials)}_accuracy"]
            )
            why = "no trial has learned enough to set one;"
            longer = "epochs" if sweep.record.is_elsewhere else "--epochs"
            if (data.learned(accuracy) >= limits.LEARNED).any():
                why = f"the best trial, which would set one, has not levelled off; try more {longer}, or"
            target = f", and {why} see --target"
        yield f"no target is known for this data{' with wrong labels' * (data.target is not None)}{target}"
    if data.ranking.is_loss and data.own_steps:
        yield "each step is the task's own, so this loss may say nothing of how good a setting is; see --rank-by"
    elif labelled and not data.by_accuracy and data.target is None:
        yield "no loss to reach is known, so trials that learn nearly as much as the best converge; see --target-loss"
    if len(sweep.unlearned):
        which = "no trial"
        if len(sweep.unlearned) < len(sweep.steady):
            which = f"no trial of {listed(_siblings(sweep.unlearned, sweep.steady))}"
        yield f"{which} has learned more than noise, so the best of them may be so by chance"
    if (
        not data.by_accuracy
        and data.ranking.is_loss
        and trials["test_accuracy"].notna().any()
    ):
        yield "labels and the best follow the loss; with a chance in its Task, they follow its accuracy"
    if labelled:
        yield from _unknown_guess(sweep)
    yield from _lagging_statistics(sweep)
    if changed := len(trials) - len(sweep.steady):
        said = f"{counted(changed)} changed settings while training"
        yield f"{said}, so that no setting has their regime or accuracy; tables and pictures show the last one"
    swept = sweep.record.swept_images
    if swept is not None and len(trials):
        yield from filter(
            None,
            [
                on_other_images(
                    swept, data.train_images - int(trials["holdout"].iloc[0])
                )
            ],
        )
    if sweep.record.dataset["note"]:
        yield sweep.record.dataset["note"]


def _siblings(some: pd.DataFrame, trials: pd.DataFrame) -> list[str]:
    """Return what siblings are called: their network or task, with the settings that
    set them apart from others."""
    names = ["architecture", *(name for name in SIBLINGS[1:] if name in varied(trials))]
    rows = some[names].drop_duplicates().to_dict("records")
    return [
        ", ".join(filter(None, (setting(name, row[name]) for name in names)))
        for row in rows
    ]


def _unknown_guess(sweep: Judged) -> Iterator[str]:
    """Yield at which rate a task seems to guess, if it does not say what a guess's loss
    is: with it, such trials are known to have diverged."""
    trials = sweep.steady
    is_open = trials["regime"].isin(["undecided", "oscillating"]).to_numpy(bool)
    if not is_open.any():
        return
    losses = level_losses(trials, sweep.epochs, sweep.record.data)
    levels = trials.assign(level=losses)[np.isfinite(losses) & is_open]
    if levels.empty:
        return
    row = levels.sort_values("learning_rate", kind="stable").iloc[0]
    loss = f"{row['level']:.4g}"
    where = f"rate {rate(row['learning_rate'])} stays at {loss}"
    yield f"{where}; if that is a constant guess's loss, give guess={loss} in the Task"


def _lagging_statistics(sweep: Judged) -> Iterator[str]:
    """Yield how many trials are evaluated as worse than they are, and at which
    rates."""
    lags = lagging(sweep.trials, sweep.epochs, sweep.record.data)
    if not lags.any():
        return
    rates = sweep.trials["learning_rate"][lags]
    low, high = rate(rates.min()), rate(rates.max())
    where = f"learning rate {low}" if low == high else f"learning rates {low} to {high}"
    above = f"in {lags.sum()} of {counted(len(lags))} ({where}) the evaluated training loss is above that of every batch"
    lag = "if the network has batch norm, its running statistics lag, and its accuracies are too low"
    yield f"{above}: {lag}; give it a smaller momentum, such as 0.9"


def failures(trials: pd.DataFrame, every: bool = False) -> list[str]:
    """Return why trials failed: why some did, and how many more, or why `every` one
    did."""
    failed = trials[trials["stop_reason"] == "error"]
    each = zip(
        failed["trial_id"], failed["learning_rate"], failed["error"], strict=True
    )
    said = [
        f"trial {name} (learning rate {rate(own)}) failed: {error}"
        for name, own, error in each
    ]
    more = len(said) - FAILURES
    return (
        said
        if every or more <= 0
        else [*said[:FAILURES], f"... and {more} more failed; see trials.error"]
    )


def repeated(sweep: Judged) -> Iterator[Question]:
    """Yield the command that repeats a sweep, if its folder records one."""
    # `sys.argv` lacks the interpreter
    typed = list(sweep.record.typed)
    if typed and not sweep.record.is_elsewhere:
        interpreter = ["python"] if typed[0].endswith(".py") else []
        said = shlex.join(interpreter + typed)
        yield Question("to repeat this sweep, as its folder records it:", said)


def title(sweep: Judged) -> str:
    """Return what a sweep trained, and on which data."""
    return _networks(sweep.trials) + f" on {sweep.record.dataset['name']}" * (
        sweep.record.data.flag != "task"
    )


def facts(sweep: Judged) -> dict[str, str]:
    """Return what was trained, on what, where and when, by names."""
    record, trials, data = sweep.record, sweep.trials, sweep.record.data
    if record.is_elsewhere:
        return _facts_elsewhere(sweep)
    environment, tokens = (
        record.environment,
        f" of {data.positions} tokens" * (data.positions > 1),
    )
    examples = (
        f"{data.train_images:,} training and {data.test_images:,} test examples{tokens}"
    )
    versions = environment.get("versions", {})
    processor = environment.get("processor", "")
    cores = f", {environment['cpus']} cores" if environment.get("cpus") else ""
    devices = ", ".join(sorted(trials["device"].dropna().astype(str).unique()))
    least, most = trials["epochs_run"].min(), trials["epochs_run"].max()
    kinds = (
        trials[["holdout", "batch_size", "drop_last"]]
        .drop_duplicates()
        .itertuples(index=False)
    )
    found = {
        "networks": _networks(trials),
        "all with": _settings(trials, data.flag == "task"),
        "data": f"{record.dataset['name']} ({examples})",
        "last batch": small_last_batch(
            (data.train_images - held, size, dropped) for held, size, dropped in kinds
        ),
        "trials": f"{counted(len(trials))} of {f'{least} to ' * bool(least < most)}{counted(most, 'epoch')}",
        "trained on": devices
        + (f" ({processor}{cores})" if processor and processor != devices else ""),
        "time": _duration(record),
        "versions": ", ".join(
            f"{name} {versions[name]}"
            for name in ("jax", "ray", "python")
            if versions.get(name)
        ),
        "revision": str(environment.get("git_revision") or ""),
        "results": str(sweep.path),
    }
    return {name: text for name, text in found.items() if text}


def _facts_elsewhere(sweep: Judged) -> dict[str, str]:
    """Return what a table of curves says of its runs: not what was trained, on what."""
    trials = sweep.trials
    least, most = trials["epochs_run"].min(), trials["epochs_run"].max()
    reports = counted(most, "report")
    if least < most:
        reports = f"{least} to {reports}"
    return {
        "trained": f"elsewhere: {_networks(trials)}",
        "trials": f"{counted(len(trials))} of {reports}",
        "curves": str(sweep.path),
    }


def _settings(trials: pd.DataFrame, is_task: bool) -> str:
    """Return the settings that all trials share, those that are as usual left out. A
    task has a loss of its own."""
    same = {
        name: trials[name].iloc[0]
        for name in FAMILY
        if name in trials and trials[name].nunique() == 1
    }
    usual = vars(TrialConfig(holdout=0))
    sgd = all(
        has({"optimizer": one}, "momentum") for one in trials["optimizer"].unique()
    )
    always = ("optimizer", "batch_size", *["momentum"] * sgd, *["loss"] * (not is_task))
    shown = {
        name: value
        for name, value in same.items()
        if name in always or value != usual[name]
    }
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in shown.items()
        if name != "architecture"
    )


def _networks(trials: pd.DataFrame) -> str:
    names = sorted(trials["architecture"].unique())
    return ", ".join(names[:4]) + f" and {len(names) - 4} more" * (len(names) > 4)


def _duration(record: SweepMeta) -> str:
    try:
        start = datetime.fromisoformat(record.started or "")
        # in between, nobody may have trained
        if record.ended is None or record.resumed:
            return f"started {start:%Y-%m-%d %H:%M} UTC"
        seconds = (datetime.fromisoformat(record.ended) - start).total_seconds()
    # older sweeps, and those of tests, have no times
    except (ValueError, TypeError):
        return ""
    return f"{spoken(seconds)}, started {start:%Y-%m-%d %H:%M} UTC"


def ran(sweep: Judged) -> dict[str, str]:
    """Return where the time went, how many trials trained together, and how often the
    sweep was resumed, by names."""
    trials, resumed = sweep.trials, sweep.record.resumed
    reasons = (
        f"{count:,} {reason}"
        for reason, count in trials["stop_reason"].value_counts().items()
    )
    said = {
        "trials so far" if progress(trials).live else "trials ended": ", ".join(reasons)
    }
    spent = {
        name: float(np.nansum(trials[column].astype(float)))
        for column, name in WORK.items()
    }
    if total := sum(spent.values()):
        parts = (
            f"{name} {spoken(seconds)} ({seconds / total:.0%})"
            for name, seconds in spent.items()
        )
        said["time of all trials"] = ", ".join(parts)
    if ((lanes := sweep.epochs["lanes"].astype(float)) > 1).any():
        said["lanes that trained together"] = (
            f"{lanes.mean():.1f} on average, at most {lanes.max():.0f}"
        )
    said["resumed"] = (
        f"{counted(len(resumed), 'time')}, last {resumed[-1][:16]}"
        if resumed
        else "never"
    )
    return said
