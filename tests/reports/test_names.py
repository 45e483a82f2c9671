"""How long names and numbers are written."""

from mnist_tune.numbers import exactly, told_apart
from mnist_tune.reports.names import ROOM, shortened

FOLDER = "/home/anna/projects/thesis/networks/"


def test_a_long_name_loses_its_folder_and_then_its_middle():
    short, factory = "mlp-1024-128-tanh", FOLDER + "residual.py:resnet"
    long = f"{factory}(width=64, depth=4, norm='layer')"
    assert shortened([short, factory, long]) == {
        short: short,
        factory: "residual.py:resnet",
        long: "residual.py:resnet(…th=4, norm='layer')",
    }
    assert len(shortened([long])[long]) <= ROOM


def test_names_that_would_be_the_same_stay_as_they_are():
    first, second = (f"{FOLDER}{one}/residual.py:resnet" for one in "ab")
    assert shortened([first, second]) == {first: first, second: second}
    middles = [f"net.py:resnet(width={width}, depth=4, norm='layer', x=1)" for width in (64, 65)]
    assert shortened(middles) == {name: name for name in middles}


def test_settings_are_written_as_they_were_asked_for():
    values = (16384, 30000, 0.99991, 1e-05, 0.1, "adam", 1.0)
    assert [exactly(value) for value in values] == ["16384", "30000", "0.99991", "1e-05", "0.1", "adam", "1"]


def test_numbers_have_as_many_digits_as_tell_them_apart():
    assert told_apart([0.1, 1.23456, 0.1]) == {0.1: "0.1", 1.23456: "1.235"}
    assert told_apart([1.0001, 1.0002]) == {1.0001: "1.0001", 1.0002: "1.0002"}
    assert told_apart([1.01, 1.02], 2) == {1.01: "1.01", 1.02: "1.02"}
    assert told_apart([0.1 + 0.2, 0.3]) == {0.1 + 0.2: "0.30000000000000004", 0.3: "0.3"}
