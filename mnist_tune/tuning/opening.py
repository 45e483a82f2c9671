"""Open the folder of a sweep, a new one or one to resume. Bad input is refused here,
before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mnist_tune import storage
from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import TaskData
from mnist_tune.results.sweep_meta import SweepKind
from mnist_tune.runtime.ray_session import check_session
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.again import open_again
from mnist_tune.tuning.new_sweep import open_new
from mnist_tune.tuning.opened import Opened, Wanted
from mnist_tune.tuning.options import SweepOptions


def open_sweep(
    name: str,
    options: SweepOptions,
    lacking: Wanted = lambda recorded, holdout: {},
    kind: SweepKind = SweepKind.SWEEP,
    templates: Sequence[TrialConfig] = (),
    recorded: Mapping[str, Any] | None = None,
    data: Dataset | TaskData | None = None,
    check: Callable[[TrialConfig], None] = lambda template: None,
) -> Opened:
    """Open the folder of a sweep: a new one, or the one that the options resume.
    Everything that can be checked is checked before anything is written.

    `lacking` returns the trials to add, or to train longer. `templates` are what a
    search will propose, as far as it is known. What is `recorded` stands beside the
    options of a new sweep. The `data` are loaded unless they are given. `check` is
    called with each template, once it is known how many examples it holds out, and may
    raise a `UserError`.
    """
    check_session(options.cluster(), options.dashboard)
    where = options.place_to_resume()
    if where is not None:
        return open_again(
            storage.absolute(where), options, lacking, kind, data, templates, check
        )
    return open_new(name, options, lacking, kind, templates, recorded, data, check)
