"""How numbers are written for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

LEAST_DIGITS = 4

MOST_DIGITS = 15
"""What a float surely holds."""


def exactly(value: Any) -> str:
    """Return a setting as it was asked for: a batch size of 16384 is not 1.638e+04."""
    return str(value) if isinstance(value, (str, Integral)) else f"{value:.12g}"


def rate(value: float, digits: int = LEAST_DIGITS) -> str:
    """Return a learning rate in so many digits, without zeros at its end."""
    return f"{value:.{digits}g}"


def digits_showing(difference: float, value: float) -> int:
    """Return the number of significant digits, at least `LEAST_DIGITS`, with which a
    value is written so that such a difference from it shows."""
    if not (
        difference and value and math.isfinite(difference) and math.isfinite(value)
    ):
        return LEAST_DIGITS
    places = math.floor(math.log10(abs(value))) - math.floor(
        math.log10(abs(difference))
    )
    return min(max(places + 1, LEAST_DIGITS), MOST_DIGITS)


def told_apart(values: Iterable[float], digits: int = LEAST_DIGITS) -> dict[float, str]:
    """Return each number with so many significant digits, or with more where two would
    be the same."""
    different = sorted(set(values))
    found = {value: rate(value, digits) for value in different}
    if len(set(found.values())) == len(different):
        return found
    return (
        told_apart(different, digits + 1)
        if digits < 16
        else {value: repr(float(value)) for value in different}
    )


def counted(count: int, noun: str = "trial") -> str:
    """Return a count with its noun: `1 trial`, `2 trials`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def listed(names: Sequence[str]) -> str:
    """Return some names in a row; where one has commas, `and` is between them."""
    return (" and " if any("," in one for one in names) else ", ").join(names)


def spoken(seconds: float) -> str:
    """Return a time as people say it: `4 min 31 s`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return (
        f"{minutes} min {rest} s"
        if minutes
        else f"{seconds:.1f} s"
        if seconds < 10
        else f"{rest} s"
    )
