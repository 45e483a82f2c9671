"""Do we get the notebook's numbers? Run its eight experiments and compare them with its printed tables.

    python sweeps/notebook.py
    python sweeps/notebook.py --only converges slow underfit overfit --epochs 10
    python sweeps/notebook.py --only oscillates diverges

Prints a table and a verdict for each experiment (exact, statistical, differs or undecided), and draws notebook.png.
The outcome of a run of oscillates (learning rate 1.6) or diverges (2.0) depends on rounding, so it differs between
processors. These two are judged by the outcomes of many seeds.

Measured: 49 min on 2 shared cores of an Intel Xeon (AVX-512), of which the convnet's ten runs took 30. converges, slow,
underfit and overfit are exact, the others statistical. At 1.6, 7 of 21 seeds oscillate and 14 diverge; at 2.0, 5 of 6
diverge and one oscillates. Without the convnet, with --epochs 12 --seeds 0: 4 min 34 s on a 2.6 GHz Xeon.
"""

from mnist_tune import cli
from mnist_tune.commands.notebook import main

if __name__ == "__main__":
    cli.run(main)
