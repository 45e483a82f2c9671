"""Write the pages of the docs that follow from code and tests.

    python docs/pages.py

`flags.md`, `python.md` and `tables.md` list every flag, what `import mnist_tune`
offers, and every column. In `promises.md`, the words are written by hand, in the order
of the page. The tests beside them are those that are marked with these words:
`@pytest.mark.promise("…")`. In other pages, the block after `PRINTED_BELOW` is what a
recorded sweep prints today.
"""

import ast
import inspect
import io
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints
from unittest import mock

import mnist_tune
from mnist_tune import cli
from mnist_tune.columns import EPOCHS, TRIALS
from mnist_tune.invocation import COMMANDS, module_of
from mnist_tune.trial import Training

DOCS = Path(__file__).parent
PRINTED = "This page is written by `python docs/pages.py`.\n"


def options_of(name: str) -> Any:
    """Return the dataclass that a command parses its flags into."""
    with mock.patch.object(cli, "parse", side_effect=EOFError) as parse:
        with suppress(EOFError):
            import_module(module_of(name)).main()
        return parse.call_args.args[0]


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields, with what is said beside them."""
    return get_type_hints(kind, include_extras=True)


def about(kind: type, name: str) -> str:
    """Return what the source of a dataclass says of a field, or of the class that it
    extends."""
    for base in kind.__mro__:
        if name in vars(base).get("__annotations__", {}):
            found = getattr(hints_of(base)[name], "__metadata__", ())
            helps = [one.help for one in found if getattr(one, "help", None)]
            tree: Any = ast.parse(textwrap.dedent(inspect.getsource(base)))
            body = tree.body[0].body
            row = next(
                i
                for i, node in enumerate(body)
                if getattr(getattr(node, "target", None), "id", "") == name
            )
            after = [
                node.value
                for node in body[row + 1 : row + 2]
                if isinstance(node, ast.Expr)
            ]
            helps += [node.value for node in after if isinstance(node, ast.Constant)]
            if helps:
                return re.sub(r"\s+", " ", helps[0]).strip()
    return ""


def values(hint: Any) -> str:
    """Return what a field takes, in words."""
    names = get_args(hint) if get_origin(hint) not in (tuple, None) else ()
    return " or ".join(f"`{name}`" for name in names if isinstance(name, str))


def cell(value: object) -> str:
    if any(value is nothing for nothing in (MISSING, None, False)) or value in ((), ""):
        return ""
    return f"`{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def rows(kind: type, names: Collection[str]) -> Iterator[tuple[Field[Any], str, str]]:
    hints = get_type_hints(kind)
    for one in fields(kind):
        if one.name in names:
            choices = values(hints[one.name])
            said = about(kind, one.name) + f" One of {choices}." * (" or " in choices)
            yield one, cell(one.default), said.replace("|", "\\|").replace("<", "&lt;")


def flag(kind: type, one: Field[Any]) -> str:
    """Return how a field is given on the command line."""
    marks = getattr(hints_of(kind)[one.name], "__metadata__", ())
    if any("Positional" in repr(mark) for mark in marks):
        return one.name.upper()
    return f"--{'no-' * (one.default is True)}{one.name.replace('_', '-')}"


DIFFERS = {
    "--scheduler": "a label needs no whole curve; edges and decisions compare whole ones",
    "--architecture": "an edge of a small network takes minutes; a search makes its own from widths and depths",
    "--holdout": "decisions and searches compare what lies closer; an edge is about learning the training images",
    "--epochs": "an edge shows within three",
    "--batch-size": "a search chooses among several",
    "--momentum": "a search chooses from a range",
    "--weight-decay": "a search chooses from a range",
    "--learning-rates": "a decision is between those that are named",
    "--seeds": "a range test takes seconds, so it has three",
    "--trials": "an edge needs some 60, a decision between a few settings up to 200",
    "--picture": "a range test is seen in its picture alone",
}
"""Why the default of a flag is not that of other commands."""


@cache
def flag_rows() -> list[tuple[str, str, str, str]]:
    """Return every flag with its default, the commands that have it so, and what it
    does there."""
    table = defaultdict[tuple[str, str, str], list[str]](list)
    for name in COMMANDS:
        if name != "resume":
            kind = options_of(name)
            for one, default, said in rows(kind, {one.name for one in fields(kind)}):
                text = said
                if one.default is True:
                    default, text = (
                        "",
                        re.sub(
                            "^(?!By default)(.)",
                            lambda one: f"By default: {one[1].lower()}",
                            said,
                        ),
                    )
                table[flag(kind, one), default, text].append(name)
    order = [*dict.fromkeys(of for of, _, _ in table)]
    found = sorted(table.items(), key=lambda row: order.index(row[0][0]))
    return [
        (of, default, ", ".join(names), said) for (of, default, said), names in found
    ]


def several_defaults() -> set[str]:
    """Return the flags whose default is not the same in all commands."""
    defaults = {(of, default) for of, default, _, _ in flag_rows()}
    return {of for of, count in Counter(of for of, _ in defaults).items() if count > 1}


def flags_page() -> str:
    lines = [
        "# All flags",
        "",
        "[Commands](commands.md) has the flags met most often.",
        "",
    ]
    lines += ["A flag without a default is off, or follows from the others. " + PRINTED]
    lines += ["| flag | default | of | what it does |", "|---|---|---|---|"]
    lines += [
        f"| `{of}` | {default} | {names} | {said} |"
        for of, default, names, said in flag_rows()
    ]
    lines += ["", "## Why some defaults differ", "", "| flag | why |", "|---|---|"]
    several = several_defaults()
    lines += [
        f"| `{name}` | {why} |" for name, why in DIFFERS.items() if name in several
    ]
    return "\n".join(lines) + "\n"


def documented(name: str, thing: Any) -> Iterator[str]:
    """Yield the entry of a class or a function: its call, its docstring, its fields,
    and a class's methods."""
    fields_of = fields(thing) if is_dataclass(thing) else ()
    call = (
        "(...)"
        if fields_of or inspect.isclass(thing)
        else str(inspect.signature(thing))
    )
    call = re.sub(
        r"mnist_tune\.[\w.]*\.|collections\.abc\.|pathlib\._local\.|'", "", call
    )
    yield f"## {name}\n\n```python\n{name}{call}\n```\n\n{prose(thing)}"
    shared = set() if name in WITH_ALL_FIELDS else SHARED
    own = [
        one.name
        for one in fields_of
        if one.name not in shared and about(thing, one.name)
    ]
    if own:
        yield "| field | default | what it is |\n|---|---|---|\n" + "\n".join(
            f"| `{one.name}` | {default} | {said} |"
            for one, default, said in rows(thing, own)
            if said
        )
    for kind in (
        thing.__mro__[-2::-1]
        if inspect.isclass(thing) and not issubclass(thing, Exception)
        else ()
    ):
        for method, function in vars(kind).items():
            if (
                not method.startswith("_")
                and inspect.isfunction(function)
                and function.__doc__
                and name in METHODS
            ):
                call = (
                    str(inspect.signature(function))
                    .replace("self, ", "")
                    .replace("self", "")
                    .replace("'", "")
                )
                yield f"**`.{method}{call}`** {prose(function)}"


FIRST = (
    "run_sweep",
    "TrialConfig",
    "SweepOptions",
    "Sweep",
    "load_sweep",
    "resume_sweep",
    "run_search",
)
WITH_ALL_FIELDS = ("SweepOptions", "Task", "TrialConfig")
SHARED = {
    one.name for kind in (mnist_tune.SweepOptions, Training) for one in fields(kind)
}
METHODS = ("Sweep",)


def prose(thing: object) -> str:
    """Return a docstring as Markdown, with its sections as lists."""
    text = inspect.getdoc(thing) or ""
    return re.sub(
        r"^(Args|Raises|Returns|Yields):\n((?: {4}.*\n?)+)", section, text, flags=re.M
    ).strip()


def section(found: re.Match[str]) -> str:
    items = re.sub(r"\n {8,}", " ", found[2].rstrip())
    if found[1] in ("Returns", "Yields"):
        return f"*{found[1]}*: {textwrap.dedent(found[2])}"
    return (
        f"*{found[1]}*\n\n"
        + re.sub(r"^ {4}(\w+): ", r"- `\1`: ", items, flags=re.M)
        + "\n"
    )


def python_page() -> str:
    parts = [
        "# Python reference",
        "`from mnist_tune import …` offers these. " + PRINTED.strip(),
    ]
    for name in sorted(
        mnist_tune.__all__,
        key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name),
    ):
        parts += documented(name, getattr(mnist_tune, name))
    return "\n\n".join(parts) + "\n"


NAMES = {str: "text", bool: "yes or no", int: "whole number", float: "number"}

TABLES = f"""\
# The tables

`load_sweep(DIR)` returns a `Sweep` with two pandas tables: `trials`, a row for each trial, and `epochs`, a row for each
epoch of a trial. Its `meta` is what [`sweep.json`](files.md#sweepjson) says.
A sweep that is running, or was killed, can be read as well.

Losses are means over the images named (in nats, but for mse and tasks), accuracies are shares of them. Counts start
at 1. A column with gaps may be empty in some rows, or in all if an older version wrote them. `epochs` has validation
columns only with held-out images, columns of [sharpness](sharpness.md) only if it is measured, and `answers` only with
[tokens](text.md).

{PRINTED}"""


def tables_page() -> str:
    parts = [TABLES]
    for name, columns in (("trials", TRIALS), ("epochs", EPOCHS)):
        parts.append(
            f"## {name}\n\n| column | kind | unit | gaps | what it says |\n|---|---|---|---|---|"
        )
        for column in columns:
            gaps = "yes" if column.gaps else ""
            parts.append(
                f"| `{column.name}` | {NAMES[column.kind.type]} | {column.unit} | {gaps} | {column.about} |"
            )
        parts.append("")
    return "\n".join(parts)


def marked(tests: Path = DOCS.parent / "tests") -> dict[str, list[str]]:
    """Return the tests of each promise, by its words."""
    found: dict[str, list[str]] = {}
    for file in sorted(tests.glob("**/test_*.py")):
        for node in ast.parse(file.read_text()).body:
            for mark in getattr(node, "decorator_list", []):
                if (
                    isinstance(mark, ast.Call)
                    and ast.unparse(mark.func) == "pytest.mark.promise"
                ):
                    name = f"{file.relative_to(tests.parent)}::{node.name}"  # type: ignore[attr-defined]
                    found.setdefault(ast.literal_eval(mark.args[0]), []).append(
                        f"`{name}`"
                    )
    return found


def promises_page() -> str:
    """Return the page of promises. Each has a test, and each promise of a test is on
    the page."""
    found, lines = marked(), (DOCS / "promises.md").read_text().splitlines()
    rows = {
        n: line.split("|")[1].strip()
        for n, line in enumerate(lines)
        if line.startswith("| ")
    }
    rows = {n: words for n, words in rows.items() if words != "promise"}
    if wrong := set(found) ^ set(rows.values()):
        raise ValueError(f"only on the page, or only at a test: {sorted(wrong)}")
    for number, words in rows.items():
        lines[number] = f"| {words} | {', '.join(found[words])} |"
    return "\n".join(lines) + "\n"


PRINTED_BELOW = "<!-- The next block is written by docs/pages.py. -->\n\n"

MAIN = "2026-11-28-main-sweep-amd-epyc-avx2"

SHOWN = {
    "../README.md": (MAIN, ("rate", "0.01", "0.7", "1.6", "2"), 7),
    "numbers.md": (MAIN, (), 3),
    "decide.md": (MAIN, ("none",), 3),
    "edge.md": ("2026-11-28-edge-amd-epyc-avx2", ("none",), 4),
}
"""For each page that shows a recorded sweep: its record, how rows begin (all if empty),
and how many lines follow."""


def with_printed(page: str) -> str:
    """Return a page with what its recorded sweep prints today."""
    record, rows, count = SHOWN[page]
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()):
        sweep = mnist_tune.load_sweep(DOCS.parent / "benchmarks" / "records" / record)
        sweep.table()
    text = re.sub(
        " {4}Picture: .*",
        "",
        output.getvalue().replace("python -m mnist_tune", "mnist-tune"),
    )
    lines = re.sub(
        rf"\S*{record}", f"results/{sweep.meta['name']}/TIME", text
    ).splitlines()
    head = next(n for n, line in enumerate(lines) if line.lstrip().startswith("rate"))
    end = next(n for n, line in enumerate(lines) if n > head and line[0].isalpha())
    kept = [line for line in lines[head:end] if not rows or line.split()[0] in rows]
    block = "".join(
        f"    {line.rstrip()}\n" for line in kept + lines[end : end + count]
    )
    return re.sub(
        rf"(?<={PRINTED_BELOW})(?: {{4}}.*\n)+",
        lambda _: block,
        (DOCS / page).read_text(),
    )


PAGES: dict[str, Callable[[], str]] = {
    "flags.md": flags_page,
    "python.md": python_page,
    "tables.md": tables_page,
    "promises.md": promises_page,
    **{page: partial(with_printed, page) for page in SHOWN},
}

if __name__ == "__main__":
    for page, made in PAGES.items():
        (DOCS / page).write_text(made())
