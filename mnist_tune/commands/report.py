"""Write the page of a sweep, or of several side by side: one HTML file that needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mnist_tune import UserError, cli, load_sweep, storage
from mnist_tune.reports.page import write_page


@dataclass(frozen=True)
class Report:
    """Write the page of a sweep, or of several side by side."""

    results: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of sweeps, or folders above them, which stand for their newest sweep; or URIs such as s3://bucket/sweep."""
    output: str | None = None
    """The file, or a URI such as s3://bucket/page.html; by default report.html in the sweep's folder, or in the current
    folder if that is a URI or if there are several sweeps."""


def main() -> None:
    config = cli.parse(Report)
    if not config.results:
        raise UserError("name the folder of a sweep, or of several")
    sweeps = [load_sweep(path) for path in config.results]
    usual = sweeps[0].picture("report.html") if len(sweeps) == 1 else Path("report.html")
    where = storage.place(config.output) if config.output else usual
    write_page(sweeps, where)
    print(f"Page: {where}")
