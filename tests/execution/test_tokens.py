"""Labels of tokens, from arrays to rows: the network of docs/text.md on made-up text,
at once and resumed."""

import math
import re
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from mnist_tune import UserError
from mnist_tune.data.dataset import load_dataset
from mnist_tune.execution.pool import LanePool
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.own_code.registry import ENTRIES, register
from mnist_tune.training.networks import initial
from mnist_tune.training.program import Program, TrainState
from mnist_tune.training.task import Network
from mnist_tune.trial import TrialConfig

PAGE = Path(__file__).parents[2] / "docs" / "text.md"
LENGTH, CLASSES = 6, 5
CONFIG = TrialConfig(
    architecture="tiny", learning_rate=0.1, momentum=0.9, batch_size=16, epochs=3
)
SECONDS = (
    "compile_s",
    "train_s",
    "eval_s",
    "batch_s",
    "wait_s",
    "ended_at",
    "lanes",
    "fill",
)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    names = {}
    [block] = re.findall(
        r"```python\n(# transformer.py\n.*?)```", PAGE.read_text(), re.DOTALL
    )
    exec(block, names)
    register("tiny")(
        lambda data: names["transformer"](data, width=8, heads=2, layers=1)
    )
    yield
    del ENTRIES["architecture"]["tiny"]


@pytest.fixture(scope="module")
def dataset():
    """Walks around a circle; some go on by one, others by two, so tokens of an example
    depend on each other."""
    rng = np.random.default_rng(0)
    rows = (
        rng.integers(0, CLASSES, (80, 1))
        + np.arange(LENGTH + 1) * rng.integers(1, 3, (80, 1))
    ) % CLASSES
    x, y = rows[:, :-1], rows[:, 1:]
    return load_dataset((x[:64], y[:64], x[64:], y[64:]))


def without_seconds(row):
    return {
        name: value
        for name, value in row.report().items()
        if name not in SECONDS and "sharpness" not in name
    }


def test_the_description_has_a_label_for_each_token(dataset):
    spec = dataset.spec
    assert (spec.shape, spec.positions, spec.classes) == ((LENGTH,), LENGTH, CLASSES)
    assert (spec.train_images, spec.test_images, spec.divisor) == (64, 16, 1)
    assert sum(spec.label_counts) == 64 * LENGTH


@pytest.mark.usefixtures("as_users_have_it")
def test_an_evaluation_is_the_mean_over_tokens_and_knows_how_examples_differ(dataset):
    register("pairs")(
        lambda data: Network(
            lambda key: jax.random.normal(key, (CLASSES, CLASSES)), lambda w, x: w[x]
        )
    )
    program = Program.of(replace(CONFIG, architecture="pairs"), dataset.spec)
    params, _ = initial(program.task, 0)
    x, y = dataset.train_images, dataset.train_labels
    logits = params[x].astype(np.float64)
    losses = (
        np.log(np.exp(logits).sum(-1))
        - np.take_along_axis(logits, y[..., None], -1)[..., 0]
    )
    shares = (logits.argmax(-1) == y).mean(1)
    _, sums = jax.jit(program.evaluate)(
        TrainState(params, ()), (x, y), np.array([3, 40], np.int32)
    )
    found = sums["loss"][0], *sums["accuracy"]
    inside = slice(3, 43)
    expected = (
        losses[inside].mean(1).sum(),
        shares[inside].sum(),
        (shares[inside] ** 2).sum(),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    loss = jax.jit(program.batch_loss)(
        params, (), (x, y), np.arange(16, dtype=np.int32), np.int32(0)
    )
    np.testing.assert_allclose(loss, losses[:16].mean(), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_have_it")
def test_the_network_of_the_docs_trains_and_a_killed_trial_goes_on_bit_for_bit(dataset):
    alone, resumed = LanePool(dataset, sharpness=SharpnessSettings()), LanePool(dataset)
    alone.attach("a", CONFIG)
    rows = [alone.run(["a"])["a"]]
    saved = alone.checkpoint("a")
    rows += [alone.run(["a"])["a"] for _ in range(2)]
    resumed.attach("a", CONFIG, saved)
    for row in rows[1:]:
        assert without_seconds(resumed.run(["a"])["a"]) == without_seconds(row)
    for row in rows:
        assert row.sharpness > 0
        assert math.isfinite(row.batch_sharpness)
    assert rows[0].untrained_loss > rows[1].train_loss > rows[2].train_loss
    assert all(1 <= row.answers <= LENGTH for row in rows)


def test_tokens_are_not_standardised(dataset):
    with pytest.raises(
        UserError,
        match="arrays has a label for each token, and tokens have no scale; drop --standard",
    ):
        load_dataset((dataset.train_images, dataset.train_labels), standardize=True)
