"""Kept texts of which each part says much of what stood above."""


def shortened(lines):
    """Yield the lines, and in place of those that stood above, how many they are."""
    seen = set()
    repeats = 0
    for line in [*lines, ""]:
        if line in seen and line:
            repeats += 1
            continue
        if repeats:
            yield f"({repeats} as above)"
        yield line
        seen.add(line)
        repeats = 0
