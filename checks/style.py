"""How dense is the code, room by room? No room may be denser than the limits.

    python checks/style.py

A room is a folder of the package, the modules beside them, or another folder of the
project. All counts are of the syntax tree, so they don't depend on how lines are broken:

- `density`: nodes of the tree a statement. It says how much a reader must take in at
  once. Docstrings and type annotations are not counted.
- `choices`: conditional expressions per 100 statements, where an `if` would say it.
- `times`: multiplications by a condition, likewise.
- `nested`: f-strings within f-strings.
- `vague`: bindings of words that name nothing (`VAGUE`).

There is no limit on lines.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mnist_tune import cli

ROOT = Path(__file__).parent.parent

PACKAGE = "mnist_tune"
IN_ALL = "mnist_tune in all"
FOLDERS = (
    "analysis",
    "benchmarks",
    "checks",
    "docs",
    "examples",
    "sweeps",
    "tests",
    "validation",
)
"""The folders that are one room each; in the package, each folder is a room."""

VAGUE = frozenset(
    "one found said known of given asked taken kept wanted told left others more each "
    "thing things".split()
)
"""Words that name nothing. Others that name as little are no gain in their place."""

LIMITS = {"density": 8.0, "choices": 1.5, "times": 0, "nested": 0, "vague": 3}
"""What a room may have at most. Syne Tune's tests have a density of 8.4, the field's
best code 6 to 7."""

TESTS = LIMITS | {"density": 8.6, "vague": 20}

WHOLE = {"density": 7.0}
"""What the package may have at most, all of its rooms together."""

QUESTIONS = frozenset({"bool", "any", "all", "isinstance"})
"""Functions and methods that return whether something holds."""


@dataclass
class Counts:
    """What a room holds."""

    nodes: int = 0
    statements: int = 0
    choices: int = 0
    times: int = 0
    nested: int = 0
    vague: int = 0

    def add(self, tree: ast.Module) -> None:
        """Count a module, too."""
        read_as_text = set(_texts(tree))
        for node in ast.walk(tree):
            if node in read_as_text or isinstance(node, ast.expr_context):
                continue
            self.nodes += 1
            self.statements += isinstance(node, ast.stmt)
            self.choices += isinstance(node, ast.IfExp)
            self.times += _multiplies_by_a_condition(node)
            self.nested += _nests_f_strings(node)
            self.vague += _name_that_is_bound(node) in VAGUE

    def figures(self) -> dict[str, float]:
        """Return what has a limit. Shares are rounded to a tenth."""
        statements = max(self.statements, 1)
        return {
            "density": round(self.nodes / statements, 1),
            "choices": round(100 * self.choices / statements, 1),
            "times": self.times,
            "nested": self.nested,
            "vague": self.vague,
        }


def _texts(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that are read as text: docstrings and annotations."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and _is_text(statement.value):
                yield from ast.walk(statement)
        for hint in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(hint, ast.AST):
                yield from ast.walk(hint)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_condition(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        return name in QUESTIONS
    return isinstance(node, (ast.Compare, ast.BoolOp))


def _multiplies_by_a_condition(node: ast.AST) -> bool:
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, ast.Mult) and _is_condition(node.value)
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return False
    left, right = node.left, node.right
    if _is_condition(right):
        return _is_text_or_list(left) or isinstance(left, ast.Name)
    return _is_condition(left) and _is_text_or_list(right)


def _is_text_or_list(node: ast.AST) -> bool:
    return isinstance(node, (ast.JoinedStr, ast.List)) or _is_text(node)


def _nests_f_strings(node: ast.AST) -> bool:
    if not isinstance(node, ast.JoinedStr):
        return False
    values = [
        part.value for part in node.values if isinstance(part, ast.FormattedValue)
    ]
    inner = (child for value in values for child in ast.walk(value))
    return any(isinstance(child, ast.JoinedStr) for child in inner)


def _name_that_is_bound(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    return node.arg if isinstance(node, ast.arg) else None


def rooms(root: Path) -> dict[str, list[Path]]:
    """Return the modules of each room, by the name of its folder."""
    modules: dict[str, list[Path]] = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        inner = path.relative_to(root / PACKAGE).parts
        room = f"{PACKAGE}/{inner[0]}" if len(inner) > 1 else PACKAGE
        modules.setdefault(room, []).append(path)
    for folder in FOLDERS:
        modules[folder] = sorted((root / folder).rglob("*.py"))
    return modules


def measure(root: Path) -> dict[str, dict[str, float]]:
    """Return the figures of each room, and those of the package in all."""
    package = Counts()
    figures = {}
    for room, paths in rooms(root).items():
        counts = Counts()
        for path in paths:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            counts.add(tree)
            if room.startswith(PACKAGE):
                package.add(tree)
        figures[room] = counts.figures()
    figures[IN_ALL] = package.figures()
    return figures


def above(room: str, figures: dict[str, float]) -> Iterator[str]:
    """Yield what is above its limit."""
    limits = {"tests": TESTS, IN_ALL: WHOLE}.get(room, LIMITS)
    for name, limit in limits.items():
        value = figures[name]
        if value > limit:
            yield f"{room}: {name} {value:g} is above {limit:g}"


@dataclass(frozen=True, kw_only=True)
class Style:
    """Compare the density of each room with the limits."""


def main() -> int:
    cli.parse(Style)
    lines: list[str] = []
    names = ("density", "choices", "times", "nested", "vague")
    print(f"{'':26}" + "".join(f"{name:>9}" for name in names))
    for room, figures in measure(ROOT).items():
        print(f"{room:26}" + "".join(f"{figures[name]:9g}" for name in names))
        lines += above(room, figures)
    if not lines:
        return 0
    print("\n".join(lines))
    print(
        "Write it plainer: one thought a statement, nouns of the field, an if instead "
        "of a multiplication."
    )
    return 1


if __name__ == "__main__":
    cli.run(main)
