"""What the options of a resume are: what its folder records, and on top of it what is
given now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from mnist_tune import cli, storage
from mnist_tune.continuation import resume_command
from mnist_tune.data_spec import ARRAYS
from mnist_tune.errors import UserError, closest
from mnist_tune.invocation import words
from mnist_tune.named_code import parse_call
from mnist_tune.own_code.loading import load_own, names_in, refuse_unloaded
from mnist_tune.own_code.recorded import load_recorded
from mnist_tune.own_code.registry import ENTRIES, is_named_again, names_own_code
from mnist_tune.results.meta import read_record
from mnist_tune.results.sweep_meta import SweepMeta
from mnist_tune.runtime.ray_session import stop_ray_at_exit
from mnist_tune.storage import Place
from mnist_tune.sweep import Sweep, load_sweep
from mnist_tune.terminal import announce
from mnist_tune.trial import Training, TrialConfig
from mnist_tune.tuning.options import (
    OWN_DATA,
    Data,
    InResume,
    Options,
    SomeOptions,
    SweepOptions,
    annotated,
    fits,
    hints_of,
    plain,
)


def command_options(
    kind: type[SomeOptions],
    arguments: Sequence[str] | None = None,
    record: SweepMeta | None = None,
) -> SomeOptions:
    """Return the options of a command line, or of `arguments`. What is not given is as
    recorded in the folder that --resume names; with --smoke, as a smoke test has it. On
    a mistake, print one line and exit with code 2. Ray is shut down when the process
    ends, after the command has printed its tables."""
    stop_ray_at_exit()
    options = cli.parse(kind, arguments)
    values = cli.given(options, arguments)
    where = options.place_to_resume()
    if where is not None:
        return resumed_with(kind, where, values, record)
    load_own(values)
    if getattr(options, "smoke", False):
        smoke: Mapping[str, Any] = vars(kind)["SMOKE"]
        return kind(**{**smoke, **values})
    return options


def python_options(options: SomeOptions) -> SomeOptions:
    """Return the options of a call from Python. If they resume a sweep, those with
    their default are as recorded."""
    load_own(options)
    where = options.place_to_resume()
    if where is None:
        return options
    return resumed_with(type(options), where, options.given())


def resumed_with(
    kind: type[SomeOptions],
    where: Place,
    changes: Mapping[str, Any],
    record: SweepMeta | None = None,
) -> SomeOptions:
    """Return the options of a sweep that is resumed with these `changes`. Its
    `sweep.json` is read unless what it records is given. Raises `UserError`, as
    `continued`."""
    load_own(changes)
    record = record or read_record(where)
    recorded = recorded_options(kind, record, where)
    names = hints_of(kind)
    for name in changes:
        if name not in names:
            raise UserError(f"{where} has no option {name!r}{closest(name, names)}")
    now = replace(recorded, **changes)
    return continued(recorded, now, record, where, changes)


def recorded_options(
    kind: type[SomeOptions], record: SweepMeta, where: Place
) -> SomeOptions:
    """Return the options that the `sweep.json` of a folder records. Those that belong
    to a command line, or are not recorded, have their defaults. Raises `UserError` if
    another command made the sweep."""
    if kind.NAME and not is_made_by(kind, record):
        raise UserError(
            f"{where} was made by something else; resume it with: {resume_command(record, where)}"
        )
    values = values_of(kind, record.options, where)
    for name, rule in annotated(kind, InResume).items():
        if rule is InResume.HERE:
            values.pop(name, None)
    return kind(**values)


OF_A_START = {"output", "resume", "smoke", "sweep"}
"""Options of a command line that say what a new sweep is, or where."""


def flags_of_a_resume(kind: type[SweepOptions]) -> set[str]:
    """Return the options that a resume may be given: those that add to what is
    recorded, that may change or are of this run, and those that name own code."""
    rules = annotated(kind, InResume)
    names = {name for name, rule in rules.items() if rule is not None}
    return names - OF_A_START | ENTRIES.keys()


def is_made_by(kind: type[SweepOptions], record: SweepMeta) -> bool:
    """Return whether a sweep was made by the command that has these options, which are
    then recorded."""
    if record.name != kind.NAME:
        return False
    rules = annotated(kind, InResume)
    for name in vars(kind)["__annotations__"].keys() & rules.keys():
        is_recorded = name in record.options
        if rules[name] is not InResume.HERE and not is_recorded:
            return False
    return True


def values_of(
    kind: type[Options], recorded: Mapping[str, Any], where: Place
) -> dict[str, Any]:
    """Return the recorded values of options, each of its type. Raises `UserError` if
    one is of another type: the folder may come from anybody."""
    values = dict[str, Any]()
    for name, hint in hints_of(kind).items():
        if name not in recorded:
            continue
        value = plain(recorded[name], hint)
        if not fits(value, hint):
            raise UserError(
                f"{where} records that {words(name)} is {str(value)[:80]!r}, which it can't be"
            )
        values[name] = value
    return values


OF_THE_SWEEP = {field.name for field in fields(Training)}
OF_THE_SWEEP |= {"batch_size", "momentum", "learning_rates"}
"""Options that can't be given beside `--sweep`: its settings have values of their
own."""


SomeData = TypeVar("SomeData", bound=Data)


def trained_as(
    options: SomeData,
    folder: str | Path,
    chosen: Callable[[Sweep], Sequence[TrialConfig]],
    *free: str,
) -> tuple[SomeData, list[TrialConfig], Sweep]:
    """Return the options with the data of a sweep, the `chosen` ones of its settings,
    and the sweep. Raises `UserError` if an option is given that the settings have,
    other than those that are `free`, or own code can't be run."""
    for name in options.given():
        if name in OF_THE_SWEEP.difference(free):
            flags = f"{typed(type(options), name)} and --sweep"
            raise UserError(
                f"{flags} can't go together: settings are those of the sweep"
            )
    place = storage.place(folder)
    sweep = load_sweep(place)
    rank_by = getattr(options, "rank_by", None)
    if rank_by:
        # Which settings are the best is asked of the sweep, so it has to know.
        recorded = sweep.meta["options"] | {"rank_by": rank_by}
        sweep = replace(sweep, meta=sweep.meta | {"options": recorded})
    _refuse_other_names(options, sweep, place)
    trials = list(chosen(sweep))
    own: list[str] = []
    if not sweep.record.data.of_networks:
        own = list(dict.fromkeys(trial.architecture for trial in trials))
    # A task or loop that is named again stands for its own trials alone.
    named_again = [name for name in options.own if name in own]
    if named_again:
        own = list(dict.fromkeys(named_again))
        trials = [trial for trial in trials if trial.architecture in own]
    # Only the code that these trials call is needed.
    names_needed = set[str]()
    for calls in names_in(*trials).values():
        names_needed |= {parse_call(call).name for call in calls}
    load_recorded(
        sweep.record.own_code,
        place,
        trials,
        names_in(options.given()),
        names_needed=names_needed,
        say=announce,
        trust_code=options.trust_code,
    )
    refuse_unloaded(place, sweep.record.code, *trials, how="sweep")
    values = data_of(options, sweep)
    for flag in OWN_DATA:
        values[flag] = ()
        if flag == sweep.record.data.flag:
            values[flag] = tuple(own)
    return replace(options, **values), trials, sweep


def _refuse_other_names(options: Data, sweep: Sweep, place: Place) -> None:
    """Raise a `UserError` if the options name a network, task or optimiser that the
    sweep has not."""
    flag = sweep.record.data.flag
    names_of_flags = names_in(options.given())
    for name in (flag, "optimizer"):
        column = name
        if name == flag:
            column = "architecture"
        trained = set(sweep.trials[column])
        for other in sorted({*names_of_flags[name]} - trained):
            if not is_named_again(name, [other], trained):
                raise UserError(
                    f"{place} has no {name} {other}, and with --sweep, settings are those of the sweep"
                )


DATA_OPTIONS = {"target", "target_loss", "rank_by", "train_evaluation"}
"""Options of a sweep that go with its data."""


def data_of(options: Data, sweep: Sweep) -> dict[str, Any]:
    """Return the data options of a new sweep that trains on the data of another one: as
    recorded there, unless they are given. Raises `UserError` if these are arrays, which
    have to be given."""
    changed = set(options.given())
    if "dataset" in changed:
        changed.add("data_dir")
    data_options = set(hints_of(Data)) | DATA_OPTIONS
    recorded = {
        name: value
        for name, value in sweep.record.options.items()
        if name in data_options - changed
    }
    if recorded.get("dataset") == ARRAYS:
        raise UserError(
            f"{sweep.path} was trained on arrays from Python, which it lacks; give them again: dataset=..."
        )
    return values_of(type(options), recorded, sweep.path)


def continued(
    recorded: SomeOptions,
    now: SomeOptions,
    record: SweepMeta,
    where: Place,
    changes: Mapping[str, Any],
) -> SomeOptions:
    """Return the options of a resume, and load the own code that it recorded.

    Args:
        recorded: those that its folder records.
        now: the same with what is given now.
        changes: what is given now alone.

    Raises:
        UserError: an option was given that can't change, or the code can't be run.
    """
    # Options that make trials add to what is recorded. Others that make them what they
    # are can't change: rows of before would not be comparable.
    values = dict[str, Any]()
    rules = annotated(type(now), InResume)
    for name, before in vars(recorded).items():
        after = getattr(now, name)
        if rules[name] in (InResume.HERE, InResume.CHANGES):
            continue
        if name in ENTRIES and _is_named_again(after, before, record.code, name):
            values[name] = before
        elif after != before and rules[name] is InResume.ADDS:
            values[name] = _added(name, before, after, where)
        elif after != before:
            raise _cannot_change(type(now), name, before, where)
    # as texts, since they may be arrays
    is_other_dataset = str(now.dataset) != str(recorded.dataset)
    if now.data_dir == recorded.data_dir and is_other_dataset:
        values["data_dir"] = None  # it is the folder of the recorded data set
    is_named = any(names_in(changes).values())
    if now.changed_code and record.code and not is_named:
        files = []
        for code in record.code:
            flag = code["flag"]
            files.append(
                words(flag, record.own_code.named_from_here(flag, code["name"]))
            )
        raise UserError(
            f"--changed-code takes a file that is named, too: {', '.join(files)}"
        )
    load_recorded(
        record.own_code,
        where,
        [recorded],
        names_in(changes),
        say=now.say,
        trust_code=now.trust_code,
        changed_code=now.changed_code,
    )
    return replace(now, **values)


def _added(name: str, before: Any, now: Any, where: Place) -> Any:
    """Return an option that makes trials, with what is added to what was recorded."""
    if isinstance(before, tuple):
        return tuple(dict.fromkeys((*before, *now)))
    if before is not None and (now is None or now > before):
        return now
    raise UserError(
        f"{words(name)} {now}: {where} was asked for {before} already; a resume can only add to that"
    )


def typed(options: type[Options], name: str) -> str:
    """Return the flag that changes an option from its default."""
    if getattr(options, name) is True:
        name = f"no_{name}"
    return words(name)


def _cannot_change(
    kind: type[Options], name: str, before: Any, where: Place
) -> UserError:
    if isinstance(before, bool):
        state = "was started with it"
        if before is getattr(kind, name):
            state = "was started without it"
    elif isinstance(before, tuple):
        state = f"has {' '.join(map(str, before))}"
    else:
        state = f"has {before}"
    change = f"{typed(kind, name)} can't change in a resume"
    return UserError(f"{change}: {where} {state}; leave it out, or start a new sweep")


def _is_named_again(
    now: Any, before: Any, code: Sequence[Mapping[str, Any]], flag: str
) -> bool:
    """Return whether an option only names what the sweep runs again, without arguments,
    so that one's own code is loaded. What that is stands in `code`: a sweep that was
    started from Python, or a decision between the settings of another one, runs code
    that its options do not name, or name by another path."""
    names = [text for text in _texts(before) if not names_own_code(text)]
    names += [entry["name"] for entry in code if entry["flag"] == flag]
    again = _texts(now)
    return bool(again) and is_named_again(flag, again, names)


def _texts(value: Any) -> tuple[str, ...]:
    """Return the texts of an option, which may be a tuple, one text or nothing."""
    if isinstance(value, tuple):
        return value
    if not value:
        return ()
    return (value,)
