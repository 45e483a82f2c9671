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
NOT_WHOLE = [True, "2", None, 2.0, math.nan, math.inf]
BAD: dict[str, list[object]] = {
    "architecture": [None, 3, b"convnet"],
    "label": [None, 3, b"slow"],
    "learning_rate": [
        -1,
        0,
        -0.0,
        math.nan,
        math.inf,
        -math.inf,
        10**400,
        *NOT_NUMBERS,
    ],
    "momentum": [-1e-9, 1, 1.5, math.nan, math.inf, *NOT_NUMBERS],
    "nesterov": [None, "no", 1, 0.0],
    "drop_last": [None, "no", 1, 0.0],
    "batch_size": [0, -128, *NOT_WHOLE],
    "epochs": [0, -1, *NOT_WHOLE],
    "label_noise": [-1, *NOT_WHOLE],
    "holdout": [-1, *filter(None, NOT_WHOLE)],
    "seed": [-1, LARGEST_SEED + 1, *NOT_WHOLE],
    "data_seed": [-1, LARGEST_SEED + 1, *NOT_WHOLE],
    "stop_when_diverged": [None, "no", 1, 0.0],
    "optimizer": [None, 1],
    "weight_decay": [-0.1, math.nan, math.inf, "1", None],
    "clip_norm": [-1, math.inf, None],
    "schedule": ["cos", None, 1],
    "warmup_steps": [-1, *NOT_WHOLE],
    "loss": ["l2", None, 1],
}

CONFIGS = st.builds(
    TrialConfig,
    architecture=st.text(),
    label=st.text(),
    learning_rate=st.floats(0, exclude_min=True, allow_infinity=False)
    | st.integers(1, LARGEST),
    momentum=st.floats(0, 1, exclude_max=True, exclude_min=True),
    nesterov=st.booleans(),
    drop_last=st.booleans(),
    batch_size=st.integers(1, 10**9),
    epochs=st.integers(1, 10**9),
    label_noise=st.integers(0, 60_000),
    holdout=st.none() | st.integers(0, 60_000),
    seed=st.integers(0, LARGEST_SEED),
    data_seed=st.integers(0, LARGEST_SEED),
    stop_when_diverged=st.booleans(),
)


def test_every_field_is_checked():
    assert set(BAD) == {field.name for field in fields(TrialConfig)}


def refusal(**values):
    with pytest.raises(UserError) as refused:
        TrialConfig(**values)
    return str(refused.value)


TOGETHER: list[dict[str, Any]] = [
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
        said = [refusal(**{name: value}).rpartition(", got ") for value in values]
        assert [got for _, _, got in said] == [repr(value) for value in values]
        lines += sorted({sentence for sentence, _, _ in said})
    lines += [f"{values!s:.80}: {refusal(**values)}" for values in TOGETHER]
    assert_kept("refused of a trial", "".join(f"{line[:200]}\n" for line in lines))


@pytest.mark.parametrize(
    "values",
    [
        {"nesterov": True, "momentum": 0.9},
        {"optimizer": "rmsprop(momentum=0.9)"},
        {"optimizer": "sgd(accumulator_dtype='float32')", "momentum": 0.9},
        {"optimizer": "adamw", "weight_decay": 0.01},
        {"optimizer": "lion"},
        {"label": "x" * 16_384},
    ],
)
def test_what_goes_together(values):
    assert vars(TrialConfig(**values)).items() >= values.items()


@pytest.mark.parametrize(
    ("name", "value"),
    [
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
    ],
)
def test_ends_of_the_ranges_are_allowed(name, value):
    assert getattr(TrialConfig(**{name: value}), name) == value


def test_whole_numbers_become_the_floats_that_are_trained_with():
    config = TrialConfig(learning_rate=1, momentum=0, weight_decay=1, clip_norm=2)
    values = (
        config.learning_rate,
        config.momentum,
        config.weight_decay,
        config.clip_norm,
    )
    assert values == (1, 0, 1, 2)
    assert {type(value) for value in values} == {float}


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
    with pytest.raises(
        UserError,
        match=f"^TrialConfig has no field '{key}'; did you mean 'learning_rate'\\?$",
    ):
        TrialConfig(**{"epochs": 1, key: 0.1})


@pytest.mark.parametrize("key", ["xyz", "cls"])
def test_an_unknown_key_close_to_none_lists_all(key):
    with pytest.raises(
        UserError,
        match=rf"no field '{key}'; known are epochs, .*, architecture, .*, label",
    ):
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
    assert (
        TrialConfig(epochs=3, stop_when_diverged=stops).stop_reason(epoch, diverged)
        == reason
    )
