"""The tour runs from a fresh kernel, and finds what its committed outputs say."""

import re
from pathlib import Path

import forks
import pytest
from compiled import KNOWN
from waiting import LONG_S

TOUR = Path(__file__).parents[2] / "docs" / "tour.ipynb"


def regimes(notebook):
    """Return the regime of each learning rate up to 0.4, as the tour's table of trials
    shows it."""
    shown = [
        output["data"]["text/plain"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    table = next(text for text in shown if "regime_evidence" in text)
    rows = re.findall(r"^\d+ +([\d.]+) +([a-z]+)", table, re.MULTILINE)
    return {float(rate): regime for rate, regime in rows if float(rate) <= 0.4}


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # of the notebook's libraries
def test_the_tour_runs_from_a_fresh_kernel(tmp_path, monkeypatch):
    import nbformat  # a test that does without saves half a second
    from nbclient import NotebookClient

    notebook = nbformat.read(TOUR, as_version=4)
    committed = regimes(notebook)
    assert len(committed) == 6
    first = f"import sys; sys.path.append({str(Path(forks.__file__).parent)!r}); import forks; forks.workers().start()"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    # the notebook goes on with its diverging rates, which depend on rounding
    monkeypatch.setenv(KNOWN, "[]")
    NotebookClient(
        notebook, timeout=LONG_S, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert regimes(notebook) == committed
    assert {path.parent.name for path in tmp_path.glob("tour/*/report.html")} == {
        "first",
        "edge",
        "own",
    }
    shown = [
        str(output) for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    for expected in (
        "Train with ",
        "image/png",
        "IFrame",
        "decide(DecideOptions(sweep=",
    ):
        assert any(expected in output for output in shown), expected
