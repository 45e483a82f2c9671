"""Find the edges of networks: the learning rates at which shares of the seeds learn,
with intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from mnist_tune.columns import COUNT, PART, RATE, SEED, SHARE, WHOLE
from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import TaskData
from mnist_tune.edge.range_run import blow_ups
from mnist_tune.errors import UserError
from mnist_tune.judged import settings_of
from mnist_tune.regimes.families import families
from mnist_tune.regimes.measured_edge import EXPECTED, SEARCHES, Learned, template_of
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.results.writer import SweepWriter
from mnist_tune.sweep import Sweep
from mnist_tune.trial import TRIALS, TrialConfig
from mnist_tune.tuning.opening import open_sweep
from mnist_tune.tuning.options import ARCHITECTURE_HELP, AUTO, CrossedOptions, InResume
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.resuming import python_options, trained_as
from mnist_tune.tuning.sweep import processes, run_searcher, shown
from mnist_tune.tuning.tasks import load_data


@dataclass(frozen=True, kw_only=True)
class EdgeOptions(CrossedOptions):
    """Find the learning rates at which 90, 50 and 10% of seeds learn, each with a 95%
    interval. Each combination of architecture, optimizer, batch size and momentum has
    an edge of its own."""

    NAME: ClassVar[str] = "edge"

    scheduler: Literal["fifo"] = "fifo"
    """Trials run to their end, unless they diverge."""
    sweep: Annotated[str | Path | None, InResume.HERE] = None
    """The folder or URI of a sweep: measure the edge of each network and optimiser that
    it trained, on its data."""
    architecture: Annotated[tuple[str, ...], tyro.conf.arg(help=ARCHITECTURE_HELP)] = (
        "mlp-64-relu-glorot",
    )
    epochs: Annotated[int, COUNT] = 3
    """Epochs per trial; with --sweep, as there. An edge belongs to a length of
    training."""
    holdout: Annotated[int, WHOLE] = 0
    """Hold out this many training images. An edge is about what is learned on the
    training images, so by default none are held out; with --sweep, as many as there."""
    precision: Annotated[float, InResume.CHANGES, PART] = 0.05
    """A search ends once the 95% interval of the 50% rate has this half-width, as a
    share of the rate, and had it through the last 15% of the outcomes."""
    trials: Annotated[int, InResume.ADDS, TRIALS] = 100
    """The most trials for an edge."""
    learned: Annotated[float | None, SHARE] = None
    """Training accuracy from which on a trial has learned. By default, its final
    training loss must be below half the untrained loss, or a guess's if that is
    less."""
    expected: Annotated[float | None, RATE] = None
    """Learning rate at which the edge is expected, up to a factor of 8; by default
    where a range test blows up."""
    workers: Annotated[int | None, COUNT] = None
    """How many trials may be proposed before the outcome of the first is known; by
    default one more than can run, and two more for each further edge. A search for one
    edge has at most 16, later as many as it knows outcomes."""
    seed: Annotated[int, SEED] = 0
    """Another number gives the trials other seeds. Each trial has a fresh seed of
    initialisation and batch order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sweep is not None and self.resume not in (None, AUTO):
            raise UserError(
                "--sweep starts a new search, and --resume goes on with one; leave one of them out"
            )


def find_edge(options: EdgeOptions) -> Sweep:
    """Search for edges under Ray Tune, print what was found unless `options.quiet`, and
    return the tables.

    After a sweep `s`: `find_edge(EdgeOptions(sweep=s.path)).edges()` returns the edges.
    To resume an interrupted search, give its folder as `options.resume`. More `trials`
    or another `precision` may be given then; options that are left out are as recorded.
    The same search proposes the same trials, whenever it is interrupted.

    Raises:
        UserError: as in `run_sweep`.
    """
    return shown(search_edge(python_options(options)), options)


def search_edge(options: EdgeOptions) -> Sweep:
    """Search for edges, and print nothing but progress."""
    templates, data = list[TrialConfig](), None
    if options.place_to_resume() is None:
        options, templates, data = _begun(options)
    recorded = {
        SEARCHES: [one.to_dict() | {EXPECTED: options.expected} for one in templates]
    }
    opened = open_sweep(
        options.NAME,
        options,
        kind=SweepKind.EDGE,
        templates=templates,
        recorded=recorded,
        data=data,
    )
    writer, options = opened.writer, opened.options
    with opened.owned():
        searches = writer.record.options.get(SEARCHES, [])
        known = [one[EXPECTED] for one in searches]
        if None in (writer.record.options["workers"], *known):
            options.start_ray()
            if None in known:
                rates = blow_ups([*map(template_of, searches)], opened.data)
                searches = [
                    one | {EXPECTED: rate}
                    for one, rate in zip(searches, rates, strict=True)
                ]
            # One network's trials may take much longer than another's: enough are
            # pending that none waits for them.
            workers = options.workers or processes(options) + 2 * len(searches) - 1
            writer.update_options(workers=workers, **{SEARCHES: searches})
        most = writer.record.options["trials"] * len(searches)
        return run_searcher(opened, searcher_of, most)


def _begun(
    options: EdgeOptions,
) -> tuple[EdgeOptions, list[TrialConfig], Dataset | TaskData]:
    """Return the options of a new search, a trial of each edge without its learning
    rate and seeds, and the data."""
    if options.sweep is None:
        templates = list(options.combined())
        return options, templates, load_data(options, templates)
    epochs = options.epochs if options.epochs != EdgeOptions.epochs else None
    options, taken, sweep = trained_as(options, options.sweep, _of_families, "epochs")
    templates = [
        replace(one, epochs=epochs or one.epochs, stop_when_diverged=True)
        for one in taken
    ]
    options = replace(options, epochs=max(one.epochs for one in templates))
    return options, templates, load_data(options, templates, sweep)


def _of_families(sweep: Sweep) -> list[TrialConfig]:
    """Return a setting of each family of a sweep."""
    return [
        replace(settings_of(family.head(1))[0], label="")
        for _, family in families(sweep.trials)
    ]


def searcher_of(writer: SweepWriter, past: Past) -> Any:
    """Return the searcher that goes on from what was before."""
    from mnist_tune.edge.edge_searcher import EdgeSearcher

    asked, data = writer.record.options, writer.record.data
    searches = asked.get(SEARCHES, [])
    templates = [template_of(search) for search in searches]
    expected = [search[EXPECTED] for search in searches]
    learned = []
    for template in templates:
        learned.append(Learned.before_pilot(data, template, asked["learned"]))
    return EdgeSearcher(
        templates,
        expected,
        learned=learned,
        ended=past.outcomes,
        known=past.trials,
        **{name: asked[name] for name in ("workers", "precision", "trials", "seed")},
    )
