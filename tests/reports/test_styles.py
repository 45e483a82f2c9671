"""The colours and the marks of the regimes: seen on either ground, and the same everywhere."""

from itertools import product

import pytest
from matplotlib.colors import to_rgb

from mnist_tune.reports.styles import COLOURS, GROUNDS, MARKERS, MEANINGS, OUTLINES, PAGE_MARKERS


def luminance(colour):
    """WCAG's relative luminance."""
    light = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), light, strict=True))


@pytest.mark.parametrize(("regime", "ground"), list(product(COLOURS, GROUNDS)))
def test_every_colour_has_a_contrast_of_three(regime, ground):
    low, high = sorted(luminance(colour) + 0.05 for colour in (COLOURS[regime], GROUNDS[ground]))
    assert high / low >= 3


def test_each_regime_has_a_meaning_and_one_shape_in_pictures_and_on_the_page():
    assert {regime: said.partition(":")[0].lower() for regime, said in MEANINGS.items()} == {
        name: name for name in COLOURS
    }
    matplotlibs = {"circle": "o", "triangle": "^", "diamond": "D", "x": "X", "square": "s", "plus": "P"}
    matplotlibs["inverted_triangle"] = "v"
    assert {regime: matplotlibs[shape] for regime, shape in PAGE_MARKERS.items()} == MARKERS
    assert OUTLINES.keys() == COLOURS.keys()
    assert len(set(OUTLINES.values())) == len(OUTLINES)
    assert len(set(COLOURS.values())) == len(COLOURS)
