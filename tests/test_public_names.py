"""What `import mnist_tune` offers."""

import inspect
from dataclasses import fields

import pytest

import mnist_tune
from mnist_tune import (
    DecideOptions,
    EdgeOptions,
    RangeTestOptions,
    SweepOptions,
    TrialConfig,
    UserError,
    run_sweep,
)
from mnist_tune.own_code.registry import ENTRIES


@pytest.mark.parametrize("name", mnist_tune.__all__)
def test_each_public_name_is_there(name):
    assert getattr(mnist_tune, name).__name__ == name


def test_notebooks_complete_each_public_name():
    names = set(dir(mnist_tune))
    assert names >= {"run_sweep", "load_sweep", "TrialConfig"}
    assert names == set(mnist_tune.__all__)


@pytest.mark.parametrize(
    "kind", [TrialConfig, SweepOptions, EdgeOptions, DecideOptions, RangeTestOptions]
)
def test_a_signature_names_each_field_and_no_other_is_taken(kind):
    parameters = list(inspect.signature(kind).parameters)
    assert parameters == [field.name for field in fields(kind)]
    unknown = rf"^{kind.__name__} has no field 'wrongly'; known are "
    with pytest.raises(UserError, match=unknown):
        kind(wrongly=1)
    by_place = f"^{kind.__name__} takes its values by name: "
    with pytest.raises(UserError, match=by_place):
        kind(1)


@pytest.mark.parametrize(
    ("trials", "line"),
    [
        ({"lr": [0.1]}, "TrialConfig has no field 'lr'; did you mean 'learning_rate'?"),
        (
            {"learning_rate": []},
            "a sweep needs at least one trial; the list of values is empty",
        ),
        (
            {"seed": range(1000), "learning_rate": [0.1] * 1000},
            "1000000 trials are too many (combined)",
        ),
        (
            [{"learning_rate": 0.1}],
            "trials are TrialConfig(...), or fields of it with their values; got",
        ),
    ],
)
def test_trials_that_are_none_are_one_line(trials, line):
    with pytest.raises(UserError) as caught:
        run_sweep("wrong", trials)
    assert str(caught.value).startswith(line)


def test_functions_that_register_are_those_of_their_kind():
    mnist_tune.register("mine")(len)
    mnist_tune.register_optimizer("mine")(max)
    assert ENTRIES["architecture"]["mine"].factory is len
    assert ENTRIES["optimizer"]["mine"].factory is max
