"""What the scheduler, the search and the recorder of a running sweep share. Ray Tune
calls each of them by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnist_tune.regimes.histories import Histories
from mnist_tune.tuning.past import Past


@dataclass
class Run:
    """The state of a running sweep."""

    past: Past = field(default_factory=Past)
    stop_reasons: dict[str, str] = field(default_factory=dict)
    """Why our scheduler stopped trials, by their ids."""
    search: Any = None
    """The searcher that proposes trials; None if nothing does."""

    @property
    def histories(self) -> Histories:
        """The epochs so far of all trials, also those from before a resume."""
        return self.past.histories

    def take_up(
        self, trial_id: str, row: Mapping[str, Any], repeated: bool = False
    ) -> None:
        """Add an epoch's row to the histories, as their only writer.

        Tune tells a scheduler of a row before it tells the recorder, and there may be
        no scheduler of ours. So both call this, and the second call changes nothing.
        """
        self.histories.add(trial_id, row, repeated)
