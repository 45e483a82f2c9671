"""The numbers that the rules were tuned with, all of them: what each is, and what it rests on (`docs/regimes.md`)."""

TREND_EPOCHS = 3
"""The least number of epochs that can show a trend or a repeated event."""

ENOUGH_EPOCHS = 5
"""The least number of epochs that can show a plateau or slow progress: MNIST's networks reach the target in five epochs
at a third of their best learning rate. A shorter curve is slow only if its pace is hopeless."""

LEARNED = 0.3
"""A network that got this share of what can be learned has learned something; what lost all but this share of it has
collapsed. Where chance is 0.9, a fifth is within the noise of a few hundred images."""

CLEARLY = 1.5
"""A loss that is this many times another is clearly larger. Untrained networks are at 1.0 to 1.3 times the loss of
equally likely classes. The held-out loss of networks that still got better rose by up to a third."""

VISIBLE = 0.015
"""A change of accuracy that a person sees in a curve. The notebook's run at rate 1.6 fell by 0.016, 0.019 and 0.054
from one epoch to the next; its calm runs by less than 0.004."""

OFTEN = 1 / 6
"""A curve oscillates if more than this share of its epochs after the first has an event. Measured: a ninth at rate 1.0
(converged), a third and more at 1.3 and 1.6. Falls of a third of `VISIBLE` must be twice as frequent."""

PATIENCE = 1000
"""Steps (or windows of 128 images, if a step has fewer) that a network may guess above its untrained loss before it
counts as diverged. Runs of mlp-1024-128-tanh at rates from 1 to 2 that came back did so after 20 to 1,300 steps. The
limit counts steps, not epochs, because an epoch may have 30 steps or 500."""

BLOWN_UP = 100
"""A loss of this many times the untrained loss counts as diverged at once, half of it after five epochs at chance. Runs
that recovered peaked at 65 times (177 nats, rate 2)."""

CHANCE_MARGIN = 1 / 20
"""Up to this share of what can be learned, a network counts as guessing. The notebook's diverged networks are between
0.09 and 0.104."""

LEVEL_EXPONENT = 0.32
"""A curve whose error falls more slowly than epochs**-0.32 has levelled off. Measured on curves below the target: 0.19
and 0.28 for networks of 4 and 16 units, 0.37 to 0.43 at small rates."""

LEVEL_SHARE = 0.45
"""A curve that has levelled off gains, in its last third, less than this share of what a straight line would gain. A
power law of exponent 0.2 gains 0.36 of it, one of 0.4 gains 0.28."""

DRIFT = 0.4
"""How far the exponent of a power law drifts, as a share of itself, while the error goes on falling: the standard error
that continuing the fit adds. It makes 80% of the 80% intervals of cut runs hold the epoch."""

FAR = 3
"""A curve that needs this many times the epochs asked for, or those of a faster sibling, is slow."""

NEAR_BEST = 1 / 30
"""If a data set has no target, the target is below the best sibling by this share of what can be learned. MNIST's
target of 0.95 is as far below 0.98, which its best dense networks reach on test images."""
