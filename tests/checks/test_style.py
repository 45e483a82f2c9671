"""The counts of dense code: what is counted, and that a rise is noticed."""

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
    ],
)
def test_what_is_dense_is_counted_once(source, name):
    plain = {"times": 0, "nested": 0, "vague": 0}
    counts = figures(source)
    del counts["density"]
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


def test_a_count_that_rises_is_said_and_one_that_falls_is_not():
    recorded = {"room": {"density": 8.0, "times": 2, "nested": 0, "vague": 1}}
    fell = {"room": {"density": 7.0, "times": 2, "nested": 0, "vague": 0}}
    rose = {"room": {"density": 8.1, "times": 2, "nested": 0, "vague": 2}}
    assert list(style.compare(recorded, fell)) == []
    assert list(style.compare(recorded, rose)) == [
        "room: density rose from 8 to 8.1",
        "room: vague rose from 1 to 2",
    ]
    new = {"new": {"density": 9.0, "times": 0, "nested": 0, "vague": 0}}
    assert list(style.compare(recorded, new)) == ["new: density rose from 8 to 9"]


def test_every_room_of_the_project_is_recorded():
    recorded = style.json.loads(style.RECORD.read_text())
    assert set(style.rooms(style.ROOT)) == set(recorded)
