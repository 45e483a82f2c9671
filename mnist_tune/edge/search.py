"""Find the edges of networks: the learning rates at which shares of the seeds learn, with intervals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from mnist_tune.data.dataset import Dataset
from mnist_tune.edge.predictions import predictions, processes
from mnist_tune.errors import UserError
from mnist_tune.own_code.loading import load_own
from mnist_tune.regimes.measured_edge import SEARCHES, template_of
from mnist_tune.regimes.range_suggestions import BLOW_UP
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import ray_until_the_end, start_ray, stop_ray_at_exit
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.new_sweep import open_new
from mnist_tune.tuning.options import ARCHITECTURE_HELP, OPTIMIZER_HELP, Mark, TrialOptions, crossed, refuse_empty
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.plan import Plan
from mnist_tune.tuning.resumed_sweep import open_again
from mnist_tune.tuning.sweep import run_plan, shown, unchanged
from mnist_tune.tuning.wanted import resumed

if TYPE_CHECKING:
    from mnist_tune.sweep import Sweep

CROSSED = ("architecture", "optimizer", "batch_size", "momentum")


@dataclass(frozen=True, kw_only=True)
class EdgeOptions(TrialOptions):
    """Find the learning rates at which 90, 50 and 10% of seeds learn, each with a 95% interval."""

    scheduler: Literal["fifo"] = "fifo"
    """Trials run to their end, unless they diverge."""
    architecture: Annotated[tuple[str, ...], tyro.conf.arg(help=ARCHITECTURE_HELP)] = ("mlp-64-relu-glorot",)
    optimizer: Annotated[tuple[str, ...], tyro.conf.arg(help=OPTIMIZER_HELP)] = ("sgd",)
    batch_size: tuple[int, ...] = (128,)
    """Images per step. Several values are crossed with all others, as are architectures, optimizers and momenta; each
    combination has an edge of its own."""
    momentum: tuple[float, ...] = (0.0,)
    """Momentum of SGD, in [0, 1)."""
    epochs: Annotated[int, Mark.KEPT] = 3
    """Epochs per trial. An edge belongs to a length of training."""
    precision: Annotated[float, Mark.HOW] = 0.05
    """End the search for an edge once the 95% interval of its 50% rate has had this half-width, as a share of the rate,
    through the last 15% of its outcomes."""
    trials: Annotated[int, Mark.MAKES] = 100
    """The most trials for an edge."""
    learned: float | None = None
    """Training accuracy that counts as learned; by default it is a final training loss below half the untrained one."""
    expected: float | None = None
    """Learning rate at which the edge is expected, up to a factor of 8; by default where a range test blows up."""
    workers: int | None = None
    """How many trials may be proposed before the outcome of the first is known; by default one more than can run, and
    two more for each further edge. The search for one edge starts at most 16, then as many as it knows outcomes."""
    predictor_seeds: int = 1
    """Seeds on which the predictors are tried, of which the first is 0."""
    seed: int = 0
    """Makes the seeds of the trials other ones. Each trial has a fresh seed of initialisation and batch order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("precision", "trials", "expected", "workers", "predictor_seeds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"--{name.replace('_', '-')} must be above 0, got {value}")
        refuse_empty(self, *CROSSED)
        if self.learned is not None and not 0 < self.learned < 1:
            raise UserError(f"--learned must be an accuracy between 0 and 1, such as 0.5, got {self.learned}")

    def templates(self) -> list[TrialConfig]:
        """Return a trial of each edge, without its learning rate and seeds."""
        common = self.common()
        return [TrialConfig(**common | dict(zip(CROSSED, values, strict=True))) for values in crossed(self, *CROSSED)]


def find_edge(options: EdgeOptions, keep_ray: bool = True) -> Sweep:
    """Search for edges under Ray Tune, print what was found unless `options.quiet`, and return the tables.

    `sweep.edges()` returns the edges. To resume an interrupted search, give its folder as `options.resume`. More
    `trials` or another `precision` may be given then; options that are left out are as recorded. The same search
    proposes the same trials, whenever it is interrupted.

    Raises:
        UserError: as in `run_sweep`.
    """
    with ray_until_the_end(keep_ray):
        return shown(_search(options), options)


def search_edge(options: EdgeOptions) -> Sweep:
    """Search for edges, and print nothing but progress. The scripts in `sweeps/` call this.

    Ray is shut down when the process ends.
    """
    stop_ray_at_exit()
    return _search(options)


def _search(options: EdgeOptions) -> Sweep:
    load_own(options)
    where = options.goes_on()
    past = None
    if where is None:
        writer, data = open_new("edge", {}, options, search=True, templates=options.templates())
    else:
        options = resumed(options, where, "edge")
        writer, past, data = open_again(where, options, search=True)
    with writer:
        if SEARCHES not in writer.meta["options"]:
            start_ray(options.cluster(), options.max_concurrent, options.dashboard)
            searches = _searches(options, data)
            # One network's trials may take much longer than another's: enough are pending that none waits for them.
            workers = options.workers or processes(options) + 2 * len(searches) - 1
            writer.update_options(workers=workers, **{SEARCHES: searches})
        return _run(writer, data, options, past)


def _run(writer: SweepWriter, data: list[Dataset], options: EdgeOptions, past: Past | None = None) -> Sweep:
    from ray.tune.search import Searcher

    if searcher_of(writer, past).suggest("") == Searcher.FINISHED:
        return unchanged(writer)
    samples = writer.meta["options"]["trials"] * len(writer.meta["options"][SEARCHES])
    samples -= len(past.ended) + len(past.failed) if past else 0
    plan = Plan({"epochs": options.epochs}, {}, samples, search_alg=searcher_of(writer, past))
    return run_plan(writer, plan, data, options, past)


def searcher_of(writer: SweepWriter, past: Past | None = None) -> Any:
    """Return the searcher that goes on from what was before."""
    from mnist_tune.edge.searcher import EdgeSearcher

    asked = writer.meta["options"]
    past = past or Past()
    return EdgeSearcher(
        [template_of(search) for search in asked[SEARCHES]],
        [search["expected"] for search in asked[SEARCHES]],
        ended={trial_id: row for trial_id, (_, row) in past.ended.items()} | dict.fromkeys(past.failed),
        known=past.trials,
        **{name: asked[name] for name in ("workers", "precision", "trials", "learned", "seed")},
    )


def _searches(options: EdgeOptions, data: Sequence[Dataset]) -> list[dict[str, Any]]:
    """Return what `sweep.json` records of each edge: its trials, where it is expected, and what predictors say."""
    templates, searches = options.templates(), []
    for template, predicted in zip(templates, predictions(options, templates, data[0]), strict=True):
        expected = options.expected or statistics.median(predicted[BLOW_UP])
        searches.append(template.to_dict() | {"expected": expected, "predicted": predicted})
    return searches
