"""Which learning rates converge, are slow, oscillate or diverge?"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from mnist_tune.columns import WHOLE
from mnist_tune.errors import UserError
from mnist_tune.reports.terminal import print_result
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.dry_run import dry_run
from mnist_tune.tuning.options import SWITCH, CrossedOptions, InResume, all_rates
from mnist_tune.tuning.past import grown
from mnist_tune.tuning.resuming import command_options
from mnist_tune.tuning.sweep import run_or_resume

DEFAULT_RATES = (
    0.001,
    0.002,
    0.004,
    0.01,
    0.02,
    0.04,
    0.1,
    0.2,
    0.4,
    0.7,
    1.0,
    1.3,
    1.6,
    2.0,
    2.8,
    4.0,
)


@dataclass(frozen=True, kw_only=True)
class LearningRateRegimes(CrossedOptions):
    """Train one architecture at many learning rates and say which of them converge, are
    slow, oscillate or diverge.

    The results go to --output.
    """

    NAME: ClassVar[str] = "lr_regimes"
    EXAMPLES: ClassVar[dict[str, str]] = {
        "": "16 rates from 0.001 to 4, on MNIST:",
        "--smoke": "Does everything work? Seconds:",
        "--learning-rates 0.5:2:8 --seeds 0 1 2 3 4": "How often does a rate near the edge diverge?",
        "--architecture mlp-64-tanh mlp-256-tanh --momentum 0 0.9": "Several networks, with and without momentum:",
        "--weight-decay 0 0.001 0.1 --schedule constant cosine": "Any setting may have several values, which are crossed:",
        "--architecture net.py:mlp --dataset data.npz --epochs 20": "A network and a data set of your own:",
    }

    learning_rates: Annotated[tuple[float | str, ...], InResume.ADDS] = DEFAULT_RATES
    """Learning rates to compare, or a range FIRST:LAST:COUNT, log-spaced, such as
    1e-3:4:16. The default rates run from 0.001 to 4 in about equal steps, denser near
    the edge, with the notebook's 0.001, 0.1, 1.6 and 2."""
    drop_last: Annotated[tuple[bool, ...], SWITCH] = (False,)  # type: ignore[assignment]
    holdout: Annotated[tuple[int, ...], WHOLE] = ()  # type: ignore[assignment]
    seeds: Annotated[tuple[int, ...], InResume.ADDS] = (0,)
    """Replicates of every learning rate. A seed sets the initialisation and the batch
    order."""
    smoke: Annotated[bool, InResume.HERE] = False
    """Run a tiny real sweep to see that everything works: 4 rates, 784-16-10, 3 epochs.
    What is given counts first."""
    dry_run: Annotated[bool, InResume.HERE] = False
    """Say what would be trained and about how long it would take. Nothing is started,
    and no folder is created."""

    SMOKE: ClassVar[dict[str, Any]] = {
        "architecture": ("mlp-16-tanh",),
        "epochs": 3,
        "learning_rates": (0.01, 0.1, 1.0, 100.0),
    }

    def trials(self, recorded: Collection[TrialConfig] = ()) -> list[TrialConfig]:
        """Return the trials, from the middle of the range outwards: promising rates set
        the pace that ASHA compares the others with, and the short, hopeless ones fill
        the end, when workers would wait. A sweep that is resumed, and has `recorded`
        trials, grows."""
        rates = all_rates(self.learning_rates)
        if recorded:
            return grown(recorded, self.epochs, rates, self.seeds)
        trials = [
            replace(trial, data_seed=trial.seed)
            for trial in self.combined(learning_rates=rates, seeds=self.seeds)
        ]
        logs = [math.log(trial.learning_rate) for trial in trials]
        middle = (min(logs) + max(logs)) / 2

        def distance(trial: TrialConfig) -> float:
            return abs(math.log(trial.learning_rate) - middle)

        return sorted(trials, key=distance)


OPTIONS, run = LearningRateRegimes, run_or_resume


def main() -> int:
    return finish(command_options(OPTIONS))


def finish(options: LearningRateRegimes) -> int:
    """Train what is left, and print the regimes."""
    if options.dry_run and options.json:
        raise UserError("--dry-run trains nothing, so --json has no object to print")
    if options.dry_run:
        for line in dry_run(options):
            print(line, flush=True)
        return 0
    return print_result(run_or_resume(options), options.json)
