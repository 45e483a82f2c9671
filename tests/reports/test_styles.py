"""The colours and the marks of the regimes: told apart on either ground, by
colour-blind readers, too."""

from itertools import combinations, product

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mnist_tune.reports.styles import COLOURS, MARKERS, SHADES, TERMINAL_COLOURS

PALETTES = {
    ground: {regime: SHADES[regime][i] for regime in COLOURS}
    for i, ground in enumerate(("light", "dark"))
}
GROUNDS = dict(zip(PALETTES, SHADES["bg"], strict=True))

DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
]
"""What such readers see of linear red, green and blue (Machado, Oliveira and Fernandes
2009)."""


def linear(colour):
    return np.array(
        [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in to_rgb(colour)
        ]
    )


def luminance(colour):
    """WCAG's relative luminance."""
    return float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour))


@pytest.mark.parametrize(("ground", "regime"), list(product(PALETTES, COLOURS)))
def test_every_colour_has_the_contrast_of_words(ground, regime):
    low, high = sorted(
        luminance(colour) + 0.05
        for colour in (PALETTES[ground][regime], GROUNDS[ground])
    )
    assert high / low >= 4.5


def seen(colour):
    """CIELAB of what a reader with deuteranopia sees."""
    xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    parts = np.cbrt(
        xyz @ np.clip(DEUTERANOPIA @ linear(colour), 0, 1) / [0.9505, 1, 1.089]
    )
    return np.array(
        [116 * parts[1], 500 * (parts[0] - parts[1]), 200 * (parts[1] - parts[2])]
    )


@pytest.mark.parametrize("palette", PALETTES)
def test_colour_blind_readers_tell_regimes_apart(palette):
    for one, other in combinations(PALETTES[palette], 2):
        assert (
            np.linalg.norm(
                seen(PALETTES[palette][one]) - seen(PALETTES[palette][other])
            )
            > 10
        ), (one, other)


def test_each_regime_has_looks_of_its_own():
    for looks in (*PALETTES.values(), MARKERS, TERMINAL_COLOURS):
        assert looks.keys() == COLOURS.keys()
        assert len(set(looks.values())) == len(looks)
