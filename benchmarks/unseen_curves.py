"""Are the labels right on curves that nobody looked at? Train a set of them, for a person to label before the rules do.

    python benchmarks/unseen_curves.py --output tests/regimes --set 1

It trains the sweeps of `SETS` and writes `unseen_<set>_trials.csv` and `unseen_<set>_epochs.csv`, without any label.
`docs/regimes.md` says how the labels were given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from mnist_tune import SweepOptions, TrialConfig, cli, run_sweep
from mnist_tune.columns import EPOCHS
from mnist_tune.own_code.loading import load_own

NETWORKS = Path(__file__).with_name("unseen_networks.py")
CURVE = [column.name for column in EPOCHS if column.curve]


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

    def trials(self) -> list[TrialConfig]:
        shared: dict[str, Any] = {"architecture": f"{NETWORKS}:{self.network}", "epochs": self.epochs} | self.config
        return [TrialConfig(learning_rate=rate, **shared) for rate in self.rates]


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
}


@dataclass(frozen=True)
class UnseenCurves:
    """Train a set of sweeps."""

    output: Path
    """Folder for the tables and the pictures."""
    set: int = 1
    """Number of the set."""


def run(case: Case, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train a sweep. Return its trials and epochs without the labels."""
    load_own({"architecture": f"{NETWORKS}:{case.network}"})
    options = SweepOptions(dataset=case.data(), scheduler="fifo", target=case.target, output=folder, quiet=True)
    sweep = run_sweep(case.name, case.trials(), options)
    meta = sweep.meta["dataset"]
    facts = {
        "dataset": meta["name"],
        "label_counts": " ".join(map(str, meta["label_counts"])),
        "test_images": meta["test_images"],
        "target": case.target,
    }
    kept = [
        "trial_id",
        "learning_rate",
        "seed",
        "optimizer",
        "momentum",
        "batch_size",
        "loss",
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
    for case in SETS[config.set]:
        with TemporaryDirectory(prefix="unseen-") as name:
            parts.append(run(case, Path(name) / "sweep"))
            print(case.name, len(parts[-1][0]), flush=True)
    for name, tables in zip(("trials", "epochs"), zip(*parts, strict=True), strict=True):
        pd.concat(tables).to_csv(config.output / f"unseen_{config.set}_{name}.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    cli.run(main)
