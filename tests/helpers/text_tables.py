"""Cases of parametrised tests, written as tables of text."""


def rows_of(text):
    """Return the rows of a table: a list of the cells between its bars for each line,
    without the spaces about them."""
    rows = []
    for line in text.strip().splitlines():
        cells = line.split("|")
        rows.append([cell.strip() for cell in cells])
    return rows
