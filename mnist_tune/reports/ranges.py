"""Where each regime is found among a family's learning rates, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mnist_tune.answers.spans import ON_ITS_WAY, Span, Spans, Stretch
from mnist_tune.numbers import counted, told_apart

MOST_RUNS = 3
"""If a regime has more runs of learning rates than this, they are counted, between its
first and its last rate."""

VERBS = {
    "slow": "slow",
    "underfit": "underfits",
    ON_ITS_WAY: "on its way",
    "undecided": "undecided",
    "converged": "converges",
    "overfit": "overfits",
    "oscillating": "oscillates",
    "diverged": "diverges",
}

Names = Mapping[float, str]
"""How learning rates are written, so that they are told apart."""


def spans_in_words(spans: Spans) -> list[str]:
    """Return at which learning rates each regime is found, such as `converges
    0.04–0.7`.

    In `converges to 1.3 (5 of 6 trials, not all at 0.7)`, others converge at 0.7. Rates
    between are those that were tried. A trial that was cut before it could be decided
    is named so, and so are rates that converge though accuracy jumps.
    """
    names = told_apart(spans.trained)
    lines = []
    for span in spans.spans:
        if len(span.runs) > MOST_RUNS:
            where = _scattered(spans, span, names)
        else:
            places = []
            for run in span.runs:
                place = _place(spans, run, names)
                places.append(place + _share(run, names))
            where = ", ".join(places)
        line = f"{VERBS[span.regime]} {where}"
        if span.jumping:
            line += f" ({_where_accuracy_jumps(span, names)} accuracy jumps)"
        lines.append(line)
    return lines


def _scattered(spans: Spans, span: Span, names: Names) -> str:
    first, last = span.rates[0], span.rates[-1]
    begin, end = spans.trained.index(first), spans.trained.index(last)
    count = end - begin + 1
    return f"at {len(span.rates)} of the {count} rates {names[first]}–{names[last]}"


def _place(spans: Spans, run: Stretch, names: Names) -> str:
    """Return where a run of the rates that trained lies."""
    first, last = run.rates[0], run.rates[-1]
    low, high = names[first], names[last]
    if first == last:
        return low
    is_lowest = first == spans.trained[0]
    is_highest = last == spans.trained[-1]
    if is_lowest and is_highest:
        every = "all rates"
        if spans.trained != spans.tried:
            every = "all rates that trained"
        return f"at {every}, {low}–{high}"
    if is_lowest and first == spans.tried[0]:
        return f"to {high}"
    if is_highest and last == spans.tried[-1]:
        return f"from {low}"
    return f"{low}–{high}"


def _share(run: Stretch, names: Names) -> str:
    """Return how many trials of a run have its regime, and how many were cut."""
    text = ""
    if run.agreeing < run.trials:
        text = f" ({run.agreeing} of {run.trials} {_kind(run, names)})"
    cut = run.cut
    if cut is None:
        return text
    epochs = counted(cut.most_epochs, "epoch")
    if cut.least_epochs < cut.most_epochs:
        epochs = f"{cut.least_epochs} to {epochs}"
    count = ""
    if cut.trials < run.agreeing:
        count = f"{cut.trials} "
    return f"{text} ({count}cut after {epochs})"


def _kind(run: Stretch, names: Names) -> str:
    """Return what is counted, and at which rates not all have the regime."""
    kind = "seeds" if len(run.rates) == 1 else "trials"
    most = min(len(run.rates) - 1, MOST_RUNS)
    if len(run.mixed) > most:
        return kind
    rates = [names[rate] for rate in run.mixed]
    return f"{kind}, not all at {', '.join(rates)}"


def _where_accuracy_jumps(span: Span, names: Names) -> str:
    first = span.jumping[0]
    above = tuple(rate for rate in span.rates if rate >= first)
    if len(span.jumping) > 1 and above == span.jumping:
        return f"from {names[first]} on"
    rates = [names[rate] for rate in span.jumping[:MOST_RUNS]]
    if len(span.jumping) > MOST_RUNS:
        rates.append("...")
    return f"at {', '.join(rates)}"


def all_spans(spans: tuple[Spans, ...]) -> Iterator[str]:
    """Yield where each regime is found in each of several families."""
    for family in spans:
        lines = " · ".join(spans_in_words(family))
        yield f"{family.family}: {lines or 'no learning rate finished an epoch'}"
