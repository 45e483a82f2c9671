"""Which careless edits of the package do the tests notice?

    python checks/careless_edits.py draw --count 40 --seed 45 > checks/careless_edits.txt
    python checks/careless_edits.py run --suite HEAD --tests tests/regimes

`draw` draws lines in functions of the package and edits each by one slip: a comparison
or a sign turned round, a constant off by one, two arguments swapped, a `not` dropped, a
statement removed. Nobody chooses. `run` makes one edit after the other in a copy of the
commit that they were drawn on, and runs the tests of another commit on it until one
fails. An edit that changes nothing is never noticed: compare two suites on the same
list.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".txt")
ENDS = {0: "not noticed", 5: "no test ran"}
TURNED: dict[type[ast.AST], tuple[str, str]] = {}
"""For each operator, its text and that of another one."""
TURNED[ast.Lt] = ("<", "<=")
TURNED[ast.LtE] = ("<=", "<")
TURNED[ast.Gt] = (">", ">=")
TURNED[ast.GtE] = (">=", ">")
TURNED[ast.Eq] = ("==", "!=")
TURNED[ast.NotEq] = ("!=", "==")
TURNED[ast.In] = ("in", "not in")
TURNED[ast.NotIn] = ("not in", "in")
TURNED[ast.Is] = ("is", "is not")
TURNED[ast.IsNot] = ("is not", "is")
TURNED[ast.Add] = ("+", "-")
TURNED[ast.Sub] = ("-", "+")
TURNED[ast.Mult] = ("*", "/")
TURNED[ast.Div] = ("/", "*")
TURNED[ast.And] = ("and", "or")
TURNED[ast.Or] = ("or", "and")


def slips(line: str, node: ast.AST) -> Iterator[str]:
    """Yield the line with each slip that may happen to a node of it."""
    match node:
        case ast.Compare(left, [operator], [right]) | ast.BinOp(left, operator, right):
            yield from turned(line, left, operator, right)
        case ast.BoolOp(operator, [left, right, *_]):
            yield from turned(line, left, operator, right)
        case ast.UnaryOp(ast.Not(), operand):
            yield with_text(line, node, text_of(line, operand))
        case ast.Constant(bool() as value):
            yield with_text(line, node, str(not value))
        case ast.Constant(int() | float() as value):
            yield with_text(line, node, str(value + 1))
        case ast.Call(_, [first, second, *_]):
            yield from swapped(line, first, second)
        case ast.Expr(ast.Call()) | ast.Raise() | ast.AugAssign():
            yield with_text(line, node, "pass")


def turned(
    line: str, first: ast.expr, operator: ast.AST, second: ast.expr
) -> Iterator[str]:
    """Yield the line with the operator between two values turned round."""
    if type(operator) not in TURNED:
        return
    before, after = TURNED[type(operator)]
    start = first.end_col_offset or 0
    end = second.col_offset
    between = line.encode()[start:end].decode()
    yield replaced(line, start, end, between.replace(before, after, 1))


def swapped(line: str, first: ast.expr, second: ast.expr) -> Iterator[str]:
    """Yield the line with two arguments swapped."""
    first_text = text_of(line, first)
    second_text = text_of(line, second)
    if isinstance(first, ast.Starred) or first_text == second_text:
        return
    text = f"{second_text}, {first_text}"
    yield replaced(line, first.col_offset, second.end_col_offset or 0, text)


def with_text(line: str, node: ast.expr | ast.stmt, text: str) -> str:
    """Return the line with a text in place of a node."""
    return replaced(line, node.col_offset, node.end_col_offset or 0, text)


def replaced(line: str, start: int, end: int, text: str) -> str:
    data = line.encode()  # ast counts bytes
    edited = data[:start] + text.encode() + data[end:]
    return edited.decode()


def text_of(line: str, node: ast.expr) -> str:
    return line.encode()[node.col_offset : node.end_col_offset].decode()


def edits(root: Path) -> dict[tuple[str, int], list[str]]:
    """Return the edits of each line that stands in a function of the package."""
    edited: dict[tuple[str, int], list[str]] = {}
    for file in sorted(root.glob("mnist_tune/**/*.py")):
        path = str(file.relative_to(root))
        source = file.read_text()
        lines = source.splitlines()
        for node in nodes_of_functions(ast.parse(source)):
            number = getattr(node, "lineno", 0)
            if not number or number != getattr(node, "end_lineno", 0):
                continue
            line_edits = edited.setdefault((path, number), [])
            for edit in slips(lines[number - 1], node):
                if edit not in line_edits:
                    line_edits.append(edit)
    return {place: line_edits for place, line_edits in edited.items() if line_edits}


def nodes_of_functions(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of all functions; of one in another twice."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                yield from ast.walk(statement)


def draw(count: int, seed: int) -> None:
    """Print the commit, and edits of it, a line each: the file and the line's number,
    the line before and after."""
    print(git("rev-parse", "HEAD").decode().strip())
    rng = random.Random(seed)
    edited = edits(ROOT)
    for path, number in sorted(rng.sample(sorted(edited), count)):
        before = (ROOT / path).read_text().splitlines()[number - 1]
        after = rng.choice(edited[path, number])
        print(f"{path}:{number}", before, after, sep="\t")


def git(*command: str) -> bytes:
    return subprocess.run(
        ["git", *command], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout


def run(suite: str, tests: list[str], numbers: list[int]) -> None:
    """Print for each edit of the list which test notices it first."""
    commit, *lines = LIST.read_text().splitlines()
    for number in numbers or range(1, len(lines) + 1):
        place, before, after = lines[number - 1].split("\t")
        with TemporaryDirectory() as folder:
            extract([commit], folder)
            shutil.rmtree(Path(folder, "tests"), ignore_errors=True)
            extract([suite or commit, "tests", "pyproject.toml"], folder)
            edit(Path(folder), place, before, after)
            done = run_tests(folder, tests)
        output = done.stdout.decode()
        noticed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
        if not noticed:
            code = done.returncode
            noticed = [ENDS.get(code, f"pytest ended with {code}")]
        print(number, place, *noticed, flush=True)


def extract(names: list[str], folder: str) -> None:
    """Write files of a commit, by its name and theirs, into a folder."""
    archive = git("archive", *names)
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)


def edit(root: Path, place: str, before: str, after: str) -> None:
    """Make an edit of a line in a copy of the package."""
    path, number = place.split(":")
    file = root / path
    code = file.read_text().split("\n")
    assert code[int(number) - 1] == before, place
    code[int(number) - 1] = after
    file.write_text("\n".join(code))


def run_tests(folder: str, tests: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run tests until one fails."""
    flags = "-x -n0 --tb=no -p no:cacheprovider".split()
    command = [sys.executable, "-m", "pytest", *flags, *tests]
    variables = os.environ | {"PYTHONPATH": folder}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["draw", "run"])
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=45)
    parser.add_argument(
        "--suite", help="the commit whose tests run; by default that of the edits"
    )
    parser.add_argument("--tests", nargs="*", default=["tests"])
    parser.add_argument(
        "--numbers",
        nargs="*",
        type=int,
        default=[],
        help="which of the list; by default all",
    )
    arguments = parser.parse_args()
    if arguments.what == "draw":
        draw(arguments.count, arguments.seed)
    else:
        run(arguments.suite, arguments.tests, arguments.numbers)
