"""The config of a trial: its checks, and its round trip through JSON."""

import json
import math
import sys
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_texts import assert_kept

from mnist_tune import TrialConfig, UserError
from mnist_tune.columns import LARGEST

LARGEST_SEED = 2**32 - 1

NOT_NUMBERS = [True, "0.5", None, [0.5], 1 + 0j]
NOT_FINITE = [math.nan, math.inf]
NOT_WHOLE = [True, "2", None, 2.0, *NOT_FINITE]
NOT_FLAGS = [None, "no", 1, 0.0]
NO_SEED = [-1, LARGEST_SEED + 1, *NOT_WHOLE]

BAD: dict[str, list[object]] = {}
"""For each field, values that it refuses."""
BAD["architecture"] = [None, 3, b"convnet"]
BAD["label"] = [None, 3, b"slow"]
NO_RATE = [-1, 0, -0.0, *NOT_FINITE, -math.inf, 10**400]
BAD["learning_rate"] = [*NO_RATE, *NOT_NUMBERS]
BAD["momentum"] = [-1e-9, 1, 1.5, *NOT_FINITE, *NOT_NUMBERS]
BAD["nesterov"] = NOT_FLAGS
BAD["drop_last"] = NOT_FLAGS
BAD["batch_size"] = [0, -128, *NOT_WHOLE]
BAD["epochs"] = [0, -1, *NOT_WHOLE]
BAD["reports"] = [0, -1, *NOT_WHOLE]
BAD["label_noise"] = [-1, *NOT_WHOLE]
BAD["holdout"] = [-1, *filter(None, NOT_WHOLE)]
BAD["seed"] = NO_SEED
BAD["data_seed"] = NO_SEED
BAD["stop_when_diverged"] = NOT_FLAGS
BAD["optimizer"] = [None, 1]
BAD["weight_decay"] = [-0.1, *NOT_FINITE, "1", None]
BAD["clip_norm"] = [-1, math.inf, None]
BAD["schedule"] = ["cos", None, 1]
BAD["warmup_steps"] = [-1, *NOT_WHOLE]
BAD["loss"] = ["l2", None, 1]

POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
COUNTS = st.integers(1, 10**9)
IMAGES = st.integers(0, 60_000)
SEEDS = st.integers(0, LARGEST_SEED)
CONFIGS = st.builds(
    TrialConfig,
    architecture=st.text(),
    label=st.text(),
    learning_rate=POSITIVE | st.integers(1, LARGEST),
    momentum=st.floats(0, 1, exclude_max=True, exclude_min=True),
    nesterov=st.booleans(),
    drop_last=st.booleans(),
    batch_size=COUNTS,
    epochs=COUNTS,
    reports=COUNTS,
    label_noise=IMAGES,
    holdout=st.none() | IMAGES,
    seed=SEEDS,
    data_seed=SEEDS,
    stop_when_diverged=st.booleans(),
)


def test_every_field_is_checked():
    assert set(BAD) == {field.name for field in fields(TrialConfig)}


def refusal(**values):
    with pytest.raises(UserError) as refused:
        TrialConfig(**values)
    return str(refused.value)


REFUSED_TOGETHER: list[dict[str, Any]] = [
    {"nesterov": True},
    {"optimizer": "rmsprop", "momentum": 0.9},
    {"optimizer": " adam (b1=0.8)", "momentum": 0.9},
    {"optimizer": "adam", "nesterov": True},
    {"optimizer": "adamw"},
    {"optimizer": "adamw(b1=0.8)"},
    {"learning_rate": np.array([0.5])},
    {"label": "x" * 16_385},
]


def test_what_is_refused_of_a_trial():
    lines = []
    for name, values in BAD.items():
        sentences = set()
        for value in values:
            sentence, _, got = refusal(**{name: value}).rpartition(", got ")
            assert got == repr(value)
            sentences.add(sentence)
        lines += sorted(sentences)
    for values in REFUSED_TOGETHER:
        lines.append(f"{values!s:.80}: {refusal(**values)}")
    assert_kept("refused of a trial", "".join(f"{line[:200]}\n" for line in lines))


TAKEN_TOGETHER: list[dict[str, Any]] = [
    {"nesterov": True, "momentum": 0.9},
    {"optimizer": "rmsprop(momentum=0.9)"},
    {"optimizer": "sgd(accumulator_dtype='float32')", "momentum": 0.9},
    {"optimizer": "adamw", "weight_decay": 0.01},
    {"optimizer": "lion"},
    {"label": "x" * 16_384},
]


@pytest.mark.parametrize("values", TAKEN_TOGETHER)
def test_what_goes_together(values):
    config = TrialConfig(**values)
    assert vars(config).items() >= values.items()


ENDS_OF_RANGES = [
    ("learning_rate", 5e-324),
    ("weight_decay", sys.float_info.max),
    ("momentum", 0),
    ("momentum", 1 - 1e-16),
    ("seed", LARGEST_SEED),
    ("data_seed", LARGEST_SEED),
    ("batch_size", 1),
    ("epochs", 1),
    ("label_noise", 0),
    ("holdout", 0),
]


@pytest.mark.parametrize(("name", "value"), ENDS_OF_RANGES)
def test_ends_of_the_ranges_are_allowed(name, value):
    config = TrialConfig(**{name: value})
    assert getattr(config, name) == value


def test_whole_numbers_become_the_floats_that_are_trained_with():
    config = TrialConfig(learning_rate=1, momentum=0, weight_decay=1, clip_norm=2)
    rates = config.learning_rate, config.momentum
    limits = config.weight_decay, config.clip_norm
    assert rates == (1, 0)
    assert limits == (1, 2)
    assert {type(value) for value in rates + limits} == {float}


@given(CONFIGS)
@settings(max_examples=20)
def test_json_round_trip(config):
    values = json.loads(json.dumps(config.to_dict()))
    assert TrialConfig(**values) == config
    assert list(values) == [field.name for field in fields(TrialConfig)]


@pytest.mark.parametrize(
    ("images", "steps", "whole"),
    [(1, 1, 0), (127, 1, 0), (128, 1, 1), (129, 2, 1), (255, 2, 1), (60_000, 469, 468)],
)
def test_the_steps_of_an_epoch(images, steps, whole):
    assert TrialConfig().steps(images) == steps
    assert TrialConfig(drop_last=True).steps(images) == whole


@pytest.mark.parametrize("key", ["learning_rte", "learningrate", "learning-rate"])
def test_an_unknown_key_names_the_closest(key):
    line = f"^TrialConfig has no field '{key}'; did you mean 'learning_rate'\\?$"
    with pytest.raises(UserError, match=line):
        TrialConfig(**{"epochs": 1, key: 0.1})


@pytest.mark.parametrize("key", ["xyz", "cls"])
def test_an_unknown_key_close_to_none_lists_all(key):
    line = rf"no field '{key}'; known are epochs, .*, architecture, .*, label"
    with pytest.raises(UserError, match=line):
        TrialConfig(**{key: 1})


def test_a_number_of_numpy_is_a_number():
    trial = TrialConfig(
        learning_rate=np.float32(0.5),
        seed=np.int64(3),
        nesterov=np.bool_(True),
        momentum=np.array(0.9),
    )
    assert trial == TrialConfig(learning_rate=0.5, seed=3, nesterov=True, momentum=0.9)
    assert json.loads(json.dumps(trial.to_dict()))["seed"] == 3


@pytest.mark.parametrize(
    ("epoch", "diverged", "stops", "reason"),
    [
        (1, False, True, ""),
        (3, False, True, "completed"),
        (1, True, True, "diverged"),
        (3, True, True, "diverged"),
        (1, True, False, ""),
        (3, True, False, "completed"),
    ],
)
def test_a_trial_ends_itself_after_its_epochs_or_once_it_has_diverged(
    epoch, diverged, stops, reason
):
    config = TrialConfig(epochs=3, stop_when_diverged=stops)
    assert config.stop_reason(epoch, diverged) == reason
