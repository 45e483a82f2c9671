"""Do we get the notebook's numbers? Run its eight experiments and compare them with its
printed tables.

    python sweeps/notebook.py
    python sweeps/notebook.py --epochs 1 --seeds 1

Prints a table and a verdict for each experiment (exact, statistical, differs or
undecided), and draws notebook.png. The outcome of a run of oscillates (learning rate
1.6) or diverges (2.0) depends on rounding, so it differs between processors. These two
are judged by the outcomes of many seeds.

docs/notebook.md has what came out, with its record.
"""

import sys
from pathlib import Path

from mnist_tune import cli

# The clone's `validation` is found also where the package was installed without it.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from validation.notebook import main

if __name__ == "__main__":
    cli.run(main)
