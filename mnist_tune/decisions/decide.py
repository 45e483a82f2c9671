"""Which of some settings is best? Train all of them on fresh seeds, until that is
settled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from mnist_tune.columns import COUNT, RATE, SEED, whole
from mnist_tune.curves.decision import decide_curves
from mnist_tune.data.dataset import Dataset, check_counts
from mnist_tune.data.task_data import LoopData, TaskData
from mnist_tune.errors import UserError
from mnist_tune.regimes.contest import CONTENDERS, MOST_SETTINGS, TRIALS, Contest
from mnist_tune.regimes.decision import CONFIRMED
from mnist_tune.regimes.families import held_out
from mnist_tune.reports.decided import on_other_images
from mnist_tune.results.sweep_meta import SWEPT_IMAGES, SweepKind
from mnist_tune.results.writer import SweepWriter
from mnist_tune.sweep import Sweep
from mnist_tune.terminal import note
from mnist_tune.trial import MOST_TRIALS, TrialConfig
from mnist_tune.tuning.opened import HELD_OUT
from mnist_tune.tuning.opening import open_sweep
from mnist_tune.tuning.options import (
    AUTO,
    CrossedOptions,
    InResume,
    all_rates,
    refuse_several_tasks,
)
from mnist_tune.tuning.past import Past, holding_out
from mnist_tune.tuning.resuming import python_options, trained_as
from mnist_tune.tuning.sweep import processes, run_searcher, shown
from mnist_tune.tuning.tasks import load_data


@dataclass(frozen=True, kw_only=True)
class DecideOptions(CrossedOptions):
    """Say which of some settings is best, and how sure that is: train all of them on
    fresh seeds until it is settled.

    Settings are compared on images that are held out of training. Name the folder of a
    sweep to decide between its best settings, or list settings.
    """

    EXAMPLES: ClassVar[dict[str, str]] = {
        "--sweep results/lr_regimes/TIME": "Between the settings that a sweep has not told apart:",
        "--learning-rates 0.2 0.4 0.8": "Between three rates:",
        "--architecture mlp-64-relu mlp-256-relu --learning-rates 0.1 0.3": "Between networks and rates:",
        "--learning-rates 0.2 0.4 --tolerance 0.001 --trials 400": "More precisely:",
        "--learning-rates 0.2 0.4 --confirm": "With 29 seeds of the best in the end:",
    }

    NAME: ClassVar[str] = "decide"

    scheduler: Literal["fifo"] = "fifo"
    """Trials run to their end, unless they diverge."""
    sweep: Annotated[str | Path | None, InResume.HERE] = None
    """The folder or URI of a sweep: compare the settings that may be its best, on its
    data."""
    learning_rates: tuple[float | str, ...] = ()
    """Learning rates to compare, or a range FIRST:LAST:COUNT, log-spaced; crossed with
    all others, too. Each combination is a setting."""
    epochs: Annotated[int, COUNT] = 10
    """Epochs per trial; with --sweep, as there."""
    holdout: Annotated[int | None, COUNT] = None
    """Training images that are held out, on which settings are compared; by default as
    in --sweep. If that held out none, or settings are listed, it is a sixth, and up to
    half as many more if then no batch is smaller than the others."""
    tolerance: Annotated[float | None, RATE] = None
    """How much worse than the best the named setting may be, in accuracy or loss. By
    default it is half the standard error of one trial's accuracy, or loss, on the
    images held out."""
    trials: Annotated[int, InResume.ADDS, whole(1, MOST_TRIALS - CONFIRMED)] = TRIALS
    """The most trials until it is settled, without those that confirm."""
    confirm: Annotated[bool, InResume.CHANGES] = False
    """Train the best setting alone in the end, until it has 29 seeds."""
    at_a_time: Annotated[int | None, COUNT] = None
    """Seeds that are trained at a time; by default enough for two settings to keep all
    cores busy, and one more."""
    seed: Annotated[int, SEED] = 0
    """Another number gives the trials other seeds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.tolerance or 0) >= 1 and not (self.own or self.sweep):
            raise UserError(
                f"--tolerance is a difference of accuracies, such as 0.002, got {self.tolerance}"
            )
        if self.sweep is not None and self.resume not in (None, AUTO):
            hint = "leave one of them out"
            raise UserError(
                f"--sweep starts a new decision, and --resume goes on with one; {hint}"
            )
        if (self.at_a_time or 1) > self.trials:
            raise UserError(
                f"--at-a-time {self.at_a_time} is more than --trials {self.trials}"
            )


def decide(
    options: DecideOptions | Sweep,
    again: Sweep | None = None,
    tolerance: float | None = None,
) -> Sweep:
    """Decide between settings under Ray Tune, print what was found unless
    `options.quiet`, and return the tables.

    After a sweep `s`: `decide(DecideOptions(sweep=s.path, trials=60))`. To resume an
    interrupted decision, give its folder as `options.resume`. The same decision
    proposes the same trials, whenever it is interrupted.

    What was trained elsewhere is decided there, too: `decide(read_curves(first))`
    trains and prints nothing, and its answer says which settings to train with which
    seeds. With their rows in a second table, `decide(read_curves(first),
    again=read_curves(second))` decides.

    Args:
        options: what to compare, or a sweep that `read_curves` returned.
        again: then the sweep of a table with runs of fresh seeds, and perhaps those of
            before. Seeds of the first table do not count.
        tolerance: of tables, how much worse than the best the named setting may be, in
            accuracy or loss. By default, half the standard error of one run's score.

    Raises:
        UserError: as in `run_sweep`; or there are fewer than two settings, or a run of a
            table has no seed.
    """
    if again is not None or not isinstance(options, DecideOptions):
        return decide_curves(options, again, tolerance)
    if tolerance is not None:
        raise UserError(
            "the tolerance of a decision that is trained here is one of its options: "
            f"DecideOptions(tolerance={tolerance})"
        )
    return shown(decide_between(python_options(options)), options)


def decide_between(
    options: DecideOptions,
    settings: Sequence[TrialConfig] = (),
    data: Dataset | TaskData | None = None,
) -> Sweep:
    """Decide, by default between the settings that the options name, and print nothing
    but progress. The `data` are loaded unless they are given."""
    recorded = None
    if options.place_to_resume() is None:
        options, settings, recorded, data = _contenders(options, settings, data)
    opened = open_sweep(
        options.NAME,
        options,
        kind=SweepKind.DECISION,
        templates=settings,
        recorded=recorded,
        data=data,
    )
    writer = opened.writer
    with opened.owned():
        if writer.record.options["at_a_time"] is None:
            options.start_ray()
            # two settings keep all cores busy
            enough = math.ceil(processes(options) / 2) + 1
            writer.update_options(at_a_time=min(enough, options.trials))
        most_trials = options.trials
        if options.confirm:
            most_trials += CONFIRMED
        return run_searcher(opened, _searcher_of, most_trials)


def _searcher_of(writer: SweepWriter, past: Past) -> Any:
    """Return the searcher that goes on from what was before."""
    from mnist_tune.decisions.contest_searcher import ContestSearcher

    seed = writer.record.options["seed"]
    return ContestSearcher(Contest.of(writer.meta), seed, past.outcomes)


def _contenders(
    options: DecideOptions,
    settings: Sequence[TrialConfig],
    data: Dataset | TaskData | None,
) -> tuple[DecideOptions, list[TrialConfig], dict[str, Any], Dataset | TaskData]:
    """Return the options with what follows from the sweep and the data, the settings to
    decide between (by default, those that the options name), what is recorded: these,
    and the split by which a sweep chose them; and the data. Raises `UserError` if there
    are fewer than two settings, or the data are others."""
    sweep = None
    if options.sweep is not None:
        options, settings, sweep = _of_sweep(options, options.sweep)
    elif not settings:
        rates = all_rates(options.learning_rates)
        settings = [*replace(options, holdout=None).combined(learning_rates=rates)]
    refuse_several_tasks(options)
    _refuse_count(len(settings), options.trials)
    data = data or load_data(options, settings, sweep)
    swept = None
    chosen_by = None
    if sweep is not None:
        swept = sweep.record.data.train_images - settings[0].held_out
        chosen_by = held_out(sweep.trials)
    images = data.spec.train_images
    if isinstance(data, LoopData):
        holdout = data.to_choose_by
        options = replace(options, holdout=holdout)
        settings = holding_out(holdout, settings)
    else:
        options, settings = _with_images_held_out(options, settings, images)
    check_counts(settings, data)
    compared = f"comparing {len(settings)} settings on {options.holdout} of {images}"
    line = f"{compared} training examples, which are held out"
    if options.drop_last:
        line += "; each epoch leaves out its last, smaller batch"
    options.say(line)
    warning = on_other_images(swept, images - settings[0].held_out)
    if warning:
        options.say(note(warning))
    recorded = {
        "chosen_by": chosen_by,
        SWEPT_IMAGES: swept,
        CONTENDERS: [setting.to_dict() for setting in settings],
    }
    return options, settings, recorded, data


def _refuse_count(count: int, trials: int) -> None:
    """Refuse too few or too many settings, and too few trials for them."""
    if count < 2:
        hint = "list more of them, such as --learning-rates 0.2 0.4"
        raise UserError(f"a decision needs two settings; {hint}")
    if count > MOST_SETTINGS:
        limit = f"at most {MOST_SETTINGS}"
        raise UserError(f"{count} settings are too many for a decision: {limit}")
    if trials < 2 * count:
        raise UserError(f"{count} settings need --trials of at least {2 * count}")


def _of_sweep(
    options: DecideOptions, folder: str | Path
) -> tuple[DecideOptions, list[TrialConfig], Sweep]:
    """Return the options with the data of a sweep, the settings that may be its best,
    and the sweep. Raises `UserError` if an option is given that the settings have, or
    there are fewer than two."""
    options, contenders, sweep = trained_as(
        options, folder, Sweep.contenders, "holdout", "drop_last"
    )
    if len(contenders) < 2:
        instead = "list settings instead, such as --learning-rates 0.1 0.2"
        raise UserError(
            f"fewer than two settings of {sweep.path} may be its best; {instead}"
        )
    recorded = [sweep.record.options, *sweep.meta["trials"].values()]
    stops = all(values.get("stop_when_diverged", True) for values in recorded)
    settings = [
        replace(setting, label="", stop_when_diverged=stops) for setting in contenders
    ]
    epochs = settings[0].epochs
    options = replace(options, epochs=epochs, stop_when_diverged=stops)
    return options, settings, sweep


def _with_images_held_out(
    options: DecideOptions, settings: Sequence[TrialConfig], images: int
) -> tuple[DecideOptions, list[TrialConfig]]:
    """Return the options and settings with images held out: as many as they say, or a
    sixth.

    Settings that held out images in their sweep train as there. Else no batch should be
    smaller than the others: what is left over by the largest batches is held out, too;
    by others it is left out of each epoch. Where that is more than half a sixth, as
    with full batches, it is trained on.
    """
    few = images // HELD_OUT // 2
    holdout = options.holdout or settings[0].held_out
    if not holdout:
        holdout = max(images // HELD_OUT, 1)
        largest = max(setting.batch_size for setting in settings)
        over = (images - holdout) % largest
        if over <= few:
            holdout += over
    trained = images - holdout
    held_out_before = settings[0].held_out > 0
    last_batches = [trained % setting.batch_size for setting in settings]
    some_are_small = any(0 < last <= few for last in last_batches)

    def drops_last(setting: TrialConfig) -> bool:
        if setting.batch_size > trained:
            return False
        if options.drop_last or setting.drop_last:
            return True
        is_small = trained % setting.batch_size <= few
        return is_small and some_are_small and not held_out_before

    settings = [
        replace(setting, holdout=holdout, drop_last=drops_last(setting))
        for setting in settings
    ]
    drop_last = any(setting.drop_last for setting in settings)
    return replace(options, holdout=holdout, drop_last=drop_last), settings
