"""Secrets and unprintable characters in messages."""

import pytest
from kept_texts import assert_kept

from mnist_tune import EdgeOptions, TrialConfig, UserError
from mnist_tune.errors import printable
from mnist_tune.terminal import announce, note, warning

TEXTS = [
    "s3://key:hidden@bucket/x?region=eu",
    "s3://bucket/x?token=hidden&secret_key=hidden&a=b",
    "plain text = 'x'",
    "gs://me@b and s3://you@c",
    "PASSWORD=hidden 'signature-x=hidden'",
    "key = not hidden",
    "a@b",
    "http://a b@c",
    'x-amz-credential=hidden"',
    "two\nlines\x1b[2J",
    "\u202e \ud800 é – …",
    "://" + "a" * 501 + "@b",
    "://" + "a" * 500 + "@b",
    "key" + "x" * 50 + "=hidden",
    "key" + "x" * 51 + "=told",
]


def test_what_is_hidden_and_escaped(capsys):
    lines = []
    for text in TEXTS:
        message = ascii(str(UserError(text)))
        lines.append(f"{ascii(text)[:60]}: {message[-70:]}")
    value = {"a\n": ["b\x1b", {"c\t": 1.5}, None, ("d\n",)], "e": True}
    lines.append(f"{value}: {printable(value)}")
    assert_kept("hidden and escaped", "\n".join(lines) + "\n")
    announce("told")
    announce("not told", quiet=True)
    announce(note("net.py has changed"), quiet=True)
    announce(warning("it diverges"), quiet=True)
    lines = "told\nnote: net.py has changed\nwarning: it diverges\n"
    assert capsys.readouterr() == ("", lines)


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("architecture", len, r"architecture must .*; register it, reg"),
        ("optimizer", len, r"register_optimizer\('mine'\)\(function"),
        ("architecture", 3, r"got 3$"),
    ],
)
def test_code_in_place_of_its_name_is_told_how_to_be_named(field, value, line):
    with pytest.raises(UserError, match=line):
        TrialConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("architecture", len, "give architecture='mine'"),
        ("task", (len,), "give task='mine'"),
    ],
)
def test_code_in_an_option_is_told_how_to_be_named(field, value, line):
    with pytest.raises(UserError, match=line):
        EdgeOptions(**{field: value})
