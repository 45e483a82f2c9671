"""Which of some settings is best, how sure is that, and with how many seeds?"""

from __future__ import annotations

from mnist_tune.decisions.decide import DecideOptions, decide_until_exit
from mnist_tune.reports.terminal import print_report
from mnist_tune.tuning.wanted import asked

ASKED = DecideOptions


def main() -> int:
    return print_report(decide_until_exit(asked(ASKED)))
