"""The ten numbers that decide a label.

With each number stands the range in which the labels of the 436 curves of
`docs/labels.md` do not change by more than one in a hundred.
"""

TREND = 3
"""The least number of epochs that show a trend, and over which a curve settles (2 to
3)."""

PLATEAU = 5
"""The least number of epochs that show a plateau or slow progress (4 to 6)."""

LEARNED = 0.3
"""A network that got this share of what can be learned has learned something (0.2 to
0.5)."""

CLEARLY = 1.5
"""A loss that is this many times another is clearly larger (1.3 to 2)."""

VISIBLE = 0.015
"""A change of accuracy that a person sees in a curve (0.01 to 0.025)."""

OFTEN = 1 / 6
"""The share of late epochs with a spike or a drop above which a curve oscillates (0.13
to 0.2)."""

HALF = 1 / 2
"""The late part of a curve. It has levelled off if its pace there is below this share
of its mean pace (0.4 to 0.6)."""

LEVEL = 0.32
"""The error of a curve that levels off falls more slowly than `epochs**-0.32` (0.25 to
0.4)."""

FAR = 3
"""Far more: of the epochs asked for, of a faster sibling's epochs, and of the depth of
a fall that is visible by itself (2.5 to 5)."""

NEAR_BEST = 1 / 30
"""A target that follows from the best sibling is below it by this share of what can be
learned (0.025 to 0.07)."""
