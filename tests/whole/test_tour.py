"""The tour runs from a fresh kernel, and finds what its committed outputs say."""

import re
from pathlib import Path

import forks
import pytest
from compiled import KNOWN
from waiting import LONG_S

TOUR = Path(__file__).parents[2] / "docs" / "tour.ipynb"


def outputs_of(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def regimes(notebook):
    """Return the regime of each learning rate up to 0.4, as the tour's table of trials
    shows it."""
    shown = [output["data"] for output in outputs_of(notebook) if "data" in output]
    texts = [data["text/plain"] for data in shown]
    table = next(text for text in texts if "regime_evidence" in text)
    rows = re.findall(r"^\d+ +([\d.]+) +([a-z]+)", table, re.MULTILINE)
    return {float(rate): regime for rate, regime in rows if float(rate) <= 0.4}


SHOWN = ("Train with ", "image/png", "IFrame", "decide(DecideOptions(sweep=")
"""What is among the outputs."""


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # of the notebook's libraries
def test_the_tour_runs_from_a_fresh_kernel(tmp_path, monkeypatch):
    import nbformat  # a test that does without saves half a second
    from nbclient import NotebookClient

    notebook = nbformat.read(TOUR, as_version=4)
    committed = regimes(notebook)
    assert len(committed) == 6
    helpers = str(Path(forks.__file__).parent)
    first = f"import sys; sys.path.append({helpers!r}); import forks; forks.workers().start()"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    # the notebook goes on with its diverging rates, which depend on rounding
    monkeypatch.setenv(KNOWN, "[]")
    resources = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=LONG_S, resources=resources)
    client.execute()
    assert regimes(notebook) == committed
    pages = {path.parent.name for path in tmp_path.glob("tour/*/report.html")}
    assert pages == {"first", "edge", "own"}
    outputs = [str(output) for output in outputs_of(notebook)]
    for expected in SHOWN:
        assert any(expected in output for output in outputs), expected
