"""Does a word of a message decide anything? With a marker at the end of every text that
a person reads, a sweep must do and answer the same.

    python -m checks.markers regimes --smoke

runs a command of `mnist-tune` with such markers, also in the processes that train.
`checks/combinations.py --marked` compares such runs with those without. They are
appended at the one place that makes each kind of text.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Collection, Iterator, Mapping
from types import ModuleType
from typing import Any

MARK = " [unknown, on its way: accuracy 3 – 7 left in a new sweep, resume]"
"""The marker. It has words, and a dash, for which texts were searched once."""

TEXTS = ("regime_evidence", "error")
"""The columns of `trials` that hold texts."""


def marked(text: str) -> str:
    """Return a text with the marker at its end. An error that is copied to another
    process is made again there, of its marked text."""
    return text if text.endswith(MARK) else text + MARK


def without_texts(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of `--json` without its texts."""
    facts = {name: value for name, value in content.items() if name != "text"}
    facts["trials"] = [_without(TEXTS, row) for row in content["trials"]]
    facts["questions"] = [_without(["text"], row) for row in content["questions"]]
    return facts


def _without(names: Collection[str], row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


# --- the places that make texts


def mark_errors(errors: ModuleType) -> None:
    """Append the marker to what each `UserError` says."""
    make = errors.UserError.__init__

    def make_marked(self: Exception, message: str = "") -> None:
        make(self, marked(message))

    errors.UserError.__init__ = make_marked


def mark_lines(terminal: ModuleType) -> None:
    """Append the marker to each note and warning on the terminal."""
    make = terminal._line

    def make_marked(kind: str, text: str) -> Any:
        return make(kind, marked(text))

    terminal._line = make_marked  # type: ignore[attr-defined]


def mark_evidence(evidence: ModuleType) -> None:
    """Append the marker to the text of each reason."""
    for reason, make in evidence.TEXTS.items():
        evidence.TEXTS[reason] = _with_marker(make)


def mark_notes(findings: ModuleType) -> None:
    """Append the marker to each note beside an answer. Modules that import this
    function take it as it is then."""
    make = findings.notes

    def make_marked(sweep: Any) -> Iterator[str]:
        for text in make(sweep):
            yield marked(text)

    findings.notes = make_marked  # type: ignore[attr-defined]


def _with_marker(make: Callable[..., str]) -> Callable[..., str]:
    def make_marked(*values: Any, **numbers: Any) -> str:
        return marked(make(*values, **numbers))

    return make_marked


# --- processes


def mark_process() -> None:
    """Mark all texts of this process, and of the processes that Ray starts for it.
    Nothing else of the package may have been imported."""
    import ray

    from mnist_tune.regimes import evidence
    from mnist_tune.reports import findings

    mark_worker()
    mark_evidence(evidence)
    mark_notes(findings)
    start = ray.init

    def start_marked(**options: Any) -> Any:
        hook = {"worker_process_setup_hook": "checks.markers.mark_worker"}
        return start(**options, runtime_env=hook)

    ray.init = start_marked


def mark_worker() -> None:
    """Mark the texts that a process makes which trains: errors and lines."""
    from mnist_tune import errors, terminal

    mark_errors(errors)
    mark_lines(terminal)


if __name__ == "__main__":
    mark_process()
    # as `mnist-tune` itself: commands in answers are those that it prints
    runpy.run_module("mnist_tune", run_name="__main__", alter_sys=True)
