"""What the flags mean that all sweeps share."""

import math
import re
from collections import defaultdict
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from kept_texts import assert_kept

from mnist_tune import (
    DecideOptions,
    EdgeOptions,
    RangeTestOptions,
    SweepOptions,
    UserError,
)
from mnist_tune.tuning.options import CrossedOptions, all_rates, rates_of

NUMBERS = (-1, 0, 0.99, 1, 1.0, math.inf, math.nan)
TEXTS = ("a", "regimes")
SEVERAL_VALUES = ((), (0,), (0.5,), ("a",), [1])
TRIED: tuple[Any, ...] = (*NUMBERS, True, *TEXTS, *SEVERAL_VALUES, None)
CLASHES: list[dict[str, Any]] = [
    {"resume": "a", "output": "b"},
    {"resume": "a", "output": "a"},
    {"resume": "auto", "output": "b"},
    {"resume": "auto"},
    {"retry_errored": True},
    {"output": "ftp://a/b"},
    {"resume": "s3://a"},
]
EDGES: list[dict[str, Any]] = [
    {"architecture": ()},
    {"optimizer": ()},
    {"batch_size": ()},
    {"momentum": ()},
    {"trials": 100_000},
    {"trials": 100_001},
    {"lanes": 0},
]
MEASURED: list[dict[str, Any]] = [
    {},
    {"sharpness_images": 3},
    {"sharpness": True},
    {"sharpness_every": 7, "sharpness_images": 3},
]
SEVERAL = (("1", 2, "1"), ("1:2:60000", "1:3:60000"))
DECIDED = [{"trials": 3, "at_a_time": 4}, {"trials": 4, "at_a_time": 4}, {"lanes": 0}]
RATES = [
    3,
    *"0.1 0.01:1:3 1:0.01:5 0.5:2:1 1.05:1.06:6 2:2:3 1:2:100001 0:1:3".split(),
    *"1:-1:3 0.1:inf:3 inf:1:2 0.1:1:0 0.1:1:x 0.1:1 0.1:1:2:3 a 0,1".split(),
    *"lanes 0.12345:1:3".split(),
]


def outcome(call, *arguments, **options):
    """Return what a function returns, or with which words it refuses."""
    try:
        return str(call(*arguments, **options))
    except UserError as error:
        return f"refused: {error}"


def test_a_path_may_be_a_text():
    assert RangeTestOptions(picture="a/range.png").picture == Path("a/range.png")
    assert SweepOptions(data_dir="a").data_dir == Path("a")
    # a URI is none
    assert SweepOptions(output="s3://bucket/a").output == "s3://bucket/a"


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("grace_period", "5", "a whole number"),
        ("target", "a", "a number"),
        ("standardize", 1, "True or False"),
        ("scheduler", "hyperband", "regimes, asha or fifo"),
        ("data_dir", 3, "a path"),
        ("output", 3, "text or a path"),
        ("task", (3,), "text, or several"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_what_is_wanted(option, value, kind):
    with pytest.raises(UserError) as refused:
        SweepOptions(**{option: value})
    line = f"{flag_of(option)} can't be {value!r}; give {kind}"
    assert str(refused.value) == line


def flag_of(option):
    return f"--{option.replace('_', '-')}"


def bounds(kind, name):
    """Return which values an option takes, and which its bounds refuse with what
    words, as a text: `_` is the value, `X` the option."""
    values_by_outcome = defaultdict(list)
    for value in TRIED:
        words = outcome(kind, **{name: value})
        if words.startswith("refused: "):
            words = words.removeprefix("refused: ")
            words = re.sub("got .*", "got _", words).replace(flag_of(name), "X")
        else:
            words = "taken"
        values_by_outcome[words].append(repr(value))
    parts = []
    for words, values in values_by_outcome.items():
        if "can't be" not in words:  # as most can't
            parts.append(f"{words}: {', '.join(values)}")
    return "; ".join(parts)


def options_by_bounds():
    """Return the names of the options of all sweeps, by which values they take."""
    names = defaultdict(list)
    seen = set()
    for kind in (SweepOptions, CrossedOptions, EdgeOptions, DecideOptions):
        for option in fields(kind):
            if (option.name, str(option.type)) in seen:
                continue
            seen.add((option.name, str(option.type)))
            name = f"{kind.__name__.removesuffix('Options')}.{option.name}"
            names[bounds(kind, option.name)].append(name)
    return names


def test_which_values_options_take():
    """For each option, what is taken, and what its bounds refuse. No others fit."""
    lines = []
    for text, names in options_by_bounds().items():
        lines.append(f"{', '.join(names)}: {text}")
    lines.append(outcome(SweepOptions, lanes=2.5))
    for options in CLASHES:
        lines.append(f"{options}: {outcome(place_to_resume, options)}")
    for options in DECIDED:
        lines.append(f"{options}: {outcome(trials, DecideOptions, options)}")
    for options in EDGES:
        lines.append(f"{options}: {outcome(trials, EdgeOptions, options)}")
    for options in MEASURED:
        lines.append(f"{options}: {SweepOptions(**options).measures()}")
    for text in RATES:
        lines.append(f"rates of {text!r}: {outcome(rates_of, text)}")
    for texts in SEVERAL:
        lines.append(f"all rates of {texts}: {outcome(all_rates, texts)}")
    assert_kept("values of options", "\n".join(lines) + "\n")


def place_to_resume(options):
    return SweepOptions(**options).place_to_resume()


def trials(kind, options):
    return kind(**options).trials
