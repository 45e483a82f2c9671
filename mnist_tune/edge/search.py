"""Find the edges of networks: the learning rates at which shares of the seeds learn, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import tyro

from mnist_tune.columns import COUNT, PART, RATE, SEED, SHARE
from mnist_tune.edge.range_test import blow_ups
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.measured_edge import EXPECTED, SEARCHES, Learned, template_of
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import start_ray
from mnist_tune.sweep import Sweep
from mnist_tune.trial import TRIALS, TrialConfig
from mnist_tune.tuning.opening import open_sweep
from mnist_tune.tuning.options import ARCHITECTURE_HELP, CrossedOptions, InResume
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.resuming import python_options
from mnist_tune.tuning.sweep import processes, run_searcher, shown


@dataclass(frozen=True, kw_only=True)
class EdgeOptions(CrossedOptions):
    """Find the learning rates at which 90, 50 and 10% of seeds learn, each with a 95% interval. Each combination of
    architecture, optimizer, batch size and momentum has an edge of its own."""

    NAME: ClassVar[str] = "edge"

    scheduler: Literal["fifo"] = "fifo"
    """Trials run to their end, unless they diverge."""
    architecture: Annotated[tuple[str, ...], tyro.conf.arg(help=ARCHITECTURE_HELP)] = ("mlp-64-relu-glorot",)
    epochs: Annotated[int, COUNT] = 3
    """Epochs per trial. An edge belongs to a length of training."""
    precision: Annotated[float, InResume.CHANGES, PART] = 0.05
    """End the search for an edge once the 95% interval of its 50% rate has had this half-width, as a share of the rate,
    through the last 15% of its outcomes."""
    trials: Annotated[int, InResume.ADDS, TRIALS] = 100
    """The most trials for an edge."""
    learned: Annotated[float | None, SHARE] = None
    """Training accuracy that counts as learned; by default it is a final training loss below half the untrained one or
    a guess's, whichever is less."""
    expected: Annotated[float | None, RATE] = None
    """Learning rate at which the edge is expected, up to a factor of 8; by default where a range test blows up."""
    workers: Annotated[int | None, COUNT] = None
    """How many trials may be proposed before the outcome of the first is known; by default one more than can run, and
    two more for each further edge. The search for one edge starts at most 16, then as many as it knows outcomes."""
    seed: Annotated[int, SEED] = 0
    """Makes the seeds of the trials other ones. Each trial has a fresh seed of initialisation and batch order."""

    def templates(self) -> list[TrialConfig]:
        """Return a trial of each edge, without its learning rate and seeds."""
        return list(self.combined())


def find_edge(options: EdgeOptions) -> Sweep:
    """Search for edges under Ray Tune, print what was found unless `options.quiet`, and return the tables.

    `sweep.edges()` returns the edges. To resume an interrupted search, give its folder as `options.resume`. More
    `trials` or another `precision` may be given then; options that are left out are as recorded. The same search
    proposes the same trials, whenever it is interrupted.

    Raises:
        UserError: as in `run_sweep`.
    """
    return shown(search_edge(python_options(options)), options)


def search_edge(options: EdgeOptions) -> Sweep:
    """Search for edges, and print nothing but progress."""
    opened = open_sweep(options.NAME, options, search=True, templates=options.templates())
    writer, options = opened.writer, opened.options
    with writer:
        if SEARCHES not in writer.meta["options"]:
            start_ray(options.cluster(), options.max_concurrent, options.dashboard)
            templates = options.templates()
            rates = [options.expected] * len(templates) if options.expected else blow_ups(templates, opened.data[0])
            searches = [one.to_dict() | {EXPECTED: rate} for one, rate in zip(templates, rates, strict=True)]
            # One network's trials may take much longer than another's: enough are pending that none waits for them.
            workers = options.workers or processes(options) + 2 * len(searches) - 1
            writer.update_options(workers=workers, **{SEARCHES: searches})
        most = writer.meta["options"]["trials"] * len(writer.meta["options"][SEARCHES])
        return run_searcher(opened, searcher_of, most)


def searcher_of(writer: SweepWriter, past: Past) -> Any:
    """Return the searcher that goes on from what was before."""
    from mnist_tune.edge.searcher import EdgeSearcher

    asked, guesses = writer.meta["options"], data_facts(writer.meta).guess_losses
    templates = [template_of(search) for search in asked[SEARCHES]]
    return EdgeSearcher(
        templates,
        [search[EXPECTED] for search in asked[SEARCHES]],
        learned=[Learned(guesses[template.loss], asked["learned"]) for template in templates],
        ended=past.outcomes,
        known=past.trials,
        **{name: asked[name] for name in ("workers", "precision", "trials", "seed")},
    )
