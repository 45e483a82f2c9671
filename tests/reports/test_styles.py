"""The colours and the marks of the regimes: told apart on either ground, by
colour-blind readers, too."""

from itertools import combinations, product

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mnist_tune.reports.styles import COLOURS, MARKERS, SHADES, TERMINAL_COLOURS

LIGHT = {regime: SHADES[regime][0] for regime in COLOURS}
DARK = {regime: SHADES[regime][1] for regime in COLOURS}
PALETTES = {"light": LIGHT, "dark": DARK}
GROUNDS = dict(zip(PALETTES, SHADES["bg"], strict=True))

DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
]
"""What such readers see of linear red, green and blue (Machado, Oliveira and Fernandes
2009)."""


def linear(colour):
    """Linear red, green and blue, from those of sRGB."""
    parts = np.array(to_rgb(colour))
    near_black = parts / 12.92
    brighter = ((parts + 0.055) / 1.055) ** 2.4
    return np.where(parts <= 0.04045, near_black, brighter)


def luminance(colour):
    """WCAG's relative luminance."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    return float(weights @ linear(colour))


@pytest.mark.parametrize(("ground", "regime"), list(product(PALETTES, COLOURS)))
def test_every_colour_has_the_contrast_of_words(ground, regime):
    colours = (PALETTES[ground][regime], GROUNDS[ground])
    low, high = sorted(luminance(colour) + 0.05 for colour in colours)
    assert high / low >= 4.5


XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
"""CIE's XYZ of linear red, green and blue."""
WHITE = [0.9505, 1, 1.089]


def seen(colour):
    """CIELAB of what a reader with deuteranopia sees."""
    light = np.clip(DEUTERANOPIA @ linear(colour), 0, 1)
    x, y, z = np.cbrt(XYZ @ light / WHITE)
    return np.array([116 * y, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("palette", PALETTES)
def test_colour_blind_readers_tell_regimes_apart(palette):
    looks = {regime: seen(colour) for regime, colour in PALETTES[palette].items()}
    for regime, other in combinations(looks, 2):
        distance = np.linalg.norm(looks[regime] - looks[other])
        assert distance > 10, (regime, other)


def test_each_regime_has_looks_of_its_own():
    for looks in (*PALETTES.values(), MARKERS, TERMINAL_COLOURS):
        assert looks.keys() == COLOURS.keys()
        assert len(set(looks.values())) == len(looks)
