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
TURNED = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}


def slips(line: str, node: ast.AST) -> Iterator[str]:
    """Yield the line with each slip that may happen to a node of it."""

    def replaced(start: int, end: int, text: str) -> str:
        data = line.encode()  # ast counts bytes
        return (data[:start] + text.encode() + data[end:]).decode()

    def text(of: ast.expr) -> str:
        return line.encode()[of.col_offset : of.end_col_offset].decode()

    def turned(left: ast.expr, operator: ast.AST, right: ast.expr) -> Iterator[str]:
        if type(operator) in TURNED:
            before, after = TURNED[type(operator)]
            between = line.encode()[left.end_col_offset : right.col_offset].decode()
            yield replaced(
                left.end_col_offset or 0,
                right.col_offset,
                between.replace(before, after, 1),
            )

    match node:
        case ast.Compare(left, [operator], [right]) | ast.BinOp(left, operator, right):
            yield from turned(left, operator, right)
        case ast.BoolOp(operator, [left, right, *_]):
            yield from turned(left, operator, right)
        case ast.UnaryOp(ast.Not(), operand):
            yield replaced(node.col_offset, node.end_col_offset or 0, text(operand))
        case ast.Constant(bool() as value):
            yield replaced(node.col_offset, node.end_col_offset or 0, str(not value))
        case ast.Constant(int() | float() as value):
            yield replaced(node.col_offset, node.end_col_offset or 0, str(value + 1))
        case ast.Call(_, [first, second, *_]) if not isinstance(
            first, ast.Starred
        ) and text(first) != text(second):
            yield replaced(
                first.col_offset,
                second.end_col_offset or 0,
                f"{text(second)}, {text(first)}",
            )
        case ast.Expr(ast.Call()) | ast.Raise() | ast.AugAssign():
            yield replaced(node.col_offset, node.end_col_offset or 0, "pass")


def edits(root: Path) -> dict[tuple[str, int], list[str]]:
    """Return the edits of each line that stands in a function of the package."""
    found: dict[tuple[str, int], list[str]] = {}
    for file in sorted(root.glob("mnist_tune/**/*.py")):
        lines = file.read_text().splitlines()
        functions = [
            one
            for one in ast.walk(ast.parse(file.read_text()))
            if isinstance(one, ast.FunctionDef)
        ]
        for function in functions:
            for node in (one for part in function.body for one in ast.walk(part)):
                if getattr(node, "lineno", 0) and node.lineno == node.end_lineno:  # type: ignore[attr-defined]
                    number = node.lineno  # type: ignore[attr-defined]
                    slipped = found.setdefault(
                        (str(file.relative_to(root)), number), []
                    )
                    slipped += [
                        one
                        for one in slips(lines[number - 1], node)
                        if one not in slipped
                    ]
    return {place: after for place, after in found.items() if after}


def draw(count: int, seed: int) -> None:
    """Print the commit, and edits of it, a line each: the file and the line's number,
    the line before and after."""
    print(git("rev-parse", "HEAD").decode().strip())
    rng, found = random.Random(seed), edits(ROOT)
    for path, number in sorted(rng.sample(sorted(found), count)):
        before = (ROOT / path).read_text().splitlines()[number - 1]
        print(f"{path}:{number}", before, rng.choice(found[path, number]), sep="\t")


def git(*command: str) -> bytes:
    return subprocess.run(
        ["git", *command], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout


def run(suite: str, tests: list[str], numbers: list[int]) -> None:
    """Print for each edit of the list which test notices it first."""
    commit, *lines = LIST.read_text().splitlines()
    for number in numbers or range(1, len(lines) + 1):
        place, before, after = lines[number - 1].split("\t")
        path, at = place.split(":")
        with TemporaryDirectory() as folder:
            for of in ([commit], [suite or commit, "tests", "pyproject.toml"]):
                shutil.rmtree(Path(folder, "tests"), ignore_errors=True)
                subprocess.run(
                    ["tar", "-x", "-C", folder], input=git("archive", *of), check=True
                )
            file = Path(folder, path)
            code = file.read_text().split("\n")
            assert code[int(at) - 1] == before, place
            code[int(at) - 1] = after
            file.write_text("\n".join(code))
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-n0",
                "--tb=no",
                "-p",
                "no:cacheprovider",
                *tests,
            ]
            ran = subprocess.run(
                command,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": folder},
                capture_output=True,
            )
        noticed = re.findall(
            r"^(?:FAILED|ERROR) (\S+)", ran.stdout.decode(), re.MULTILINE
        )
        print(
            number,
            place,
            *(
                noticed
                or [ENDS.get(ran.returncode, f"pytest ended with {ran.returncode}")]
            ),
            flush=True,
        )


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
    given = parser.parse_args()
    draw(given.count, given.seed) if given.what == "draw" else run(
        given.suite, given.tests, given.numbers
    )
