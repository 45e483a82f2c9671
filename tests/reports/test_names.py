"""Names that are cut: what differs stays different."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.reports.names import shortened

FOLDER = "/home/anna/projects/thesis/networks/"


def test_names_that_fit_stay_as_they_are():
    assert shortened(["mlp-64-relu", "mlp-64-tanh"], 11) == {
        name: name for name in ("mlp-64-relu", "mlp-64-tanh")
    }


def test_a_long_name_loses_its_folder_and_then_its_middle():
    short, factory = "mlp-1024-128-tanh", FOLDER + "residual.py:resnet"
    long = f"{factory}(width=64, depth=4, norm='layer')"
    assert shortened([short, factory, long], 40) == {
        short: short,
        factory: "residual.py:resnet",
        long: "residual.py:resnet(…pth=4, norm='layer')",
    }
    assert len(shortened([long], 40)[long]) <= 40


def test_folders_stay_where_files_have_the_same_name():
    first, second = (f"{FOLDER}{folder}/residual.py:resnet" for folder in "ab")
    assert list(shortened([first, second], 40).values()) == [
        "/home/anna/projects…a/residual.py:resnet",
        "/home/anna/projects…b/residual.py:resnet",
    ]


@pytest.mark.parametrize(
    ("names", "most", "said"),
    [
        (
            ["net.py:cnn(width=16)", "net.py:cnn(width=32)"],
            18,
            ["net.py:c…width=16)", "net.py:c…width=32)"],
        ),
        (
            [
                "net.py:cnn(width=16, depth=3, norm='layer')",
                "net.py:cnn(width=32, depth=3, norm='layer')",
                "mlp-64",
            ],
            18,
            ["…width=16…", "…width=32…", "mlp-64"],
        ),
        (
            [
                f"net.py:cnn(width={width}, depth=3, norm={norm})"
                for width in (16, 32)
                for norm in "ab"
            ],
            18,
            [
                "…width=16…norm=a…",
                "…width=16…norm=b…",
                "…width=32…norm=a…",
                "…width=32…norm=b…",
            ],
        ),
    ],
)
def test_where_cut_names_would_be_the_same_what_they_share_goes(names, most, said):
    assert list(shortened(names, most).values()) == said


def test_as_a_last_resort_cut_names_are_numbered():
    names = [f"a{'x' * 30}{n}{'y' * 30}" for n in range(3)]
    assert list(shortened(names, 10).values()) == [
        "axxxxxx…#1",
        "axxxxxx…#2",
        "axxxxxx…#3",
    ]


NAMES = st.lists(st.text("ab(,=/: .py1", max_size=40), max_size=12)


@given(NAMES, st.integers(6, 30))
def test_names_that_differ_are_told_apart_in_the_room_that_there_is(names, most):
    found = shortened(names, most)
    assert list(found) == list(dict.fromkeys(names))
    assert len(set(found.values())) == len(found)
    assert max(map(len, found.values()), default=0) <= most
