"""How large may the learning rate be? Find the rates at which 90, 50 and 10% of seeds
learn, with intervals."""

from __future__ import annotations

from mnist_tune.continuation import resumable
from mnist_tune.edge.search import EdgeOptions, search_edge
from mnist_tune.reports.terminal import print_report, print_result
from mnist_tune.tuning.resuming import command_options

OPTIONS, run = EdgeOptions, search_edge


def main() -> int:
    return finish(command_options(OPTIONS))


def finish(options: EdgeOptions) -> int:
    """Train what is left, and print the edges."""
    sweep = search_edge(options)
    if options.json:
        return print_result(sweep, options.json)
    with resumable(sweep.record, sweep.path):
        code = print_report(sweep, picture=True)
        if sweep.edges():
            sweep.plot(sweep.picture("edge.png"))
            print(f"Picture: {sweep.picture('edge.png')}")
    return code
