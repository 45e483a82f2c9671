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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache, partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints
from unittest import mock

import mnist_tune
from mnist_tune import cli
from mnist_tune.columns import EPOCHS, TRIALS, Column
from mnist_tune.invocation import COMMANDS, module_of
from mnist_tune.trial import Training

DOCS = Path(__file__).parent
PRINTED = "This page is written by `python docs/pages.py`."


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


def marks_of(kind: type, name: str) -> tuple[Any, ...]:
    """Return what is said beside the type of a field: how its flag is read."""
    return getattr(hints_of(kind)[name], "__metadata__", ())


def about(kind: type, name: str) -> str:
    """Return what the source of a dataclass says of a field, or of the class that it
    extends."""
    for base in kind.__mro__:
        if name in vars(base).get("__annotations__", {}):
            text = help_beside(base, name) or docstring_below(base, name)
            if text:
                return re.sub(r"\s+", " ", text).strip()
    return ""


def help_beside(kind: type, name: str) -> str:
    """Return the help text in the type of a field; empty without one."""
    for mark in marks_of(kind, name):
        text = getattr(mark, "help", None)
        if text:
            return str(text)
    return ""


def docstring_below(kind: type, name: str) -> str:
    """Return the text below a field in the source of its class; empty without one."""
    source: Any = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    for declaration, below in pairwise(source.body[0].body):
        if not isinstance(declaration, ast.AnnAssign):
            continue
        is_field = ast.unparse(declaration.target) == name
        if is_field and isinstance(below, ast.Expr):
            return str(ast.literal_eval(below.value))
    return ""


def values(hint: Any) -> str:
    """Return what a field takes, in words."""
    if get_origin(hint) is tuple:
        hint = get_args(hint)[0]
    if get_origin(hint) is None:
        return ""
    names = [name for name in get_args(hint) if isinstance(name, str)]
    return " or ".join(f"`{name}`" for name in names)


def cell(value: object) -> str:
    if isinstance(value, tuple) and len(value) == 1:
        [value] = value
    # 0 is a default to show, although it equals False
    is_absent = any(value is nothing for nothing in (MISSING, None, False))
    if is_absent or value in ((), ""):
        return ""
    if isinstance(value, tuple):
        value = " ".join(map(str, value))
    return f"`{value}`"


def rows(kind: type) -> Iterator[tuple[Field[Any], str, str]]:
    """Yield each field of a dataclass with its default and its text."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        text = about(kind, field.name)
        choices = values(hints[field.name])
        if " or " in choices:
            text += f" One of {choices}."
        # what Markdown would read as a column or as a tag
        text = text.replace("|", "\\|").replace("<", "&lt;")
        yield field, cell(field.default), text


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    ruler = "|" + "---|" * len(titles)
    head, *lines = [f"| {' | '.join(cells)} |" for cells in (titles, *rows)]
    return "\n".join((head, ruler, *lines))


def flag(kind: type, field: Field[Any]) -> str:
    """Return how a field is given on the command line."""
    marks = marks_of(kind, field.name)
    if any("Positional" in repr(mark) for mark in marks):
        return field.name.upper()
    name = field.name.replace("_", "-")
    if field.default is True:
        return f"--no-{name}"
    return f"--{name}"


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


class FlagRow(NamedTuple):
    """A flag with its default, the commands that have it so, and what it does there."""

    flag: str
    default: str
    commands: str
    text: str


@cache
def flag_rows() -> list[FlagRow]:
    """Return a row for every flag, and several for a flag that commands differ in."""
    commands = defaultdict[tuple[str, str, str], list[str]](list)
    for command in COMMANDS:
        if command == "resume":  # its flags are those of the command that it resumes
            continue
        kind = options_of(command)
        for field, default, text in rows(kind):
            if field.default is True:
                default = ""
                text = on_by_default(text)
            commands[flag(kind, field), default, text].append(command)
    flags = list(dict.fromkeys(name for name, _, _ in commands))
    lines = [
        FlagRow(name, default, ", ".join(names), text)
        for (name, default, text), names in commands.items()
    ]
    return sorted(lines, key=lambda row: flags.index(row.flag))


def on_by_default(text: str) -> str:
    """Return the text of a flag that turns off what the text describes."""
    if text.startswith("By default"):
        return text
    return f"By default: {text[:1].lower()}{text[1:]}"


def several_defaults() -> set[str]:
    """Return the flags whose default is not the same in all commands."""
    defaults = {(row.flag, row.default) for row in flag_rows()}
    counts = Counter(name for name, _ in defaults)
    return {name for name, count in counts.items() if count > 1}


FLAGS = f"""\
# All flags

[Commands](commands.md) has the flags met most often.

A flag without a default is off, or follows from the others. {PRINTED}

{{}}

## Why some defaults differ

{{}}
"""


def flags_page() -> str:
    flags = []
    for row in flag_rows():
        flags.append((f"`{row.flag}`", row.default, row.commands, row.text))
    several = several_defaults()
    reasons = [(f"`{name}`", why) for name, why in DIFFERS.items() if name in several]
    flags_table = table(("flag", "default", "of", "what it does"), flags)
    reasons_table = table(("flag", "why"), reasons)
    return FLAGS.format(flags_table, reasons_table)


def documented(name: str, definition: Any) -> Iterator[str]:
    """Yield the entry of a class or a function: its call, its docstring, its fields,
    and a class's methods."""
    call = "(...)"
    if not inspect.isclass(definition):
        call = call_of(definition)
    yield f"## {name}\n\n```python\n{name}{call}\n```\n\n{prose(definition)}"
    if is_dataclass(definition):
        lines = list(field_rows(name, definition))
        if lines:
            yield table(("field", "default", "what it is"), lines)
    if name in METHODS:
        yield from methods(definition)


def call_of(function: Callable[..., Any]) -> str:
    """Return a signature as a caller sees it: without self, and with short names."""
    modules = r"mnist_tune\.[\w.]*\.|collections\.abc\.|pathlib\._local\."
    return re.sub(rf"{modules}|self, |self|'", "", str(inspect.signature(function)))


def field_rows(name: str, kind: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the fields that are described in the entry of a dataclass."""
    for field, default, text in rows(kind):
        is_elsewhere = field.name in SHARED and name not in WITH_ALL_FIELDS
        if text and not is_elsewhere:
            yield f"`{field.name}`", default, text


def methods(kind: type) -> Iterator[str]:
    """Yield a class's public methods, those that it inherits first."""
    for base in kind.__mro__[-2::-1]:
        for name, function in vars(base).items():
            is_public = inspect.isfunction(function) and not name.startswith("_")
            if is_public and function.__doc__:
                yield f"**`.{name}{call_of(function)}`** {prose(function)}"


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
    field.name for kind in (mnist_tune.SweepOptions, Training) for field in fields(kind)
}
"""Fields that are described once, in the entry of a class of `WITH_ALL_FIELDS`."""
METHODS = ("Sweep",)


def prose(definition: object) -> str:
    """Return a docstring as Markdown, with its sections as lists."""
    text = inspect.getdoc(definition) or ""
    pattern = r"^(Args|Raises|Returns|Yields):\n((?: {4}.*\n?)+)"
    return re.sub(pattern, section, text, flags=re.M).strip()


def section(match: re.Match[str]) -> str:
    title, body = match.groups()
    if title in ("Returns", "Yields"):
        return f"*{title}*: {textwrap.dedent(body)}"
    items = re.sub(r"\n {8,}", " ", body.rstrip())
    entries = re.sub(r"^ {4}(\w+): ", r"- `\1`: ", items, flags=re.M)
    return f"*{title}*\n\n{entries}\n"


def python_page() -> str:
    parts = ["# Python reference"]
    parts.append(f"`from mnist_tune import …` offers these. {PRINTED}")
    rest = sorted(set(mnist_tune.__all__) - set(FIRST))
    for name in (*FIRST, *rest):
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

An argument that is given by its name is a column of `trials`: `width` of `net.py:cnn(width=16)`. If a column of these
tables or a field of `TrialConfig` has its name, or it begins with `score_`, `architecture_` or `optimizer_`, the column is
`architecture_NAME`, such as `architecture_momentum`. An optimiser's is always `optimizer_NAME`. What is not given is
empty. The column has numbers if all are numbers, True and False if all are, else texts. Older sweeps have them, too.

{PRINTED}
"""


def tables_page() -> str:
    page = TABLES
    for name, columns in (("trials", TRIALS), ("epochs", EPOCHS)):
        lines = table(COLUMN_TITLES, map(column_row, columns))
        page += f"\n## {name}\n\n{lines}\n"
    return page


COLUMN_TITLES = ("column", "kind", "unit", "gaps", "what it says")


def column_row(column: Column) -> tuple[str, ...]:
    gaps = ""
    if column.gaps:
        gaps = "yes"
    kind = NAMES[column.kind.type]
    return f"`{column.name}`", kind, column.unit, gaps, column.about


def marked(tests: Path = DOCS.parent / "tests") -> dict[str, list[str]]:
    """Return the tests of each promise, by its words."""
    names = defaultdict[str, list[str]](list)
    for file in sorted(tests.glob("**/test_*.py")):
        definitions: list[Any] = ast.parse(file.read_text()).body
        for definition in definitions:
            for mark in getattr(definition, "decorator_list", []):
                if ast.unparse(mark).startswith("pytest.mark.promise("):
                    words = ast.literal_eval(mark.args[0])
                    path = file.relative_to(tests.parent)
                    names[words].append(f"`{path}::{definition.name}`")
    return names


def promises_page() -> str:
    """Return the page of promises. Each has a test, and each promise of a test is on
    the page."""
    tests = marked()
    lines = (DOCS / "promises.md").read_text().splitlines()
    promises = {}
    for number, line in enumerate(lines):
        if line.startswith("| ") and not line.startswith("| promise |"):
            promises[number] = line.split("|")[1].strip()
    wrong = set(tests) ^ set(promises.values())
    if wrong:
        raise ValueError(f"only on the page, or only at a test: {sorted(wrong)}")
    for number, words in promises.items():
        lines[number] = f"| {words} | {', '.join(tests[words])} |"
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


def printed(record: str) -> list[str]:
    """Return the lines of a recorded sweep's table, as its owner would see them."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()):
        sweep = mnist_tune.load_sweep(DOCS.parent / "benchmarks" / "records" / record)
        sweep.table()
    text = output.getvalue().replace("python -m mnist_tune", "mnist-tune")
    text = re.sub(" {4}Picture: .*", "", text)
    text = re.sub(rf"\S*{record}", f"results/{sweep.meta['name']}/TIME", text)
    return text.splitlines()


def with_printed(page: str) -> str:
    """Return a page with what its recorded sweep prints today."""
    record, rows, count = SHOWN[page]
    lines = printed(record)
    # The table goes from its head to the first line that begins with a word.
    head = next(n for n, line in enumerate(lines) if line.lstrip().startswith("rate"))
    end = next(n for n, line in enumerate(lines) if n > head and line[0].isalpha())
    shown = lines[head:end]
    if rows:
        shown = [line for line in shown if line.split()[0] in rows]
    shown += lines[end : end + count]
    block = "".join(f"    {line.rstrip()}\n" for line in shown)
    pattern = rf"(?<={PRINTED_BELOW})(?: {{4}}.*\n)+"
    # a function, because a block may have what reads as a reference to a group
    return re.sub(pattern, lambda _: block, (DOCS / page).read_text())


PAGES: dict[str, Callable[[], str]] = {
    "flags.md": flags_page,
    "python.md": python_page,
    "tables.md": tables_page,
    "promises.md": promises_page,
    **{page: partial(with_printed, page) for page in SHOWN},
}

if __name__ == "__main__":
    for page, text_of in PAGES.items():
        (DOCS / page).write_text(text_of())
