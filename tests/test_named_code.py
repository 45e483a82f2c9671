"""Names with arguments."""

import pytest

from mnist_tune import UserError
from mnist_tune.named_code import Call, parse_call


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("adam", Call("adam")),
        (" adam ", Call("adam")),
        ("adam()", Call("adam")),
        (" adam (b1=0.8)", Call("adam", (), (("b1", 0.8),))),
        ("adam(b1=0.8, nesterov=True)", Call("adam", (), (("b1", 0.8), ("nesterov", True)))),
        ("a/net.py:mlp(64, 'relu', width=-1)", Call("a/net.py:mlp", (64, "relu"), (("width", -1),))),
        ("net.py:mlp(widths=(64, 32))", Call("net.py:mlp", (), (("widths", (64, 32)),))),
    ],
)
def test_a_name_and_its_arguments(text, call):
    assert parse_call(text) == call
    assert call.is_own == (":" in text)


@pytest.mark.parametrize("text", ["adam(", "adam(b1)", "adam(b1=print())", "adam(b1=[1])", "adam(1)(2)", "adam(b1=0.8"])
def test_arguments_are_literals_that_are_never_run(text):
    with pytest.raises(UserError, match=r"is no name with arguments .*write numbers and texts, as in 'adam\(width=128"):
        parse_call(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("net.py:mlp(relu)", "quote texts: 'relu'"),
        ("adam(1)(2)", "something follows the closing parenthesis"),
        ("adam(b1=0.8, b1=0.9)", "an argument is given twice, or by **"),
        ("adam(**'b1')", "an argument is given twice, or by **"),
    ],
)
def test_what_is_wrong_with_the_arguments_is_said(text, why):
    with pytest.raises(UserError) as refused:
        parse_call(text)
    assert str(refused.value).startswith(f"{text!r} is no name with arguments ({why}); ")
