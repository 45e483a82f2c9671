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
TRIED: tuple[Any, ...] = (
    *NUMBERS,
    True,
    "a",
    "regimes",
    (),
    (0,),
    (0.5,),
    ("a",),
    [1],
    None,
)
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
    *({name: ()} for name in ("architecture", "optimizer", "batch_size", "momentum")),
    *({"trials": count} for count in (100_000, 100_001)),
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
TEXTS = (
    3,
    "0.1",
    "0.01:1:3",
    "1:0.01:5",
    "0.5:2:1",
    "1.05:1.06:6",
    "2:2:3",
    "1:2:100001",
    "0:1:3",
    "1:-1:3",
)
TEXTS += (
    "0.1:inf:3",
    "inf:1:2",
    "0.1:1:0",
    "0.1:1:x",
    "0.1:1",
    "0.1:1:2:3",
    "a",
    "0,1",
    "lanes",
    "0.12345:1:3",
)


def outcome(call, *arguments, **given):
    """Return what a function returns, or with which words it refuses."""
    try:
        return str(call(*arguments, **given))
    except UserError as error:
        return f"refused: {error}"


def test_a_path_may_be_a_text():
    assert RangeTestOptions(picture="a/range.png").picture == Path("a/range.png")
    assert SweepOptions(data_dir="a").data_dir == Path("a")
    assert SweepOptions(output="s3://bucket/a").output == "s3://bucket/a", (
        "a URI is none"
    )


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
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
def test_a_value_of_the_wrong_kind_is_refused_with_what_is_wanted(
    option, value, wanted
):
    with pytest.raises(UserError) as refused:
        SweepOptions(**{option: value})
    assert (
        str(refused.value)
        == f"--{option.replace('_', '-')} can't be {value!r}; give {wanted}"
    )


def test_which_values_options_take():
    """For each option, what is taken, and what its bounds refuse: `_` is the value, `X`
    the option. No others fit."""
    alike, known, lines = defaultdict(list), set(), []
    for kind in (SweepOptions, CrossedOptions, EdgeOptions, DecideOptions):
        for one in fields(kind):
            if (one.name, str(one.type)) in known:
                continue
            known.add((one.name, str(one.type)))
            outcomes = defaultdict(list)
            for value in TRIED:
                said = outcome(kind, **{one.name: value})
                said = (
                    re.sub("got .*", "got _", said).partition("refused: ")[2]
                    if said.startswith("refused")
                    else "taken"
                )
                if "can't be" not in said:  # as most can't
                    outcomes[
                        said.replace(f"--{one.name.replace('_', '-')}", "X")
                    ].append(repr(value))
            told = "; ".join(
                f"{said}: {', '.join(values)}" for said, values in outcomes.items()
            )
            alike[told].append(f"{kind.__name__[:-7]}.{one.name}")
    lines += [f"{', '.join(names)}: {told}" for told, names in alike.items()]
    lines.append(outcome(SweepOptions, lanes=2.5))
    lines += [
        f"{given}: {outcome(lambda **given: SweepOptions(**given).place_to_resume(), **given)}"
        for given in CLASHES
    ]
    lines += [
        f"{given}: {outcome(lambda **given: DecideOptions(**given).trials, **given)}"
        for given in DECIDED
    ]
    lines += [
        f"{given}: {outcome(lambda **given: EdgeOptions(**given).trials, **given)}"
        for given in EDGES
    ]
    lines += [f"{given}: {SweepOptions(**given).measures()}" for given in MEASURED]
    lines += [f"rates of {text!r}: {outcome(rates_of, text)}" for text in TEXTS]
    lines += [f"all rates of {texts}: {outcome(all_rates, texts)}" for texts in SEVERAL]
    assert_kept("values of options", "\n".join(lines) + "\n")
