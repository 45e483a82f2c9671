"""Kept texts of which each part says much of what stood above."""


def shortened(lines):
    """Yield the lines, and in place of those that stood above, how many they are."""
    seen, known = set(), 0
    for line in [*lines, ""]:
        if line in seen and line:
            known += 1
            continue
        if known:
            yield f"({known} as above)"
        yield line
        seen.add(line)
        known = 0
