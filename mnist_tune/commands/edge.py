"""How large may the learning rate be? Find the rates at which 90, 50 and 10% of seeds learn, with intervals."""

from __future__ import annotations

from mnist_tune import EdgeOptions
from mnist_tune.edge.search import search_edge
from mnist_tune.reports.terminal import print_report
from mnist_tune.tuning.wanted import asked

ASKED = EdgeOptions


def main() -> int:
    sweep = search_edge(asked(ASKED))
    code = print_report(sweep, picture=True)
    if sweep.edges():
        sweep.plot(sweep.picture("edge.png"))
        print(f"Picture: {sweep.picture('edge.png')}")
    return code
