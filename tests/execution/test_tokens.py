"""Labels of tokens, from arrays to rows: the network of docs/text.md on made-up text,
at once and resumed."""

import math
import re
from dataclasses import replace
from functools import partial
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
LENGTH = 6
CLASSES = 5
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
    block = r"```python\n(# transformer.py\n.*?)```"
    [code] = re.findall(block, PAGE.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    transformer = partial(names["transformer"], width=8, heads=2, layers=1)
    register("tiny")(transformer)
    yield
    del ENTRIES["architecture"]["tiny"]


@pytest.fixture(scope="module")
def dataset():
    """Walks around a circle; some go on by one, others by two, so tokens of an example
    depend on each other."""
    rng = np.random.default_rng(0)
    start = rng.integers(0, CLASSES, (80, 1))
    stride = rng.integers(1, 3, (80, 1))
    walks = (start + stride * np.arange(LENGTH + 1)) % CLASSES
    x = walks[:, :-1]
    y = walks[:, 1:]
    return load_dataset((x[:64], y[:64], x[64:], y[64:]))


def without_seconds(row):
    return {
        name: value
        for name, value in row.report().items()
        if name not in SECONDS and "sharpness" not in name
    }


def test_the_description_has_a_label_for_each_token(dataset):
    spec = dataset.spec
    assert spec.shape == (LENGTH,)
    assert spec.positions == LENGTH
    assert spec.classes == CLASSES
    assert (spec.train_images, spec.test_images) == (64, 16)
    assert spec.divisor == 1
    assert sum(spec.label_counts) == 64 * LENGTH


def pairs(data):
    """A table of logits: what follows a token."""

    def init(key):
        return jax.random.normal(key, (CLASSES, CLASSES))

    def apply(params, x):
        return params[x]

    return Network(init, apply)


@pytest.mark.usefixtures("as_users_have_it")
def test_an_evaluation_is_the_mean_over_tokens_and_knows_how_examples_differ(dataset):
    register("pairs")(pairs)
    program = Program.of(replace(CONFIG, architecture="pairs"), dataset.spec)
    params, _ = initial(program.task, 0)
    x = dataset.train_images
    y = dataset.train_labels
    logits = params[x].astype(np.float64)
    of_labels = np.take_along_axis(logits, y[..., None], -1)[..., 0]
    losses = np.log(np.exp(logits).sum(-1)) - of_labels
    shares = (logits.argmax(-1) == y).mean(1)
    # 40 examples, from that of index 3 on
    part = np.array([3, 40], np.int32)
    _, sums = jax.jit(program.evaluate)(TrainState(params, ()), (x, y), part)
    loss_sum = losses[3:43].mean(1).sum()
    share_sum = shares[3:43].sum()
    square_sum = (shares[3:43] ** 2).sum()
    np.testing.assert_allclose(sums["loss"][0], loss_sum, rtol=1e-5)
    np.testing.assert_allclose(sums["accuracy"], (share_sum, square_sum), rtol=1e-5)
    batch = np.arange(16, dtype=np.int32)
    loss = jax.jit(program.batch_loss)(params, (), (x, y), batch, np.int32(0))
    np.testing.assert_allclose(loss, losses[:16].mean(), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_have_it")
def test_the_network_of_the_docs_trains_and_a_killed_trial_goes_on_bit_for_bit(dataset):
    alone = LanePool(dataset, sharpness=SharpnessSettings())
    resumed = LanePool(dataset)
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
    line = (
        "arrays has a label for each token, and tokens have no scale; drop --standard"
    )
    with pytest.raises(UserError, match=line):
        load_dataset((dataset.train_images, dataset.train_labels), standardize=True)
