"""The colours of the regimes: seen on either ground."""

from itertools import product

import pytest
from matplotlib.colors import to_rgb

from mnist_tune.reports.styles import COLOURS, GROUNDS


def luminance(colour):
    """WCAG's relative luminance."""
    light = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), light, strict=True))


@pytest.mark.parametrize(("regime", "ground"), list(product(COLOURS, GROUNDS)))
def test_every_colour_has_a_contrast_of_three(regime, ground):
    low, high = sorted(luminance(colour) + 0.05 for colour in (COLOURS[regime], GROUNDS[ground]))
    assert high / low >= 3
