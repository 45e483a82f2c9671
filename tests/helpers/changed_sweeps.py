"""Sweeps with some columns of their tables, or some of their record, replaced."""

from dataclasses import replace


def with_trials(sweep, **columns):
    """Return the sweep with these columns in its table of trials."""
    return replace(sweep, trials=sweep.trials.assign(**columns))


def with_epochs(sweep, **columns):
    """Return the sweep with these columns in its table of epochs."""
    return replace(sweep, epochs=sweep.epochs.assign(**columns))


def with_columns(sweep, **columns):
    """Return the sweep with these columns in both tables."""
    return with_epochs(with_trials(sweep, **columns), **columns)


def with_meta(sweep, **meta):
    """Return the sweep with these entries in its `sweep.json`."""
    return replace(sweep, meta=sweep.meta | meta)


def with_data(sweep, **facts):
    """Return the sweep with these facts of its data set."""
    return with_meta(sweep, dataset=sweep.meta["dataset"] | facts)


def by_rate(sweep):
    """Return the sweep with its trials in the order of their learning rates."""
    return replace(sweep, trials=sweep.trials.sort_values("learning_rate"))
