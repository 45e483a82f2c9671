"""Names with arguments."""

from kept_texts import assert_kept

from mnist_tune import UserError
from mnist_tune.named_code import parse_call
from mnist_tune.own_code.registry import names_own_code

TEXTS = [
    "adam",
    " adam ",
    "adam()",
    " adam (b1=0.8)",
    "adam(b1=0.8, nesterov=True)",
    "net.py:mlp(widths=(64, 32))",
    "a/net.py:mlp(64, 'relu', width=-1)",
    "adam(None, b'x', 1j)",
    "(1)",
    "adam(",
    "adam(b1)",
    "adam(b1=print())",
    "adam(b1=[1])",
    "adam({'a': 1})",
    "adam(1)+f(2)",
    "adam(b1=0.8",
    "net.py:mlp(relu)",
    "adam)",
    "adam(b1=0.8, b1=0.9)",
    "adam(**'b1')",
    "adam(*'b1')",
    "adam(1) f",
    "adam(" + "x123456789" * 30,
]
REMEDY = "; write numbers and texts, as in 'adam(width=128)'"


def test_names_with_arguments():
    """The arguments are literals, and never run."""
    lines = []
    for text in TEXTS:
        try:
            call = parse_call(text)
            lines.append(f"{text}: {call!r}, own: {names_own_code(call.name)}")
        except UserError as error:
            problem = str(error).removesuffix(REMEDY)
            lines.append(f"{text[:20]}: {problem}")
    assert_kept("names with arguments", "\n".join(lines) + "\n")
