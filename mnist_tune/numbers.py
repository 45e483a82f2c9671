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
    if isinstance(value, (str, Integral)):
        return str(value)
    return f"{value:.12g}"


def rate(value: float, digits: int = LEAST_DIGITS) -> str:
    """Return a learning rate in so many digits, without zeros at its end."""
    return f"{value:.{digits}g}"


def digits_showing(difference: float, value: float) -> int:
    """Return the number of significant digits, at least `LEAST_DIGITS`, with which a
    value is written so that such a difference from it shows."""
    for number in (difference, value):
        if number == 0 or not math.isfinite(number):
            return LEAST_DIGITS
    places = _magnitude(value) - _magnitude(difference)
    return min(max(places + 1, LEAST_DIGITS), MOST_DIGITS)


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def told_apart(values: Iterable[float], digits: int = LEAST_DIGITS) -> dict[float, str]:
    """Return each number with so many significant digits, or with more where two would
    be the same."""
    different = sorted(set(values))
    texts = {value: rate(value, digits) for value in different}
    if len(set(texts.values())) == len(different):
        return texts
    if digits < 16:
        return told_apart(different, digits + 1)
    return {value: repr(float(value)) for value in different}


def counted(count: int, noun: str = "trial") -> str:
    """Return a count with its noun: `1 trial`, `2 trials`."""
    ending = "" if count == 1 else "s"
    return f"{count:,} {noun}{ending}"


def listed(names: Sequence[str]) -> str:
    """Return some names in a row; where one has commas, `and` is between them."""
    some_have_commas = any("," in name for name in names)
    separator = " and " if some_have_commas else ", "
    return separator.join(names)


def spoken(seconds: float) -> str:
    """Return a time as people say it: `4 min 31 s`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {rest} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{rest} s"
