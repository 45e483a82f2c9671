"""Names that are cut: what differs stays different."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_tables import barred_rows

from mnist_tune.reports.names import shortened

FOLDER = "/home/anna/projects/thesis/networks/"


def test_names_that_fit_stay_as_they_are():
    names = ["mlp-64-relu", "mlp-64-tanh"]
    assert shortened(names, 11) == dict(zip(names, names, strict=True))


def test_a_long_name_loses_its_folder_and_then_its_middle():
    short = "mlp-1024-128-tanh"
    factory = FOLDER + "residual.py:resnet"
    long = f"{factory}(width=64, depth=4, norm='layer')"
    assert shortened([short, factory, long], 40) == {
        short: short,
        factory: "residual.py:resnet",
        long: "residual.py:resnet(…pth=4, norm='layer')",
    }
    alone = shortened([long], 40)
    assert len(alone[long]) <= 40


def test_folders_stay_where_files_have_the_same_name():
    names = [f"{FOLDER}a/residual.py:resnet", f"{FOLDER}b/residual.py:resnet"]
    assert list(shortened(names, 40).values()) == [
        "/home/anna/projects…a/residual.py:resnet",
        "/home/anna/projects…b/residual.py:resnet",
    ]


ONE_ARGUMENT = """
    net.py:cnn(width=16) | net.py:c…width=16)
    net.py:cnn(width=32) | net.py:c…width=32)
"""
THREE_ARGUMENTS = """
    net.py:cnn(width=16, depth=3, norm='layer') | …width=16…
    net.py:cnn(width=32, depth=3, norm='layer') | …width=32…
    mlp-64                                      | mlp-64
"""
TWO_DIFFER = """
    net.py:cnn(width=16, depth=3, norm=a) | …width=16…norm=a…
    net.py:cnn(width=16, depth=3, norm=b) | …width=16…norm=b…
    net.py:cnn(width=32, depth=3, norm=a) | …width=32…norm=a…
    net.py:cnn(width=32, depth=3, norm=b) | …width=32…norm=b…
"""
"""Names, and as which they are shown."""


@pytest.mark.parametrize("names", [ONE_ARGUMENT, THREE_ARGUMENTS, TWO_DIFFER])
def test_where_cut_names_would_be_the_same_what_they_share_goes(names):
    cut_names = dict(barred_rows(names))
    shown_names = shortened(list(cut_names), 18)
    assert list(shown_names.values()) == list(cut_names.values())


def test_as_a_last_resort_cut_names_are_numbered():
    names = [f"a{'x' * 30}{number}{'y' * 30}" for number in range(3)]
    cut_names = list(shortened(names, 10).values())
    assert cut_names == ["axxxxxx…#1", "axxxxxx…#2", "axxxxxx…#3"]


NAMES = st.lists(st.text("ab(,=/: .py1", max_size=40), max_size=12)


@given(NAMES, st.integers(6, 30))
def test_names_that_differ_are_told_apart_in_the_room_that_there_is(names, most):
    cut_names = shortened(names, most)
    assert list(cut_names) == list(dict.fromkeys(names))
    assert len(set(cut_names.values())) == len(cut_names)
    assert max(map(len, cut_names.values()), default=0) <= most
