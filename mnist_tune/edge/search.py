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
    interval. Each combination of settings has an edge of its own."""

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
            hint = "leave one of them out"
            raise UserError(
                f"--sweep starts a new search, and --resume goes on with one; {hint}"
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
    templates = list[TrialConfig]()
    data = None
    if options.place_to_resume() is None:
        options, templates, data = _begun(options)
    searches = []
    for template in templates:
        searches.append({**template.to_dict(), EXPECTED: options.expected})
    opened = open_sweep(
        options.NAME,
        options,
        kind=SweepKind.EDGE,
        templates=templates,
        recorded={SEARCHES: searches},
        data=data,
    )
    writer, options = opened.writer, opened.options
    with opened.owned():
        searches = writer.record.options.get(SEARCHES, [])
        expected = [search[EXPECTED] for search in searches]
        if None in (writer.record.options["workers"], *expected):
            options.start_ray()
            if None in expected:
                expected = blow_ups([*map(template_of, searches)], opened.data)
            searches = [
                {**search, EXPECTED: rate}
                for search, rate in zip(searches, expected, strict=True)
            ]
            # One network's trials may take much longer than another's: enough are
            # pending that none waits for them.
            workers = options.workers or processes(options) + 2 * len(searches) - 1
            writer.update_options(workers=workers, **{SEARCHES: searches})
        most_trials = writer.record.options["trials"] * len(searches)
        return run_searcher(opened, searcher_of, most_trials)


def _begun(
    options: EdgeOptions,
) -> tuple[EdgeOptions, list[TrialConfig], Dataset | TaskData]:
    """Return the options of a new search, a trial of each edge without its learning
    rate and seeds, and the data."""
    if options.patience:
        raise UserError(
            "--patience ends trials that learn no more, and an edge is where trials blow up later; leave it out"
        )
    if options.loop and options.expected is None:
        raise UserError(
            "a loop has no range test that says where its edge may be; give a learning rate with --expected"
        )
    if options.sweep is None:
        templates = list(options.combined())
        return options, templates, load_data(options, templates)
    epochs = options.epochs
    options, settings, sweep = trained_as(
        options, options.sweep, _of_families, "epochs"
    )
    templates = [replace(setting, stop_when_diverged=True) for setting in settings]
    if epochs != EdgeOptions.epochs:
        templates = [replace(template, epochs=epochs) for template in templates]
    longest = max(template.epochs for template in templates)
    options = replace(options, epochs=longest)
    return options, templates, load_data(options, templates, sweep)


def _of_families(sweep: Sweep) -> list[TrialConfig]:
    """Return a setting of each family of a sweep."""
    settings = []
    for _, family in families(sweep.trials):
        [first] = settings_of(family.head(1))
        settings.append(replace(first, label=""))
    return settings


def searcher_of(writer: SweepWriter, past: Past) -> Any:
    """Return the searcher that goes on from what was before."""
    from mnist_tune.edge.edge_searcher import EdgeSearcher

    options, data = writer.record.options, writer.record.data
    templates, expected, learned = [], [], []
    for search in options.get(SEARCHES, []):
        template = template_of(search)
        templates.append(template)
        expected.append(search[EXPECTED])
        learned.append(Learned.before_pilot(data, template, options["learned"]))
    return EdgeSearcher(
        templates,
        expected,
        learned=learned,
        ended=past.outcomes,
        past=past.trials,
        workers=options["workers"],
        precision=options["precision"],
        trials=options["trials"],
        seed=options["seed"],
    )
