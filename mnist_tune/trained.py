"""What a trial trained: its parameters, and its network, which predicts with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import jax
import numpy as np

from mnist_tune.data.own import examples_of, type_of, unmasked
from mnist_tune.data_spec import ARRAYS, DataSpec, TaskSpec
from mnist_tune.errors import UserError, closest
from mnist_tune.execution.checkpoint import Checkpoint
from mnist_tune.invocation import words
from mnist_tune.judged import Judged
from mnist_tune.named_code import parse_call
from mnist_tune.own_code.loading import load_own
from mnist_tune.own_code.recorded import load_recorded
from mnist_tune.own_code.registry import (
    ENTRIES,
    is_named_again,
    names_own_code,
    register,
)
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.results.sweep_meta import SweepMeta
from mnist_tune.terminal import announce
from mnist_tune.training.classifier import logits_of
from mnist_tune.training.convolutions_in_loops import speed_up_convolutions
from mnist_tune.training.networks import initial
from mnist_tune.training.program import TrainState, task_of
from mnist_tune.training.task import BLOCK, Network, Task
from mnist_tune.trial import FIELDS, UNDECIDED_REASONS, TrialConfig


@dataclass(frozen=True, repr=False)
class Trained:
    """What a trial trained, after the last epoch whose state was saved."""

    trial: TrialConfig
    """What was asked for."""
    row: Mapping[str, Any]
    """That epoch's row of `epochs`, such as its `test_accuracy`."""
    net: Network | Task
    """The network: `net.apply(params, images)` or, with a state, `net.apply(params,
    state, images)` returns the logits of scaled images. Or the task."""
    params: Any
    """The parameters, NumPy arrays in the tree that `init` returns."""
    state: Any
    """The state, such as the statistics of batch normalisation; `()` if there is
    none."""
    data: DataSpec | TaskSpec
    """What it was trained on, and how examples are scaled: divided by `divisor`, then
    standardised by `mean` and `deviation` if these are not empty."""

    def __str__(self) -> str:
        score, trial = Ranking.of(self.data.by_accuracy), self.trial
        said = f"test {score.word} {score.number(score.score_of(self.row, 'test'))}"
        return f"{trial.architecture}, learning rate {trial.learning_rate:g}, epoch {self.row['epoch']}: {said}"

    def __repr__(self) -> str:
        return f"<{self}; {'.predict(x) ' * isinstance(self.data, DataSpec)}.params .state .net>"

    def predict(self, x: Any) -> np.ndarray:
        """Return the class of each example, [n], or of each token, [n, T].

        Args:
            x: examples as they came, [n, ...]: images as they are stored, such as
                uint8, in any number. They are scaled as in training.

        Raises:
            UserError: they have another shape or type than those that were trained on,
                or a task was trained.
        """
        return np.concatenate([logits.argmax(-1) for logits in self._logits(x)])

    def logits(self, x: Any) -> np.ndarray:
        """Return the logits of each example, float32 [n, classes], or of each token.
        The rest is as in `predict`."""
        return np.concatenate([*self._logits(x)])

    def _logits(self, x: Any) -> Iterator[np.ndarray]:
        examples, variables = (
            self._checked(x),
            jax.device_put((self.params, self.state)),
        )
        kind = np.int32 if self.data.positions > 1 else np.float32
        for first in range(0, len(examples), BLOCK):
            yield np.asarray(
                self._apply(*variables, examples[first : first + BLOCK].astype(kind)),
                np.float32,
            )

    @cached_property
    def _apply(self) -> Any:
        net: Any = self.net
        data: Any = self.data
        return jax.jit(lambda *variables: logits_of(net, data, *variables))

    def _checked(self, x: Any) -> np.ndarray:
        """Return examples as the data are that were trained on, or as `checked` would
        take them."""
        if not isinstance(self.data, DataSpec):
            raise UserError(
                "only networks predict classes; call functions of your own with .params and .state"
            )
        given, shape = unmasked(x, "x"), self.data.shape
        if given.shape[1:] != shape or not given.ndim:
            one = "; of one example, give x[None]" * (given.shape == shape)
            said = f"it was trained on [n, {', '.join(map(str, shape))}]"
            raise UserError(f"x has shape {list(given.shape)}, {said}{one}")
        found = (
            given
            if given.dtype.kind in "iu" and given.size
            else examples_of(given, "x")
        )
        most = (
            self.data.divisor
            if self.data.positions == 1
            else (self.data.tokens or 2**31) - 1
        )
        if most == 1 and found.dtype.kind != "f":
            raise UserError(
                f"x is of type {given.dtype}, it was trained on floats; give floats, scaled as they were"
            )
        fits = 0 <= found.min() <= found.max() <= most and (
            found.dtype.kind in "iu" or type_of([found]) is np.uint8
        )
        if most > 1 and not fits:
            said = f"x is of type {given.dtype}, {given.min():.6g} to {given.max():.6g}"
            raise UserError(
                f"{said}, it was trained on whole numbers from 0 to {most:.0f}; give x as it is stored"
            )
        return found


DATA = ("dataset", "data_dir", "train_images", "standardize", "task")
"""The options that say what was trained on."""


def load(
    sweep: Judged,
    trial_id: str | None,
    code: Any,
    trust_code: bool = False,
    changed_code: bool = False,
) -> Trained:
    """Return what a trial trained. The arguments are as in `Sweep.load`."""
    known, leading = sweep.trials["trial_id"], sweep.leading()
    if trial_id is None and not leading:
        such = "".join(f"; name a trial, such as {one!r}" for one in known[:1])
        raise UserError(f"no setting of {sweep.path} is known to be best{such}")
    wanted = leading[0] if trial_id is None else trial_id
    found = sweep.trials[known == wanted].rename(columns={"epochs_asked": "epochs"})
    if found.empty:
        meant = f"{wanted:0>5}"
        raise UserError(
            f"{sweep.path} has no trial {wanted!r}{closest(meant, [*known[known == meant], *known[:10]])}"
        )
    trial = TrialConfig(
        **found[found.columns.intersection([*FIELDS])].to_dict("records")[0]
    )
    saved = Checkpoint.load(sweep.state(wanted))
    if saved is None and found["stop_reason"].isin(UNDECIDED_REASONS).any():
        raise UserError(f"no state of trial {wanted} has been saved so far")
    if saved is None:
        how = (
            _again(trial, sweep.record)
            if wanted in {*sweep.steady["trial_id"]}
            else "nothing does, its values changed"
        )
        raise UserError(
            f"the state of trial {wanted} was not kept; to train it again: {how}"
        )
    _load_code(sweep, trial.architecture, code, trust_code, changed_code)
    return _trained(trial, saved, _data(sweep.record))


def _again(trial: TrialConfig, record: SweepMeta) -> str:
    """Return the call that trains a trial again."""
    values = {
        name: value
        for name, value in trial.to_dict().items()
        if value != getattr(TrialConfig, name)
    }
    options = {name: value for name in DATA if (value := record.options.get(name))}
    given = [
        f"{name}={'...' if value == ARRAYS else repr(value)}"
        for name, value in options.items()
    ]
    return f"run_sweep('again', {values}, SweepOptions({', '.join(given)}))"


def _load_code(
    sweep: Judged, network: str, code: Any, trust_code: bool, changed_code: bool
) -> None:
    """Load a trial's network or task: what `code` names now, else what the sweep has
    recorded. Raises `UserError` if that can't run, or `code` is not what trained."""
    name = parse_call(network).name
    named_now: dict[str, list[str]] = {}
    if callable(code):
        register(name)(code)
        named_now["architecture"] = [name]
    elif code is not None:
        load_own({"architecture": code})
        if not is_named_again("architecture", [parse_call(code).name], [name]):
            raise UserError(f"{sweep.path} did not train {code}, but {network}")
        named_now["architecture"] = [code]
    load_recorded(
        sweep.record.own_code,
        sweep.path,
        [{"architecture": network}],
        named_now,
        names_needed={name},
        say=announce,
        trust_code=trust_code,
        changed_code=changed_code,
    )
    recorded = {
        factory["name"]
        for factory in sweep.record.code
        if factory["flag"] != "optimizer"
    }
    is_own = name in recorded or names_own_code(name)
    if not is_own or name in ENTRIES["architecture"]:
        return
    how = f"name it: .load(code={name!r}), {words('architecture', name)} in a command"
    if not names_own_code(name):
        how = f"register it first, register({name!r})(function), or pass the function: .load(code=function)"
    raise UserError(
        f"{name} is code of your own, which the sweep has not recorded; {how}"
    )


def _data(record: SweepMeta) -> DataSpec | TaskSpec:
    """Return the description of the data that a sweep was trained on. Raises
    `UserError` if it does not record it."""
    kind: Any = TaskSpec if record.trains_tasks else DataSpec
    known = {
        name: tuple(one) if isinstance(one, list) else one
        for name, one in record.dataset.items()
    }
    known.setdefault("tokens", 0)  # older versions recorded none
    if missing := [one.name for one in fields(kind) if one.name not in known]:
        raise UserError(
            f"the sweep is of an older version, which did not record {missing[0]}; train it again"
        )
    found: DataSpec | TaskSpec = kind(
        **{one.name: known[one.name] for one in fields(kind)}
    )
    return found


def _trained(
    trial: TrialConfig, saved: Checkpoint, data: DataSpec | TaskSpec
) -> Trained:
    """Return what a trial trained. Raises `UserError` if the saved state is of another
    network."""
    speed_up_convolutions()  # it predicts with the bits that it was evaluated with
    made, of = task_of(trial, data)
    params, state = initial(of, trial.seed)
    leaves, tree = jax.tree_util.tree_flatten_with_path(TrainState(params, (), state))
    wanted = {
        jax.tree_util.keystr(path): (leaf.shape, leaf.dtype) for path, leaf in leaves
    }
    found = {
        name: one
        for name, one in saved.arrays.items()
        if not name.startswith(".optimizer")
    }
    if wanted != {name: (one.shape, one.dtype) for name, one in found.items()}:
        said = f"{trial.architecture} is not what trained: its arrays have other names, shapes or types"
        raise UserError(f"{said} than the saved ones ({', '.join([*found][:3])}, ...)")
    params, _, state = jax.tree.unflatten(tree, [found[name] for name in wanted])
    return Trained(trial, saved.row.report(), made, params, state, data)
