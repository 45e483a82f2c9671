"""The findings of a sweep as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_tune.reports.findings import Finding, Kind


def lines(found: Sequence[Finding], most: int | None = None, others: str = "") -> list[str]:
    """Return findings as lines; of more than `most`, the first ones and how many `others` there are."""
    left = len(found) - most if most else 0
    return [line for one in found[:most] for line in _lines(one)] + [f"... and {left} more {others}"] * (left > 0)


def _lines(one: Finding) -> list[str]:
    said = {
        Kind.REGIMES: f"Regimes: {one.text}",
        Kind.NOTE: f"Note: {one.text}",
        Kind.LEFT: f"{one.text} {one.command}",
        Kind.NEXT: f"{one.text} {one.command}",
        Kind.FAILURE: f"{one.about} failed: {one.text}",
        Kind.STATE: one.text,
    }
    first = said.get(one.kind, f"{one.about}: {one.text}")
    return [first, *(f"  {line}" for line in one.more), *[f"  {one.question} {one.command}"] * bool(one.question)]
