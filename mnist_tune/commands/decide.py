"""Which of some settings is best, how sure is that, and with how many seeds?"""

from __future__ import annotations

from mnist_tune.decisions.decide import DecideOptions, decide_between
from mnist_tune.reports.terminal import print_result
from mnist_tune.tuning.resuming import command_options

OPTIONS, run = DecideOptions, decide_between


def main() -> int:
    return finish(command_options(OPTIONS))


def finish(options: DecideOptions) -> int:
    """Train what is left, and print the decision."""
    return print_result(decide_between(options), options.json)
