"""The cells of the table that is printed of a sweep."""

from mnist_tune.reports.table import columns
from mnist_tune.reports.view import View


def cells_of(sweep, title):
    """Return the cells of a column; no other one may have its title."""
    table = columns(View([sweep]))
    [cells] = [column.cells for column in table if column.title == title]
    return cells
