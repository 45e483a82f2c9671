"""The counts of dense code: what is counted, and that what is above a limit is told."""

import ast

import pytest

from checks import style


def figures(source):
    counts = style.Counts()
    counts.add(ast.parse(source))
    return counts.figures()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("text = 'a' * (x > 1)", "times"),
        ("text = names * (not x)", "times"),
        ("text = bool(x) * f'a{x}'", "times"),
        ("x *= any(xs)", "times"),
        ("""text = f'{f"{x}"}'""", "nested"),
        ("def f(one): pass", "vague"),
        ("for others in x: pass", "vague"),
        ("text = a if x else b", "choices"),
    ],
)
def test_what_is_dense_is_counted_once(source, name):
    plain = {"choices": 0, "times": 0, "nested": 0, "vague": 0}
    counts = figures(source)
    del counts["density"]
    counts["choices"] = min(counts["choices"], 1)  # it is a share
    assert counts == plain | {name: 1}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("area = width * height", 0),
        ("text = f'{x}' + f'{y}'", 0),
        ("x = one", 0),
        ("x * (y > 1)", 1),  # a name times a condition
    ],
)
def test_what_is_plain_is_not_counted(source, count):
    counts = figures(source)
    assert counts["times"] + counts["nested"] + counts["vague"] == count


def test_the_density_leaves_out_docstrings_and_annotations():
    source = "def f(x: dict[str, int]) -> list[int]:\n    'Text.'\n    return x"
    assert figures(source) == figures("def f(x):\n    return x")
    # FunctionDef, arguments, arg; Return, Name
    assert figures(source)["density"] == 2.0 + 1.0, "the module is a node, too"


def test_what_is_above_a_limit_is_told_and_what_is_at_it_is_not():
    at_limits = {"density": 8.0, "choices": 1.5, "times": 0, "nested": 0, "vague": 3}
    assert list(style.above("room", at_limits)) == []
    above = {"density": 8.1, "choices": 1.6, "times": 1, "nested": 0, "vague": 4}
    assert list(style.above("room", above)) == [
        "room: density 8.1 is above 8",
        "room: choices 1.6 is above 1.5",
        "room: times 1 is above 0",
        "room: vague 4 is above 3",
    ]
    assert list(style.above("tests", at_limits | {"density": 8.6})) == []
    assert list(style.above(style.IN_ALL, at_limits)) == [
        "mnist_tune in all: density 8 is above 7"
    ]


def test_every_room_of_the_project_is_measured():
    rooms = set(style.rooms(style.ROOT))
    assert set(style.measure(style.ROOT)) == rooms | {style.IN_ALL}
    assert {"mnist_tune/regimes", "tests", "docs", "examples"} <= rooms
