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
from mnist_tune.regimes.families import (
    FAMILY,
    SIBLINGS,
    has,
    held_out,
    setting,
    varied,
    whole_course,
)
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
from mnist_tune.trial import LIVE_REASONS, OUT_OF_PATIENCE, STARTED_AGAIN, TrialConfig

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
    ended = sweep.epochs["ended_at"].astype(float)
    if sweep.record.resumed:  # before it, nobody may have trained
        resumed = datetime.fromisoformat(sweep.record.resumed[-1]).timestamp()
        ended = ended[ended > resumed]
    if len(ended) < 2 or not ended.max() > ended.min():
        return ""
    live = sweep.trials[sweep.trials["stop_reason"].isin(LIVE_REASONS)]
    epochs = float((live["epochs_asked"] - live["epochs_run"]).clip(lower=0).sum())
    span = ended.max() - ended.min()
    seconds = epochs * span / (len(ended) - 1)
    return f", about {spoken(seconds)} left"


def edges_in_words(answer: EdgeAnswer) -> list[tuple[str, list[str]]]:
    """Return what was measured of each edge, and how edges of several widths follow
    from these: a title, and lines."""
    lines = [(edge.title, measured(edge)) for edge in answer.edges]
    for law in answer.laws:
        lines.append((law.title, [f"the rate at which 50% learn {law}"]))
    return lines


def measured(edge: MeasuredEdge) -> list[str]:
    """Return what was measured of an edge, with its neighbours and its cost, as
    lines."""
    if not edge.is_bracketed:
        return [_unbracketed(edge)]
    shares = [f"{share:.0%} at {edge.rate(share)}" for share in SHARES]
    is_calm, has_diverged = edge.outcomes[CALM], edge.outcomes[DIVERGED]
    calm = _half(edge.calm, is_calm, "half stay calm up to", "stayed calm")
    diverged = _half(edge.diverges, has_diverged, "half diverge from", "diverged")
    lines = [
        f"seeds that learn, by learning rate: {'; '.join(shares)}",
        f"{calm}; {diverged}",
        _cost(edge),
    ]
    if edge.learned and edge.learned.share != LEARNED_SHARE:
        pilot = "half was out of reach of the pilot"
        below = f"{edge.learned.share:.0%} of a guess's or the untrained one"
        lines.append(f"{pilot}, so learned is a final training loss below {below}")
    return lines


def _cost(edge: MeasuredEdge) -> str:
    """Return how many trials an edge took, and how precise it is."""
    half_width = math.expm1(edge.rate(0.5).half_width)
    precision = f"{100 * edge.precision:.3g}%"
    why = f"precision {precision} not reached"
    if edge.is_precise:
        why = f"precise to {precision}"
        half_width = min(half_width, edge.precision)  # as it was when the search ended
    elif half_width <= edge.precision:
        why = f"fewer than {LEAST_OUTCOMES} trials may look more precise than they are"
    trials = counted(edge.trials)
    if edge.too_slow:
        trials += f" ({edge.too_slow} at rates that are too slow)"
    return f"{trials}, half-width {half_width:.1%}: {why}"


def _unbracketed(edge: MeasuredEdge) -> str:
    """Return why there is no interval: too few trials learned, or all did, or the
    search has only begun."""
    trials = edge.outcomes
    count = counted(len(trials))
    rates = trials["learning_rate"]
    least, most = rate(rates.min()), rate(rates.max())
    accuracies = trials["train_accuracy"]
    if trials[LEARNED].nunique() == 2:
        slow = "and smaller rates may be too slow"
        why = f"less than half learned at {least}, {slow}; try more --epochs"
    elif trials[LEARNED].any():
        learned = f"all of {count} at rates {least} to {most} learned"
        why = f"{learned}; try a larger --expected"
    elif len(trials) < len(PILOT):
        why = f"fewer than the {len(PILOT)} trials that say what counts as learned"
    elif trials[DIVERGED].all():
        diverged = f"all of {count} diverged, also at {least}"
        why = f"{diverged}; try a smaller --expected"
    elif accuracies.isna().all():
        why = f"none of {count} learned; try more --epochs"
    else:
        where = f"rate {rate(rates[accuracies.idxmax()])}"
        best = f"the most accurate, at {where}, reached {accuracies.max():.4f}"
        why = f"none of {count} learned; {best}; try more --epochs, or --learned"
    return f"no edge so far: {why}"


def _half(interval: Interval, holds: pd.Series, half: str, did: str) -> str:
    """Return where half of the trials do something, or that all did, or none."""
    if not math.isnan(interval.median):
        return f"{half} {interval}"
    if holds.all():
        return f"all trials {did}"
    return f"no trial {did}"


def notes(sweep: Judged) -> Iterator[str]:
    """Yield what restricts the answer."""
    data, trials = sweep.record.data, sweep.trials
    # there regimes are beside the point
    labelled = sweep.decision is None and not sweep.edges()
    has_begun = (trials["epochs_run"] > 0).any()
    if labelled and data.by_accuracy and has_begun:
        wrong_labels = trials["label_noise"].unique()
        targets = [data.with_wrong_labels(count).target for count in wrong_labels]
        if None in targets:
            yield _unknown_target(sweep)
    if data.ranking.is_loss and data.own_steps:
        step = "each step is the task's own"
        yield f"{step}, so this loss may say nothing of how good a setting is; see --rank-by"
    elif labelled and not data.by_accuracy and data.target is None:
        converge = "trials that learn nearly as much as the best converge"
        yield f"no loss to reach is known, so {converge}; see --target-loss"
    if len(sweep.unlearned):
        which = "no trial"
        if len(sweep.unlearned) < len(sweep.steady):
            which = f"no trial of {listed(_siblings(sweep.unlearned, sweep.steady))}"
        chance = "so the best of them may be so by chance"
        yield f"{which} has learned more than noise, {chance}"
    follow_loss = not data.by_accuracy and data.ranking.is_loss
    if follow_loss and trials["test_accuracy"].notna().any():
        kind = data.flag.capitalize()
        with_chance = f"with a chance in its {kind}, they follow its accuracy"
        yield f"labels and the best follow the loss; {with_chance}"
    if labelled:
        yield from _unknown_guess(sweep)
    yield from _alike_scores(sweep)
    yield from _lagging_statistics(sweep)
    if sweep.record.options.get(STARTED_AGAIN):
        yield "a resumed trial whose state had not been saved began again with epoch 1"
    ended = int(trials["stop_reason"].eq(OUT_OF_PATIENCE).sum())
    if ended:
        yield f"{counted(ended)} ended early, as scores rose no more (--patience)"
    changed = len(trials) - len(sweep.steady)
    if changed:
        text = f"{counted(changed)} changed settings while training"
        without = "so that no setting has their regime or accuracy"
        yield f"{text}, {without}; tables and pictures show the last one"
    swept = sweep.record.swept_images
    if swept is not None and len(trials):
        images = data.train_images - int(trials["holdout"].iloc[0])
        differs = on_other_images(swept, images)
        if differs:
            yield differs
    if sweep.record.dataset["note"]:
        yield sweep.record.dataset["note"]


def _unknown_target(sweep: Judged) -> str:
    """Return that no target is known, and what takes its place."""
    data, trials = sweep.record.data, sweep.trials
    text = "no target is known for this data"
    if data.target is not None:
        text += " with wrong labels"
    if trials["target"].isna().all():
        return f"{text}, and {_why_no_trial_sets_one(sweep)} see --target"
    best = "the accuracy of its best trial (median of three epochs)"
    less = f"less {limits.NEAR_BEST * (1 - data.chance):.2g}"
    noise = "or less three times its noise if that is more"
    return f"{text}; each network's is {best}, {less}, {noise}; see --target"


def _why_no_trial_sets_one(sweep: Judged) -> str:
    trials = sweep.trials
    has_ended = trials["epochs_run"].ge(whole_course(trials))
    ended = trials[has_ended & trials["regime"].ne("overfit")]
    judged_by = ended[f"{held_out(trials)}_accuracy"]
    accuracy = ended["train_accuracy"].fillna(judged_by)
    if not (sweep.record.data.learned(accuracy) >= limits.LEARNED).any():
        return "no trial has learned enough to set one;"
    longer = "epochs" if sweep.record.is_elsewhere else "--epochs"
    best = "the best trial, which would set one, has not levelled off"
    return f"{best}; try more {longer}, or"


def _siblings(some: pd.DataFrame, trials: pd.DataFrame) -> list[str]:
    """Return what siblings are called: their network or task, with the settings that
    set them apart from others."""
    differ = varied(trials)
    names = ["architecture"]
    names += [name for name in SIBLINGS[1:] if name in differ]
    rows = some[names].drop_duplicates()
    texts = []
    for row in rows.to_dict("records"):
        settings = [setting(name, row[name]) for name in names]
        texts.append(", ".join(filter(None, settings)))
    return texts


def _unknown_guess(sweep: Judged) -> Iterator[str]:
    """Yield at which rate a task seems to guess, if it does not say what a guess's loss
    is: with it, such trials are known to have diverged."""
    trials = sweep.steady
    is_open = trials["regime"].isin(["undecided", "oscillating"]).to_numpy(bool)
    if not is_open.any():
        return
    losses = level_losses(trials, sweep.epochs, sweep.record.data)
    stays = np.isfinite(losses) & is_open
    levels = trials.assign(level=losses)[stays]
    if levels.empty:
        return
    by_rate = levels.sort_values("learning_rate", kind="stable")
    row = by_rate.iloc[0]
    loss = f"{row['level']:.4g}"
    where = f"rate {rate(row['learning_rate'])} stays at {loss}"
    yield f"{where}; if that is a constant guess's loss, give guess={loss} in the Task"


def _alike_scores(sweep: Judged) -> Iterator[str]:
    """Yield that a task scores training and held-out examples alike: a score that draws
    its examples may not ask which they are."""
    split = held_out(sweep.trials)
    is_ours = sweep.record.data.flag == "task" and not sweep.record.is_elsewhere
    if not is_ours or f"{split}_loss" not in sweep.epochs:
        return
    losses = sweep.epochs[["train_loss", f"{split}_loss"]].astype(float)
    losses = losses[np.isfinite(losses).any(axis=1)]
    # up to the rounding of their sums
    alike = np.isclose(losses.iloc[:, 0], losses.iloc[:, 1], rtol=1e-6, atol=0)
    if losses.empty or not alike.all():
        return
    what = f"training and {SPLITS[split]} examples score the same in all epochs"
    remedy = "a score that draws its examples can ask which they are"
    call = "score(params, state, batch, key, split)"
    yield f"{what}, so overfitting can't show; {remedy}: {call}"


def _lagging_statistics(sweep: Judged) -> Iterator[str]:
    """Yield how many trials are evaluated as worse than they are, and at which
    rates."""
    lags = lagging(sweep.trials, sweep.epochs, sweep.record.data)
    if not lags.any():
        return
    rates = sweep.trials["learning_rate"][lags]
    low, high = rate(rates.min()), rate(rates.max())
    where = f"learning rate {low}"
    if low != high:
        where = f"learning rates {low} to {high}"
    above = f"in {lags.sum()} of {counted(len(lags))} ({where}) the evaluated training loss is above that of every batch"
    lag = "its running statistics lag, and its accuracies are too low"
    remedy = "give it a smaller momentum, such as 0.9"
    yield f"{above}: if the network has batch norm, {lag}; {remedy}"


def failures(trials: pd.DataFrame, every: bool = False) -> list[str]:
    """Return why trials failed: why some did, and how many more, or why `every` one
    did."""
    failed = trials[trials["stop_reason"] == "error"]
    lines = []
    for row in failed.itertuples():
        where = f"learning rate {rate(row.learning_rate)}"
        lines.append(f"trial {row.trial_id} ({where}) failed: {row.error}")
    rest = len(lines) - FAILURES
    if every or rest <= 0:
        return lines
    return [*lines[:FAILURES], f"... and {rest} more failed; see trials.error"]


def repeated(sweep: Judged) -> Iterator[Question]:
    """Yield the command that repeats a sweep, if its folder records one."""
    # `sys.argv` lacks the interpreter
    typed = list(sweep.record.typed)
    if not typed or sweep.record.is_elsewhere:
        return
    if typed[0].endswith(".py"):
        typed = ["python", *typed]
    line = shlex.join(typed)
    yield Question("to repeat this sweep, as its folder records it:", line)


def title(sweep: Judged) -> str:
    """Return what a sweep trained, and on which data."""
    networks = _networks(sweep.trials)
    if not sweep.record.data.of_networks:
        return networks
    return f"{networks} on {sweep.record.dataset['name']}"


def facts(sweep: Judged) -> dict[str, str]:
    """Return what was trained, on what, where and when, by names."""
    record, trials = sweep.record, sweep.trials
    if record.is_elsewhere:
        return _facts_elsewhere(sweep)
    data = record.data
    examples = f"{data.train_images:,} training and {data.test_images:,} test examples"
    if data.positions > 1:
        examples += f" of {data.positions} tokens"
    epochs = _from_to(trials["epochs_run"], "epoch")
    kinds = trials[["holdout", "batch_size", "drop_last"]].drop_duplicates()
    batches = []
    for holdout, size, dropped in kinds.itertuples(index=False):
        batches.append((data.train_images - holdout, size, dropped))
    versions = record.environment.get("versions", {})
    programs = []
    for name in ("jax", "ray", "python"):
        if versions.get(name):
            programs.append(f"{name} {versions[name]}")
    revision = record.environment.get("git_revision") or ""
    texts = {
        "networks": _networks(trials),
        "all with": _settings(trials, not data.of_networks),
        "data": f"{record.dataset['name']} ({examples})",
        "last batch": small_last_batch(batches),
        "trials": f"{counted(len(trials))} of {epochs}",
        "trained on": _devices(sweep),
        "time": _duration(record),
        "versions": ", ".join(programs),
        "revision": str(revision),
        "results": str(sweep.path),
    }
    if data.flag == "loop":
        # Its batches are its own, and its counts may not be known.
        texts["last batch"] = ""
        texts["data"] = ""
    return {name: text for name, text in texts.items() if text}


def _from_to(epochs: pd.Series, unit: str) -> str:
    """Return the least and the greatest number of epochs, such as `3 to 5 epochs`."""
    least, most = epochs.min(), epochs.max()
    text = counted(most, unit)
    if least < most:
        text = f"{least} to {text}"
    return text


def _devices(sweep: Judged) -> str:
    """Return on what a sweep trained, with the processor and its cores."""
    environment = sweep.record.environment
    devices = sweep.trials["device"].dropna().astype(str).unique()
    text = ", ".join(sorted(devices))
    processor = environment.get("processor", "")
    if not processor or processor == text:
        return text
    if environment.get("cpus"):
        processor += f", {environment['cpus']} cores"
    return f"{text} ({processor})"


def _facts_elsewhere(sweep: Judged) -> dict[str, str]:
    """Return what a table of curves says of its runs: not what was trained, on what."""
    trials = sweep.trials
    reports = _from_to(trials["epochs_run"], "report")
    return {
        "trained": f"elsewhere: {_networks(trials)}",
        "trials": f"{counted(len(trials))} of {reports}",
        "curves": str(sweep.path),
    }


def _settings(trials: pd.DataFrame, is_task: bool) -> str:
    """Return the settings that all trials share, those that are as usual left out. A
    task has a loss of its own."""
    usual = vars(TrialConfig(holdout=0))
    always = {"optimizer", "batch_size"}
    optimizers = trials["optimizer"].unique()
    if all(has({"optimizer": name}, "momentum") for name in optimizers):
        always.add("momentum")
    if not is_task:
        always.add("loss")
    texts = []
    for name in FAMILY:
        is_shared = name in trials and trials[name].nunique() == 1
        if name == "architecture" or not is_shared:
            continue
        value = trials[name].iloc[0]
        if name in always or value != usual[name]:
            texts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(texts)


def _networks(trials: pd.DataFrame) -> str:
    names = sorted(trials["architecture"].unique())
    text = ", ".join(names[:4])
    if len(names) > 4:
        text += f" and {len(names) - 4} more"
    return text


def _duration(record: SweepMeta) -> str:
    try:
        start = datetime.fromisoformat(record.started or "")
        # in between, nobody may have trained
        if record.ended is None or record.resumed:
            return f"started {start:%Y-%m-%d %H:%M} UTC"
        end = datetime.fromisoformat(record.ended)
        seconds = (end - start).total_seconds()
    # older sweeps, and those of tests, have no times
    except (ValueError, TypeError):
        return ""
    return f"{spoken(seconds)}, started {start:%Y-%m-%d %H:%M} UTC"


def ran(sweep: Judged) -> dict[str, str]:
    """Return where the time went, how many trials trained together, and how often the
    sweep was resumed, by names."""
    trials, resumed = sweep.trials, sweep.record.resumed
    counts = trials["stop_reason"].value_counts()
    reasons = [f"{count:,} {reason}" for reason, count in counts.items()]
    name = "trials so far" if progress(trials).live else "trials ended"
    texts = {name: ", ".join(reasons)}
    spent = {}
    for column, work in WORK.items():
        spent[work] = float(np.nansum(trials[column].astype(float)))
    total = sum(spent.values())
    if total:
        parts = []
        for work, seconds in spent.items():
            parts.append(f"{work} {spoken(seconds)} ({seconds / total:.0%})")
        texts["time of all trials"] = ", ".join(parts)
    lanes = sweep.epochs["lanes"].astype(float)
    if (lanes > 1).any():
        average = f"{lanes.mean():.1f} on average"
        texts["lanes that trained together"] = f"{average}, at most {lanes.max():.0f}"
    texts["resumed"] = "never"
    if resumed:
        times = counted(len(resumed), "time")
        texts["resumed"] = f"{times}, last {resumed[-1][:16]}"
    return texts
