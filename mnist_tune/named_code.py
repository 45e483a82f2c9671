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
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("something follows the closing parenthesis")
        arguments = tuple(_literal(node) for node in call.args)
        keywords = {
            str(keyword.arg): _literal(keyword.value)
            for keyword in call.keywords
            if keyword.arg
        }
        if len(keywords) < len(call.keywords):
            raise ValueError("an argument is given twice, or by **")
    except (SyntaxError, ValueError, TypeError) as error:
        # and an address
        why = (
            error.msg
            if isinstance(error, SyntaxError)
            else str(error).partition(": <")[0]
        )
        example = f"write numbers and texts, as in '{name.strip()}(width=128)'"
        raise UserError(
            f"{text[:200]!r} is no name with arguments ({why}); {example}"
        ) from None
    return Call(name.strip(), arguments, tuple(keywords.items()))


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        raise ValueError(f"quote texts: {node.id!r}")
    value = ast.literal_eval(node)
    hash(value)  # programs are told apart by it
    return value
