"""Names with arguments, as the command line takes them: `adam(b1=0.8)`,
`net.py:mlp(width=128)`."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

from mnist_tune.errors import UserError


class Call(NamedTuple):
    """A name with its arguments, which are literals."""

    name: str
    """What stands before the parenthesis: a registered name, `file.py:factory` or
    `package.module:factory`."""
    arguments: tuple[Any, ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()


def parse_call(text: str) -> Call:
    """Take a name and its arguments apart; the arguments are read as literals, and
    never run. Raises `UserError` if the parentheses don't close, or an argument is no
    literal."""
    name, opening, rest = text.partition("(")
    if not opening:
        return Call(text.strip())
    try:
        arguments, keywords = _arguments(rest)
    except (SyntaxError, ValueError, TypeError) as error:
        # without the address of an object
        why = str(error).partition(": <")[0]
        if isinstance(error, SyntaxError):
            why = error.msg
        example = f"write numbers and texts, as in '{name.strip()}(width=128)'"
        what = f"{text[:200]!r} is no name with arguments ({why})"
        raise UserError(f"{what}; {example}") from None
    return Call(name.strip(), arguments, tuple(keywords.items()))


def _arguments(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments in a text that ends in the closing parenthesis."""
    call = ast.parse(f"f({text}", mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError("something follows the closing parenthesis")
    arguments = tuple(_literal(node) for node in call.args)
    keywords = {}
    for keyword in call.keywords:
        if keyword.arg is not None:
            keywords[keyword.arg] = _literal(keyword.value)
    if len(keywords) < len(call.keywords):
        raise ValueError("an argument is given twice, or by **")
    return arguments, keywords


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        raise ValueError(f"quote texts: {node.id!r}")
    value = ast.literal_eval(node)
    if isinstance(value, list):
        raise ValueError(f"write a list as a tuple: {tuple(value)}")
    hash(value)  # programs are told apart by it
    return value
