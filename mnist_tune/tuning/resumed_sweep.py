"""Open the folder of a sweep to resume it. Bad input is refused here, before anything is started."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from mnist_tune import storage
from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.data_spec import ARRAYS
from mnist_tune.errors import UserError
from mnist_tune.execution.checkpoint import saved_epochs
from mnist_tune.own_code.loading import check_again
from mnist_tune.results.folder import fetched
from mnist_tune.results.meta import read_meta
from mnist_tune.results.provenance import changed_versions
from mnist_tune.results.remote import await_silence
from mnist_tune.results.writer import SweepWriter
from mnist_tune.runtime.ray_session import check_session
from mnist_tune.storage import Place
from mnist_tune.terminal import announce
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.new_sweep import plain
from mnist_tune.tuning.options import SweepOptions
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.wanted import additions, trials_of


def open_again(
    where: Place, options: SweepOptions, search: bool, trials: Sequence[TrialConfig] = ()
) -> tuple[SweepWriter, Past, list[Dataset]]:
    """Open the folder of a sweep to resume it. Return its writer, its past and its data, as in `open_new`.

    `options` are those of `wanted.resumed`. The sweep gets what these make of trials, and `trials`, as far as it lacks
    them.
    """
    where, say = storage.absolute(where), partial(announce, quiet=options.quiet)
    seen = None
    if isinstance(where, str):
        try:
            seen = await_silence(where, say)
        except OSError as error:
            raise UserError(f"can't read {where}: {storage.reason(error)}") from None
    path = fetched(where)
    meta = read_meta(path)
    if meta.get("search", False) != search:
        how = "run_search with resume=... and the same space, scheduler and searcher, from Python"
        raise UserError(f"{path} is {'not a search' if search else f'a search; resume it by {how}'}")
    asked = meta.get("options", {})
    check_session(options.cluster(), options.dashboard)
    _hint_at_cluster(asked.get("address"), options.cluster(), say)
    check_again(meta.get("code", []), where, say)
    dataset = _same_data(meta["dataset"], options, asked, path)
    for name, version in changed_versions(meta).items():
        say(f"note: {name} is {version}; the last bits of the resumed trials may differ")
    wanted = [*trials_of(options, asked), *trials]
    now = options.values() | {"dataset": dataset.source}
    now = {name: plain(value) for name, value in now.items() if name in asked}
    meta["options"] = asked | now | {"address": options.cluster()}
    writer = SweepWriter(where, meta, resume=True, say=say, seen=seen)
    with ExitStack() as held:
        held.enter_context(writer)
        journal, writer.journal = writer.journal, None
        assert journal, "the sweep is not resumed"
        past = Past.of(journal, meta, _extend(writer, journal.known_trials(meta), wanted, say))
        writer.last_epochs = past.last_epochs
        if options.retry_errored:
            for trial_id in sorted(past.failed):
                writer.end(trial_id, "interrupted")  # so that it is resumed after another kill, too
            past.retry_failed()
        elif past.failed:
            say(f"{len(past.failed)} trials ended in an error; --retry-errored trains them again")
        saved = writer.saved()
        _remove_states_without_rows(writer, past, saved & past.open.keys())
        # What was proposed but never recorded goes: other trials will get these ids.
        for trial_id in saved - past.trials.keys():
            storage.remove(writer.state(trial_id))
        held.pop_all()
    return writer, past, [dataset]


def _hint_at_cluster(before: Any, now: str | None, say: Callable[[str], None]) -> None:
    if before and before != now:
        where = f"the cluster at {now}" if now else "this machine"
        say(f"note: on {where}; before, it ran on a Ray cluster: --address {shlex.quote(str(before))}")


def _extend(
    writer: SweepWriter, known: Mapping[str, TrialConfig], wanted: Sequence[TrialConfig], say: Callable[[str], None]
) -> dict[str, TrialConfig]:
    """Record the trials that a resume adds, or that it trains for more epochs, and return them."""
    more = additions(known, wanted)
    for trial_id, trial in more.items():
        writer.trial(trial_id, trial)
    if more:
        longer = len(more.keys() & known.keys())
        say(f"{len(more) - longer} trials are added, {longer} train for more epochs")
    return more


def _remove_states_without_rows(writer: SweepWriter, past: Past, trials: Set[str]) -> None:
    """Remove saved states that are more than one epoch ahead of the journal, so that every epoch gets its row.

    The rows in between were lost with the driver's machine, so the trial trains again from its first epoch. If the
    state is one epoch ahead, the trial itself reports the missing row.
    """

    def check(trial_id: str) -> None:
        state = writer.state(trial_id)
        with suppress(UserError):  # the trial itself reports a damaged state
            if saved_epochs(state) > past.last_epochs.get(trial_id, 0) + 1:
                storage.remove(state)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, trials))


def _same_data(before: Mapping[str, Any], options: SweepOptions, asked: Mapping[str, Any], path: Path) -> Dataset:
    """Load the data of a resumed sweep from where they were or are said to be now. Checksums say that they are it."""
    how = "give it with --dataset or --data-dir, or from Python with SweepOptions(dataset=...)"
    name, folder = options.dataset, options.data_dir
    if "dataset" not in options.given:
        name, folder = asked.get("dataset"), folder or asked.get("data_dir")
        if name == ARRAYS:
            raise UserError(f"{path} was trained on arrays from Python; {how}")
    elif "data_dir" not in options.given:
        folder = None
    dataset = load_dataset(name, folder and Path(folder), True, options.standardize, options.train_images)
    if dataset.checksums != before["checksums"]:
        raise UserError(f"{path} was trained on other data ({before['name']}); {how}")
    return dataset
