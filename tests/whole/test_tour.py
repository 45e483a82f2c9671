"""The tour runs from a fresh kernel."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TOUR = Path(__file__).parents[2] / "docs" / "tour.ipynb"


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # of the notebook's libraries
def test_the_tour_runs_from_a_fresh_kernel(tmp_path):
    notebook = nbformat.read(TOUR, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # they would be of an older version
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert {path.parent.name for path in tmp_path.glob("tour/*/report.html")} == {"first", "edge", "own"}
    shown = [str(output) for cell in notebook.cells for output in cell.get("outputs", [])]
    for expected in ("mlp-64-tanh: ", "image/png", "IFrame", "linear(scale=0.1)"):
        assert any(expected in output for output in shown), expected
