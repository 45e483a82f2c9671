"""What do the first steps do at each learning rate, in units of the sharpness?

    python sweeps/phase_diagram.py
    python sweeps/phase_diagram.py --initialisation he0 --widths 64 256

Trains ReLU networks of several widths or depths for ten steps at c = learning rate × untrained sharpness, and finds for
each network and seed the c from which the loss rises (c_loss), from which the sharpness rises (c_sharp), and up to
which the loss stays below 100,000 (c_max). On a quadratic, the loss rises from c = 2 on. Draws phase_diagram.png.

It runs as several ordinary sweeps, in folders below --output: one measures the untrained sharpness, one trains at every
c, and a few find c_sharp with the sharpness after every step, each between what the last one left open.

Measured: 8 min on 2 cores of an AMD EPYC (AVX-512). c_loss falls from 12.3 at
width 64 to 2.6 at width 512, c_sharp from 13.0 to 3.5, c_max from 15.5 to 10.0.
"""

from mnist_tune import cli
from mnist_tune.commands.phase_diagram import main

if __name__ == "__main__":
    cli.run(main)
