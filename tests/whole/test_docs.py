"""The pages: what they show of a sweep is what it prints, links lead somewhere, and pages and sentences are short."""

import re
from pathlib import Path

import pytest

from mnist_tune import load_sweep

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "benchmarks" / "records" / "2026-11-28-main-sweep-amd-epyc-avx2"


@pytest.fixture
def main_sweep(capsys):
    """The lines that the main command printed on the processor of its record."""
    load_sweep(RECORDED).table()
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("page", "count"), [("README.md", 4), ("docs/numbers.md", 16)])
def test_a_page_shows_what_the_main_command_prints(page, count, main_sweep):
    block = next(part for part in (ROOT / page).read_text().split("\n\n") if part.lstrip().startswith("rate  regime"))
    said = [line.strip() for line in block.splitlines()]
    known = [re.sub(r"--sweep .*", "--sweep results/lr_regimes/TIME", line).strip() for line in main_sweep]
    assert [line for line in said if line not in known] == []
    assert len([line for line in said if re.match(r"[\d.]+  ", line)]) == count
