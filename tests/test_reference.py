"""The generated reference: every flag of every command, and what `import mnist_tune` offers.

python tests/test_reference.py
"""

import ast
import inspect
import re
import textwrap
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from command_options import options_of

import mnist_tune
from mnist_tune.invocation import COMMANDS
from mnist_tune.tuning.options import SweepOptions, TrialOptions

DOCS = Path(__file__).parents[1] / "docs"
PRINTED = "This page is written by `python tests/test_reference.py`.\n"


def about(kind, name):
    """Return what the source of a dataclass says of a field, or of the class that it extends."""
    for base in kind.__mro__:
        if name in vars(base).get("__annotations__", {}):
            found = getattr(get_type_hints(base, include_extras=True)[name], "__metadata__", ())
            helps = [one.help for one in found if getattr(one, "help", None)]
            tree: Any = ast.parse(textwrap.dedent(inspect.getsource(base)))
            body = tree.body[0].body
            row = next(i for i, node in enumerate(body) if getattr(getattr(node, "target", None), "id", "") == name)
            after = [node.value for node in body[row + 1 : row + 2] if isinstance(node, ast.Expr)]
            helps += [node.value for node in after if isinstance(node, ast.Constant)]
            if helps:
                return re.sub(r"\s+", " ", helps[0]).strip()
    return ""


def values(hint):
    """Return what a field takes, in words."""
    names = get_args(hint) if get_origin(hint) not in (tuple, None) else ()
    return " or ".join(f"`{name}`" for name in names if isinstance(name, str))


def cell(value):
    if any(value is nothing for nothing in (MISSING, None, False)) or value in ((), ""):
        return ""
    return f"`{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def rows(kind, names):
    hints = get_type_hints(kind)
    for one in fields(kind):
        if one.name in names:
            choices = values(hints[one.name])
            said = about(kind, one.name) + f" One of {choices}." * (" or " in choices)
            yield one, cell(one.default), said.replace("|", "\\|").replace("<", "&lt;")


def flag(kind, one):
    """Return how a field is given on the command line."""
    marks = getattr(get_type_hints(kind, include_extras=True)[one.name], "__metadata__", ())
    if any("Positional" in repr(mark) for mark in marks):
        return one.name.upper()
    return f"--{'no-' * (one.default is True)}{one.name.replace('_', '-')}"


def flag_table(kind, names):
    lines = []
    for one, default, said in rows(kind, names):
        if one.default is True:
            default, said = "", re.sub("^(?!By default)(.)", lambda found: f"By default: {found[1].lower()}", said)
        lines.append(f"| `{flag(kind, one)}` | {default} | {said} |")
    return ["| flag | default | what it does |", "|---|---|---|", *lines]


def is_another(kind, one, default):
    """Return whether a flag has another default, or another text, than that of every sweep."""
    return one.default != default or about(kind, one.name) != about(TrialOptions, one.name)


def flags_page():
    shared = {one.name: one.default for one in fields(TrialOptions)}
    lines = ["# All flags", "", "[Commands](commands.md) has the flags met most often.", ""]
    lines += ["A flag without a default is off, or follows from the others. " + PRINTED, "## Of every sweep", ""]
    lines += flag_table(TrialOptions, shared)
    for name in sorted(COMMANDS.keys() - {"resume"}):
        kind = options_of(name)
        listed = {one.name for base in (SweepOptions, TrialOptions) if issubclass(kind, base) for one in fields(base)}
        own = [one.name for one in fields(kind) if one.name not in listed or is_another(kind, one, shared[one.name])]
        script, question = COMMANDS[name]
        more = " It has the flags of every sweep, and these." * issubclass(kind, TrialOptions)
        if issubclass(kind, SweepOptions) and not more:
            more = " It has the flags of every sweep up to `--quiet`, and these."
        lines += ["", f"## {name}", "", f"`python {script}`, or `mnist-tune {name}`: {question}{more}", ""]
        lines += flag_table(kind, own)
    return "\n".join(lines) + "\n"


def documented(name, thing):
    """Yield the entry of a class or a function: its call, its docstring, its fields, and a class's methods."""
    fields_of = fields(thing) if is_dataclass(thing) else ()
    call = "(…)" if fields_of or inspect.isclass(thing) else str(inspect.signature(thing))
    call = re.sub(r"mnist_tune\.[\w.]*\.|collections\.abc\.|pathlib\._local\.|'", "", call)
    yield f"## {name}\n\n```python\n{name}{call}\n```\n\n{prose(thing)}"
    shared = set() if name in WHOLE else {one.name for one in fields(TrialOptions)}
    own = [one.name for one in fields_of if one.name not in shared and about(thing, one.name)]
    if own:
        yield "| field | default | what it is |\n|---|---|---|\n" + "\n".join(
            f"| `{one.name}` | {default} | {said} |" for one, default, said in rows(thing, own) if said
        )
    for kind in thing.__mro__[-2::-1] if inspect.isclass(thing) and not issubclass(thing, Exception) else ():
        for method, function in vars(kind).items():
            if not method.startswith("_") and inspect.isfunction(function) and function.__doc__ and name in METHODS:
                call = str(inspect.signature(function)).replace("self, ", "").replace("self", "").replace("'", "")
                yield f"**`.{method}{call}`** {prose(function)}"


FIRST = ("run_sweep", "TrialConfig", "SweepOptions", "Sweep", "load_sweep", "resume_sweep", "run_search")
WHOLE = ("SweepOptions", "TrialConfig")
METHODS = ("Sweep",)


def prose(thing):
    """Return a docstring as Markdown, with its sections as lists."""
    text = inspect.getdoc(thing) or ""
    return re.sub(r"^(Args|Raises|Returns|Yields):\n((?: {4}.*\n?)+)", section, text, flags=re.M).strip()


def section(found):
    items = re.sub(r"\n {8,}", " ", found[2].rstrip())
    if found[1] in ("Returns", "Yields"):
        return f"*{found[1]}*: {textwrap.dedent(found[2])}"
    return f"*{found[1]}*\n\n" + re.sub(r"^ {4}(\w+): ", r"- `\1`: ", items, flags=re.M) + "\n"


def python_page():
    parts = ["# Python reference", "`from mnist_tune import …` offers these. " + PRINTED.strip()]
    for name in sorted(mnist_tune.__all__, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name)):
        parts += documented(name, getattr(mnist_tune, name))
    return "\n\n".join(parts) + "\n"


PAGES = {"flags.md": flags_page, "python.md": python_page}


@pytest.mark.parametrize("page", PAGES)
def test_the_reference_is_up_to_date(page):
    """To update it: python tests/test_reference.py"""
    assert (DOCS / page).read_text() == PAGES[page]()


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"resume"}))
def test_every_flag_of_a_command_is_on_the_page(name):
    """In its own section, or in that of every sweep, up to the flag that its section names."""
    page, kind = (DOCS / "flags.md").read_text(), options_of(name)
    every, own = (page.partition(f"\n## {title}\n")[2].partition("\n## ")[0] for title in ("Of every sweep", name))
    if "has the flags of every sweep" in own:
        own += every.partition("| `--epochs`")[0] if "up to `--quiet`" in own else every
    missing = {flag(kind, one) for one in fields(kind)} - set(re.findall(r"^\| `(\S+)` \|", own, re.M))
    assert missing == set()


if __name__ == "__main__":
    for page, made in PAGES.items():
        (DOCS / page).write_text(made())
