"""Print the tables of sweeps and what they say, write their page, or draw their
picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from mnist_tune import Sweep, UserError, cli, load_sweep, storage
from mnist_tune.reports.terminal import print_report, print_result


@dataclass(frozen=True)
class Show:
    """Print a sweep's table and its answer. Several sweeps share a page."""

    EXAMPLES: ClassVar[dict[str, str]] = {
        "results/lr_regimes": "The newest sweep there:",
        "results/first results/second --page both.html": "Two sweeps, and a page with both side by side:",
        "results/lr_regimes --picture regimes.png": "A picture for print:",
    }

    results: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders of sweeps, or folders above them, which stand for their newest sweep; or
    URIs such as s3://bucket/sweep."""
    all: bool = False
    """Print one line per trial. By default, seeds share a line, and a large sweep is
    summarised by ranges of rates."""
    json: bool = False
    """Print one object of JSON in place of the table: the answer as data, trials with
    their labels, and what to ask next."""
    page: str | None = None
    """Write the page of the sweep, or of several side by side, into this file or
    URI."""
    picture: Path | None = None
    """Draw the picture of the sweep into this file."""


def _show_object(config: Show, sweeps: Sequence[Sweep]) -> None:
    """Print a sweep as JSON."""
    if len(sweeps) > 1:
        raise UserError("--json prints one object, of one sweep; name one")
    if config.page or config.picture:
        raise UserError(
            "--json prints one object and nothing else; ask for --page and --picture "
            "without it"
        )
    print_result(sweeps[0], as_object=True)


def main() -> None:
    config = cli.parse(Show)
    if not config.results:
        raise UserError("name the folder of a sweep, or of several")
    sweeps = [load_sweep(path) for path in config.results]
    if config.picture and len(sweeps) > 1:
        raise UserError("a picture is of one sweep; --page takes several")
    if config.json:
        return _show_object(config, sweeps)
    for path, sweep in zip(config.results, sweeps, strict=True):
        place = storage.place(path)
        if isinstance(sweep.path, Path) and not sweep.path.samefile(place):
            print(f"The newest sweep in {path}: {sweep.path}")
        print_report(sweep, config.all, picture=config.picture is not None)
    if config.picture:
        sweeps[0].plot(config.picture)
        print(f"Picture: {config.picture}")
    if config.page:
        from mnist_tune.reports.page import write_page

        write_page(sweeps, storage.place(config.page))
        print(f"Page: {config.page}")
