"""How dense is the code, room by room? The counts of `checks/style.json` may only fall.

    python checks/style.py             compare; the exit code is 1 if a count rose
    python checks/style.py --record    write the counts that fell

A room is a folder of the package, the modules beside them, or another folder of the
project. All counts are of the syntax tree, so they don't depend on how lines are broken:

- `density`: nodes of the tree a statement. It says how much a reader must take in at
  once. Docstrings and type annotations are not counted.
- `times`: multiplications by a condition, where an `if` would say it.
- `nested`: f-strings within f-strings.
- `vague`: bindings of words that name nothing (`VAGUE`).

There is no limit on lines.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mnist_tune import cli

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).parent / "style.json"

PACKAGE = "mnist_tune"
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

NEW_ROOM = {"density": 8, "times": 0, "nested": 0, "vague": 0}
"""What a room may hold that has no recorded counts yet."""

QUESTIONS = frozenset({"bool", "any", "all", "isinstance"})
"""Functions and methods that return whether something holds."""


@dataclass
class Counts:
    """What a room holds."""

    nodes: int = 0
    statements: int = 0
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
            self.times += _multiplies_by_a_condition(node)
            self.nested += _nests_f_strings(node)
            self.vague += _name_that_is_bound(node) in VAGUE

    def figures(self) -> dict[str, float]:
        """Return what is recorded. The density is rounded up to a tenth."""
        density = self.nodes / max(self.statements, 1)
        figures: dict[str, float] = {"density": math.ceil(10 * density) / 10}
        figures["times"] = self.times
        figures["nested"] = self.nested
        figures["vague"] = self.vague
        return figures


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
    if _is_condition(node.right):
        return _is_text_or_list(node.left) or isinstance(node.left, ast.Name)
    return _is_condition(node.left) and _is_text_or_list(node.right)


def _is_text_or_list(node: ast.AST) -> bool:
    return isinstance(node, (ast.JoinedStr, ast.List)) or _is_text(node)


def _nests_f_strings(node: ast.AST) -> bool:
    if not isinstance(node, ast.JoinedStr):
        return False
    for part in node.values:
        if not isinstance(part, ast.FormattedValue):
            continue
        for child in ast.walk(part.value):
            if isinstance(child, ast.JoinedStr):
                return True
    return False


def _name_that_is_bound(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    return node.arg if isinstance(node, ast.arg) else None


def rooms(root: Path) -> dict[str, list[Path]]:
    """Return the modules of each room, by the name of its folder."""
    modules: dict[str, list[Path]] = {}
    package = root / PACKAGE
    for path in sorted(package.rglob("*.py")):
        room = PACKAGE
        if path.parent != package:
            room = f"{PACKAGE}/{path.relative_to(package).parts[0]}"
        modules.setdefault(room, []).append(path)
    for folder in FOLDERS:
        modules[folder] = sorted((root / folder).rglob("*.py"))
    return modules


def measure(root: Path) -> dict[str, dict[str, float]]:
    """Return the figures of each room."""
    figures = {}
    for room, paths in rooms(root).items():
        counts = Counts()
        for path in paths:
            counts.add(ast.parse(path.read_text(encoding="utf-8")))
        figures[room] = counts.figures()
    return figures


def compare(
    recorded: dict[str, dict[str, float]], measured: dict[str, dict[str, float]]
) -> Iterator[str]:
    """Yield what rose."""
    for room, figures in measured.items():
        before = recorded.get(room, NEW_ROOM)
        for name, value in figures.items():
            if value > before[name]:
                yield f"{room}: {name} rose from {before[name]:g} to {value:g}"


@dataclass(frozen=True, kw_only=True)
class Style:
    """Compare the density of each room with what is recorded."""

    record: bool = False
    """Write the counts to checks/style.json, if none rose."""


def main() -> int:
    config = cli.parse(Style)
    measured = measure(ROOT)
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else measured
    print(f"{'':26}{'density':>8}{'times':>7}{'nested':>8}{'vague':>7}")
    for room, figures in measured.items():
        density = f"{room:26}{figures['density']:8.1f}"
        counts = f"{figures['times']:7}{figures['nested']:8}{figures['vague']:7}"
        print(density + counts)
    rose = list(compare(recorded, measured))
    if rose:
        print("\n".join(rose))
        print(
            "Write it plainer: one thought a statement, nouns of the field, an if "
            "instead of a multiplication."
        )
        return 1
    if config.record:
        RECORD.write_text(json.dumps(measured, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    cli.run(main)
