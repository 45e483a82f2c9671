"""Which trials a command wants, on top of what a sweep's folder records.

What counts for an option: what is given now, then what the folder records, then `--smoke`, then its class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from mnist_tune import cli, invocation
from mnist_tune.errors import UserError
from mnist_tune.invocation import started_by
from mnist_tune.own_code.registry import ENTRIES, is_named_again, names_own_code
from mnist_tune.results.journal import resume_command
from mnist_tune.results.meta import read_meta
from mnist_tune.storage import Place
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.options import Mark, Options, SweepOptions, fits, flag, marks, typed, with_given


def asked(kind: type[Options], arguments: Sequence[str] | None = None) -> Options:
    """Return the options of a command line, or of `arguments`. On a mistake, print one line and exit with code 2."""
    words = invocation.arguments() if arguments is None else arguments
    options = cli.parse(kind, words)
    flags = {word.partition("=")[0].replace("_", "-") for word in words}
    names = {one.name for one in fields(kind)}
    given = {name for name in names if {flag(name), flag(f"no_{name}")} & flags}
    if getattr(options, "smoke", False):
        tiny: Mapping[str, Any] = vars(kind)["SMOKE"]
        options = replace(options, **{name: value for name, value in tiny.items() if name not in given})
    return with_given(options, given)


def resumed(options: Options, where: Place, name: str | None = None) -> Options:
    """Return the options of a resumed sweep: those given now on top of those that its folder records. A command resumes
    only sweeps of the `name` that it gives its own.

    Raises `UserError` if there is no sweep, another command made it, what it records is no option, or an option was
    given that can't change.
    """
    meta = read_meta(where)
    of_another = started_by(meta["name"]) and meta["name"] != name
    if name and (of_another or (meta.get("search") and not _are_recorded(options, meta.get("options", {})))):
        raise UserError(f"{where} was made by something else; resume it with: {resume_command(meta, where)}")
    recorded, code = recorded_options(type(options), meta, where), meta.get("code", [])
    known = marks(type(options))
    values = {name: recorded[name] for name in left_out(options, recorded) if known[name] is not Mark.HERE}
    for one in fields(options):
        mark, now = known[one.name], getattr(options, one.name)
        if mark is Mark.HERE or one.name not in options.given:
            continue
        if mark is Mark.HOW:
            values[one.name] = now
        elif one.name in ENTRIES and _is_named_again(now, recorded.get(one.name), code, one.name):
            values[one.name] = recorded.get(one.name, now)
        elif one.name not in recorded or (mark is Mark.MAKES and not _are_recorded(options, recorded)):
            raise UserError(f"{typed(one)} can't change in a resume: {where} does not record it; make a new sweep")
        elif mark is Mark.MAKES:
            values[one.name] = _more(one.name, recorded[one.name], now, where)
        else:
            values[one.name] = _kept(one, recorded[one.name], now, where)
    found = replace(options, **values)
    schedule, epochs = getattr(found, "schedule", "constant"), getattr(found, "epochs", None)
    if schedule != "constant" and recorded.get("epochs", epochs) != epochs:
        raise UserError(f"{where} has a {schedule} schedule, which ended at 0; start a new sweep for more epochs")
    return with_given(found, options.given)


def trials_of(options: SweepOptions, recorded: Mapping[str, Any]) -> list[TrialConfig]:
    """Return the trials that options make; none if the sweep does not record them all, such as one made from Python."""
    make = getattr(options, "trials", None)
    return list(make()) if callable(make) and _are_recorded(options, recorded) else []


def _are_recorded(options: SweepOptions, recorded: Mapping[str, Any]) -> bool:
    return all(name in recorded for name, mark in marks(type(options)).items() if mark in (Mark.MAKES, Mark.KEPT))


def left_out(options: SweepOptions, recorded: Mapping[str, Any]) -> set[str]:
    """Return which recorded options were not given. The data's folder is that of the recorded data set."""
    return recorded.keys() - options.given - ({"data_dir"} if "dataset" in options.given else set())


def recorded_options(kind: type[Any], meta: Mapping[str, Any], where: Place) -> dict[str, Any]:
    """Return the recorded options that a command has, each of its type: the folder may come from anybody."""
    hints, found = get_type_hints(kind), dict[str, Any]()
    for name in {one.name for one in fields(kind)} & meta.get("options", {}).keys():
        value = meta["options"][name]
        value = tuple(value) if isinstance(value, list) else value
        if isinstance(value, str) and not fits(value, hints[name]):
            value = Path(value)
        if not fits(value, hints[name]):
            raise UserError(f"{where} records that {flag(name)} is {str(value)[:80]!r}, which it can't be")
        found[name] = value
    return found


def _more(name: str, before: Any, now: Any, where: Place) -> Any:
    """Return an option that makes trials, with what is added to what was recorded."""
    if isinstance(before, tuple):
        return tuple(dict.fromkeys((*before, *now)))
    if before == now or (before is not None and (now is None or now > before)):
        return now
    raise UserError(f"{flag(name)} {now}: {where} was asked for {before} already; a resume can only add to that")


def _kept(option: Field[Any], before: Any, now: Any, where: Place) -> Any:
    """Return an option that can't change."""
    if now == before:
        return before
    said = f"has {' '.join(map(str, before)) if isinstance(before, tuple) else before}"
    if isinstance(before, bool):
        said = f"was started with{'out' * (before is option.default)} it"
    raise UserError(f"{typed(option)} can't change in a resume: {where} {said}; leave it out, or start a new sweep")


def _is_named_again(now: Any, before: Any, code: Sequence[Mapping[str, Any]], flag: str) -> bool:
    """Return whether an option only names what the sweep runs again, without arguments, so that one's own code is
    loaded. What that is stands in `code`: a sweep that was started from Python, or a decision between the settings of
    another one, runs code that its options do not name, or name by another path."""
    texts, again = (value if isinstance(value, tuple) else (value,) for value in (before or (), now or ()))
    known = [text for text in texts if not names_own_code(text)]
    return bool(again) and is_named_again(flag, again, [*known, *(one["name"] for one in code if one["flag"] == flag)])


def additions(known: Mapping[str, TrialConfig], wanted: Sequence[TrialConfig]) -> dict[str, TrialConfig]:
    """Return the trials that a resume adds or changes, by id: new ones, and those that are to train longer."""
    ids = {replace(trial, epochs=1): trial_id for trial_id, trial in known.items()}
    found, number = {}, len(known)
    for trial in wanted:
        trial_id = ids.get(replace(trial, epochs=1))
        if trial_id is None:
            found[f"{number:05d}"] = trial
            number += 1
        elif trial.epochs > known[trial_id].epochs:
            found[trial_id] = trial
    return found


@dataclass(frozen=True)
class Plan:
    """The trials that Tune runs: known in advance, sampled from a space, or both."""

    space: Any
    """A Tune search space over the fields of `TrialConfig`; empty if all trials are known."""
    trials: dict[str, TrialConfig] = field(default_factory=dict)
    """The known trials by id."""
    samples: int = 1
    """The total number of trials."""
    scheduler: Any = None
    search_alg: Any = None
    callbacks: tuple[Any, ...] = ()
    """Callbacks of Tune that the user gave."""

    @classmethod
    def of(cls, trials: Mapping[str, TrialConfig]) -> Plan:
        """Return the plan of these trials, which start in this order."""
        return cls({}, dict(trials), len(trials))

    @property
    def epochs(self) -> int:
        """The largest number of epochs of a trial."""
        known = [trial.epochs for trial in self.trials.values()]
        if known and not self.search_alg:
            return max(known)
        asked = self.space.get("epochs", TrialConfig.epochs)
        most = getattr(asked, "upper", None) or max(getattr(asked, "categories", [asked]))
        return max([int(most), *known])
