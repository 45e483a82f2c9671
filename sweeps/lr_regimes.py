"""Which learning rates converge, crawl, oscillate, blow up?

    python sweeps/lr_regimes.py

Trains one architecture at many learning rates under Ray Tune and labels every curve with its regime.

Measured on 2 cores of an AMD EPYC (AVX2): 4 min 12 s, of an Intel Xeon (AVX-512): 2 min 59 s. On both,
784-1024-128-10 converges from 0.04 to 0.7, oscillates at 1.6, diverges from 2 on (seed 0); ASHA stops 1 and 1.3 before
they can tell.
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
    """Trains one architecture at many learning rates and says which of them converge, crawl, oscillate or diverge.

    Results go to --output; see them again with: python analysis/summarize.py DIR
    """

    learning_rates: tuple[float, ...] = DEFAULT_RATES
    """Learning rates to compare; by default log-spaced from 0.001 to 4, denser near the edge, with the
    notebook's 0.001, 0.1, 1.6 and 2."""
    seeds: tuple[int, ...] = (0,)
    """Replicates of every learning rate: each seeds its initialisation and its batch order."""
    smoke: bool = False
    """A tiny true sweep, to see that everything works: 4 rates, 784-16-10, 3 epochs."""

    def trials(self) -> list[TrialConfig]:
        """From the middle of the range outwards: promising rates set the pace that ASHA holds the others to, and
        the short, hopeless ones fill the end, when workers would wait."""
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
