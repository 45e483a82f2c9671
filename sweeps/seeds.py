"""How much do seeds matter? Run one configuration with many seeds.

    python sweeps/seeds.py --architecture convnet --seeds 0 1 2 3 4

Reports mean, standard deviation and 95% interval over the seeds.

Measured on 2 cores of a 2.6 GHz Xeon: 19 s per epoch and seed, two seeds at a time. With --epochs 2 the convnet's test
accuracy is 0.981 with a standard deviation of 0.005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from mnist_tune import UserError, cli, reports
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import ARCHITECTURE_HELP, OPTIMIZER_HELP, TrialOptions
from mnist_tune.tuning.sweep import run_or_resume


@dataclass(frozen=True, kw_only=True)
class Seeds(TrialOptions):
    """Train one configuration with several seeds and report mean, standard deviation and 95% interval."""

    scheduler: Literal["regimes", "asha", "fifo"] = "fifo"
    """fifo runs every replicate to its end; regimes stops all replicates of a slow rate; asha favours lucky seeds."""
    architecture: Annotated[str, tyro.conf.arg(help=ARCHITECTURE_HELP)] = "mlp-1024-128-tanh"
    optimizer: Annotated[str, tyro.conf.arg(help=OPTIMIZER_HELP)] = "sgd"
    batch_size: int = 128
    """Images per step."""
    momentum: float = 0.0
    """Momentum of SGD, in [0, 1)."""
    learning_rate: float = 0.06
    """Learning rate of all replicates; by default that of the notebook's convnet."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """One replicate per seed, which sets its initialisation and its batch order."""
    data_seed: int | None = None
    """Use the batch order of this seed for all replicates, so that they differ only in their initialisation."""

    def trials(self) -> list[TrialConfig]:
        if not self.seeds:
            raise UserError("--seeds needs at least one value; the list is empty")
        order = self.data_seed
        return [
            TrialConfig(
                learning_rate=self.learning_rate, seed=seed, data_seed=seed if order is None else order, **self.common()
            )
            for seed in dict.fromkeys(self.seeds)
        ]


def main() -> int:
    config = cli.parse(Seeds)
    sweep = run_or_resume("seeds", config)
    code = reports.print_report(sweep)
    reports.print_replicates(sweep.trials)
    return code


if __name__ == "__main__":
    cli.run(main)
