"""Which learning rates converge, are slow, oscillate or diverge?

    python sweeps/lr_regimes.py

Trains one architecture at many learning rates under Ray Tune and labels every curve with its regime.

Measured: 4 min 12 s on 2 cores of an AMD EPYC (AVX2), 2 min 59 s on 2 cores of an Intel Xeon (AVX-512). On both,
with seed 0, 784-1024-128-10 converges from 0.04 to 0.7, oscillates at 1.6 and diverges from 2 on. ASHA stops 1 and 1.3
too early to tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mnist_tune import UserError, cli, reports
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import TrialOptions
from mnist_tune.tuning.sweep import run_or_resume

NOTEBOOK_RATES = (0.001, 0.1, 1.6, 2.0)
DEFAULT_RATES = (0.001, 0.002, 0.004, 0.01, 0.02, 0.04, 0.1, 0.2, 0.4, 0.7, 1.0, 1.3, 1.6, 2.0, 2.8, 4.0)


@dataclass(frozen=True, kw_only=True)
class LearningRateRegimes(TrialOptions):
    """Train one architecture at many learning rates and say which of them converge, are slow, oscillate or diverge.

    The results go to --output. To print them again: python analysis/summarize.py DIR
    """

    learning_rates: tuple[float, ...] = DEFAULT_RATES
    """Learning rates to compare; by default 16 from 0.001 to 4, denser near the edge, with the notebook's 0.001, 0.1,
    1.6 and 2."""
    seeds: tuple[int, ...] = (0,)
    """One replicate of every learning rate per seed, which sets its initialisation and its batch order."""
    smoke: bool = False
    """Run a tiny but real sweep, to see that everything works: 4 rates, 784-16-10, 3 epochs."""

    def trials(self) -> list[TrialConfig]:
        """Return the trials, those in the middle of the range first.

        ASHA compares later trials with earlier ones, so promising rates go first. Hopeless rates are short, so they go
        last, when some workers are already idle.
        """
        if not self.learning_rates or not self.seeds:
            raise UserError("--learning-rates and --seeds need at least one value each; the list is empty")
        trials = [
            TrialConfig(learning_rate=rate, seed=seed, data_seed=seed, **self.common())
            for rate in dict.fromkeys(self.learning_rates)
            for seed in dict.fromkeys(self.seeds)
        ]
        logs = [math.log(trial.learning_rate) for trial in trials]
        middle = (min(logs) + max(logs)) / 2
        return sorted(trials, key=lambda trial: abs(math.log(trial.learning_rate) - middle))


def main() -> int:
    config = cli.parse(LearningRateRegimes)
    if config.smoke:
        config = replace(config, architecture="mlp-16-tanh", epochs=3, learning_rates=(0.01, 0.1, 1.0, 100.0))
    sweep = run_or_resume("lr_regimes", config.trials, config)
    return reports.print_report(sweep)


if __name__ == "__main__":
    cli.run(main)
