"""Which predictor of the largest learning rate may be trusted, for which networks, and within what factor?"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from mnist_tune import EdgeOptions, TrialConfig, reports
from mnist_tune.edge.search import search_edge
from mnist_tune.regimes.predictor_factors import factors
from mnist_tune.reports.predictors import print_factors
from mnist_tune.tuning.wanted import asked

OWN = Path(__file__).parents[2] / "benchmarks" / "unseen_networks.py"
"""One's own network, in a file that the package knows nothing of. A clone has it, an installed package does not."""

NETWORKS = (
    "mlp-16-tanh",
    "mlp-256-tanh",
    "mlp-64-relu",
    "mlp-64-relu-glorot",
    "mlp-64-64-64-relu-glorot",
    "mlp-256-256-gelu-glorot",
    "convnet",
    *[f"{os.path.relpath(OWN)}:residual"] * OWN.exists(),
)

ALSO = ({"momentum": 0.9}, {"optimizer": "adam"})
"""What the first of `ALSO_OF` is trained with, too."""
ALSO_OF = "mlp-64-relu-glorot"


@dataclass(frozen=True, kw_only=True)
class Predictors(EdgeOptions):
    """Measure the edges of networks, and print how far off predictors are."""

    architecture: tuple[str, ...] = NETWORKS
    train_images: int | None = 12_000
    """Train on so many images, so that the command ends soon; an edge is found from few epochs."""
    precision: float = 0.1
    trials: int = 32
    predictor_seeds: int = 3

    def templates(self) -> list[TrialConfig]:
        """Return a trial of each edge: of every network, and of one with momentum and with Adam."""
        plain = super().templates()
        of = next((one for one in plain if one.architecture == ALSO_OF), plain[0])
        return [*plain, *(replace(of, **changed) for changed in ALSO)]


ASKED = Predictors


def main() -> int:
    sweep = search_edge(asked(ASKED))
    code = reports.print_report(sweep, picture=True)
    if edges := sweep.edges():
        reports.plot_edges(edges, sweep.picture("edge.png"))
        print_factors(edges)
        factors(edges).to_csv(sweep.picture("predictors.csv"), index=False)
        print(f"Pictures: {sweep.picture('edge.png')}; table: {sweep.picture('predictors.csv')}")
    return code
