"""Which of some settings is best? Train all of them on fresh seeds, until that is settled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from mnist_tune import storage
from mnist_tune.data.dataset import load_dataset
from mnist_tune.edge.predictions import processes
from mnist_tune.errors import UserError
from mnist_tune.own_code.loading import load_own
from mnist_tune.regimes.contest import CONTENDERS, Contest
from mnist_tune.results.meta import read_meta
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import ray_until_the_end, start_ray, stop_ray_at_exit
from mnist_tune.sweep import Sweep, load_sweep
from mnist_tune.terminal import announce
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.opening import open_again, open_new
from mnist_tune.tuning.options import (
    ARCHITECTURE_HELP,
    OPTIMIZER_HELP,
    Mark,
    TrialOptions,
    crossed,
    flag,
    rates_of,
    refuse_not_above_0,
    with_given,
)
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.sweep import run_plan, shown, unchanged
from mnist_tune.tuning.wanted import Plan, recorded_options

CROSSED = ("architecture", "optimizer", "batch_size", "momentum", "learning_rates")

SHARE = 6
"""By default one of so many training images is held out."""


@dataclass(frozen=True, kw_only=True)
class DecideOptions(TrialOptions):
    """Say which of some settings is best, and how sure that is: train all of them on fresh seeds until it is settled.

    Settings are compared on images that are held out of training. Name the folder of a sweep to decide between its best
    settings, or list settings.
    """

    EXAMPLES: ClassVar[dict[str, str]] = {
        "--sweep results/lr_regimes/TIME": "Between the settings that a sweep has not told apart:",
        "--learning-rates 0.2 0.4 0.8": "Between three rates:",
        "--architecture mlp-64-relu mlp-256-relu --learning-rates 0.1 0.3": "Between networks and rates:",
        "--learning-rates 0.2 0.4 --tolerance 0.001 --trials 400": "More precisely:",
        "--learning-rates 0.2 0.4 --confirm": "With 29 seeds of the best in the end:",
    }

    scheduler: Literal["fifo"] = "fifo"
    """Trials run to their end, unless they diverge."""
    sweep: Annotated[str | Path | None, Mark.HERE] = None
    """The folder or URI of a sweep: compare the settings that it has not told apart from its best, on its data. Name
    networks of your own again with --architecture, so that they are loaded."""
    architecture: Annotated[tuple[str, ...], tyro.conf.arg(help=ARCHITECTURE_HELP)] = ("mlp-1024-128-tanh",)
    optimizer: Annotated[tuple[str, ...], tyro.conf.arg(help=OPTIMIZER_HELP)] = ("sgd",)
    batch_size: tuple[int, ...] = (128,)
    """Images per step. Several values are crossed with all others, as are architectures, optimizers, momenta and rates;
    each combination is a setting."""
    momentum: tuple[float, ...] = (0.0,)
    """Momentum of SGD, in [0, 1)."""
    learning_rates: tuple[float | str, ...] = ()
    """Learning rates to compare, or a range FIRST:LAST:COUNT, log-spaced."""
    epochs: Annotated[int, Mark.KEPT] = 10
    """Epochs per trial; with --sweep, as there."""
    holdout: int = 0
    """Training images that are held out, on which settings are compared; by default (0) as in --sweep, or a sixth, and
    a few more if then no batch is smaller than the others."""
    tolerance: float | None = None
    """How much less accurate than the best the setting that is named may be. By default it is half the standard error
    of one trial's accuracy on the images held out."""
    trials: Annotated[int, Mark.MAKES] = 200
    """The most trials, if it is not settled before."""
    confirm: Annotated[bool, Mark.HOW] = False
    """Train the best setting alone in the end, until it has 29 seeds."""
    at_a_time: int | None = None
    """How many seeds are trained at a time; by default as many as keep two settings' trials on all cores, and one."""
    seed: int = 0
    """Makes the seeds of the trials other ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_not_above_0(self, "trials", "tolerance", "at_a_time")

    def settings(self) -> list[TrialConfig]:
        """Return a trial of each setting that is listed, without its seeds."""
        rates = [rate for text in self.learning_rates for rate in rates_of(text)]
        names = [name.removesuffix("s") for name in CROSSED]
        common = self.common()
        return [
            TrialConfig(**common | dict(zip(names, values, strict=True)))
            for values in crossed(self, *CROSSED, learning_rates=rates)
        ]


def decide(options: DecideOptions, keep_ray: bool = True) -> Sweep:
    """Decide between settings under Ray Tune, print what was found unless `options.quiet`, and return the tables.

    To resume an interrupted decision, give its folder as `options.resume`. The same decision proposes the same trials,
    whenever it is interrupted.

    Raises:
        UserError: as in `run_sweep`; or there are fewer than two settings.
    """
    with ray_until_the_end(keep_ray):
        return shown(_decide(options), options)


def decide_until_exit(options: DecideOptions) -> Sweep:
    """Decide, and print nothing but progress. Ray is shut down when the process ends."""
    stop_ray_at_exit()
    return _decide(options)


def _decide(options: DecideOptions) -> Sweep:
    load_own(options)
    where, past = options.goes_on(), None
    if where is None:
        options, settings = _contenders(options)
        writer, data = open_new("decide", {}, options, search=True, templates=settings)
    else:
        options, writer, past, data = open_again(where, options, search=True, name="decide")
    with writer:
        if CONTENDERS not in writer.meta["options"]:
            start_ray(options.cluster(), options.max_concurrent, options.dashboard)
            at_a_time = options.at_a_time or 1 + -(-processes(options) // 2)
            contenders = [one.to_dict() for one in settings]
            writer.update_options(at_a_time=at_a_time, **{CONTENDERS: contenders})
        if past and not past.open and _searcher(writer, past).suggest("") == "FINISHED":
            return unchanged(writer)
        samples = options.trials - (len(past.ended) + len(past.failed) if past else 0)
        plan = Plan({"epochs": options.epochs}, {}, max(samples, 1), search_alg=_searcher(writer, past))
        return run_plan(writer, plan, data, options, past)


def _searcher(writer: SweepWriter, past: Past | None) -> Any:
    """Return the searcher that goes on from what was before."""
    from mnist_tune.edge.searcher import ContestSearcher

    ended = {trial_id: row for trial_id, (_, row) in past.ended.items()} | dict.fromkeys(past.failed) if past else {}
    return ContestSearcher(Contest.of(writer.meta), writer.meta["options"]["seed"], ended)


def _contenders(options: DecideOptions) -> tuple[DecideOptions, list[TrialConfig]]:
    """Return the settings to decide between, and the options with their data, their epochs and their held-out images.

    Raises:
        UserError: there are fewer than two, or the data are not those of the sweep.
    """
    if options.sweep is None:
        settings = options.settings()
    elif listed := sorted(options.given & {*CROSSED[2:], "epochs"}):
        raise UserError(f"{flag(listed[0])} and --sweep can't go together: settings are those of the sweep")
    else:
        place = storage.place(options.sweep)
        sweep = load_sweep(place)
        settings = [replace(one, seed=0, data_seed=0, label="") for one in sweep.best()]
        recorded = recorded_options(type(options), read_meta(place), place)
        names = {*options.PANELS["data"]} - options.given
        same = {name: value for name, value in recorded.items() if name in names} | {"epochs": settings[0].epochs}
        options = with_given(replace(options, **same), options.given | same.keys())
    if len(settings) < 2:
        raise UserError("a decision needs two settings; list more of them, such as --learning-rates 0.2 0.4")
    data = load_dataset(options.dataset, options.data_dir, not options.quiet, options.standardize, options.train_images)
    if options.sweep is not None and data.checksums != sweep.meta["dataset"]["checksums"]:
        raise UserError(f"{options.sweep} was trained on other data ({sweep.meta['dataset']['name']}); give --dataset")
    images, sizes = len(data.train_labels), [one.batch_size for one in settings]
    holdout = options.holdout or settings[0].holdout
    if not holdout:
        holdout = images // SHARE
        holdout += (images - holdout) % max(sizes)
    drop = options.drop_last or any((images - holdout) % size for size in sizes)
    said = f"comparing {len(settings)} settings on {holdout} of {images} training images, which are held out"
    announce(said + "; each epoch leaves out its last, smaller batch" * drop, options.quiet)
    options = with_given(replace(options, holdout=holdout, drop_last=drop), options.given)
    return options, [replace(one, holdout=holdout, drop_last=drop) for one in settings]
