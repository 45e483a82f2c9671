"""What a trial trained: its parameters, and its network, which predicts with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np

from mnist_tune import storage
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
from mnist_tune.regimes.families import whole_epochs
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
    """What a trial trained, after the last epoch whose state was saved, or after its
    best one."""

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
        trial = self.trial
        ranking = Ranking.of(self.data.by_accuracy)
        score = ranking.number(ranking.score_of(self.row, "test"))
        what = f"{trial.architecture}, learning rate {trial.learning_rate:g}"
        return f"{what}, epoch {self.row['epoch']}: test {ranking.word} {score}"

    def __repr__(self) -> str:
        attributes = ".params .state .net"
        if isinstance(self.data, DataSpec):
            attributes = f".predict(x) {attributes}"
        return f"<{self}; {attributes}>"

    @property
    def module(self) -> Any:
        """The module of Flax or Equinox with its trained parameters, as for evaluation.
        Of Linen it is bound to them. Of Equinox it is `(module, state)` if its call
        takes a state. Raises `UserError` if the network was made in another way."""
        rebuild = getattr(self.net, "rebuild", None)
        if rebuild is None:
            raise UserError(
                f"{self.trial.architecture} is no module of Flax or Equinox; call .net.apply with .params and .state"
            )
        return rebuild(self.params, self.state)

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
        examples = self._checked(x)
        variables = jax.device_put((self.params, self.state))
        kind = np.int32 if self.data.positions > 1 else np.float32
        for first in range(0, len(examples), BLOCK):
            block = examples[first : first + BLOCK]
            logits = self._apply(*variables, block.astype(kind))
            yield np.asarray(logits, np.float32)

    @cached_property
    def _apply(self) -> Any:
        net: Any = self.net
        data: Any = self.data
        return jax.jit(lambda *variables: logits_of(net, data, *variables))

    def _checked(self, x: Any) -> np.ndarray:
        """Return examples as the data are that were trained on, or as `checked` would
        take them."""
        if not isinstance(self.data, DataSpec):
            hint = "call functions of your own with .params and .state"
            raise UserError(f"only networks predict classes; {hint}")
        array, shape = unmasked(x, "x"), self.data.shape
        if array.shape[1:] != shape or not array.ndim:
            trained = f"it was trained on [n, {', '.join(map(str, shape))}]"
            hint = ""
            if array.shape == shape:
                hint = "; of one example, give x[None]"
            raise UserError(f"x has shape {list(array.shape)}, {trained}{hint}")
        examples = array
        if array.dtype.kind not in "iu" or not array.size:
            examples = examples_of(array, "x")
        largest = self.data.divisor
        if self.data.positions > 1:
            largest = (self.data.tokens or 2**31) - 1
        if largest == 1 and examples.dtype.kind != "f":
            hint = "it was trained on floats; give floats, scaled as they were"
            raise UserError(f"x is of type {array.dtype}, {hint}")
        if largest > 1 and not _are_whole(examples, largest):
            what = f"x is of type {array.dtype}, {array.min():.6g} to {array.max():.6g}"
            trained = f"it was trained on whole numbers from 0 to {largest:.0f}"
            raise UserError(f"{what}, {trained}; give x as it is stored")
        return examples


def _are_whole(examples: np.ndarray, largest: float) -> bool:
    """Return whether these are whole numbers from 0 to the largest one, perhaps as
    floats."""
    if not 0 <= examples.min() <= examples.max() <= largest:
        return False
    return examples.dtype.kind in "iu" or type_of([examples]) is np.uint8


DATA = ("dataset", "data_dir", "train_images", "standardize", "task")
"""The options that say what was trained on."""


def load(
    sweep: Judged,
    trial_id: str | None,
    code: Any,
    epoch: str = "last",
    trust_code: bool = False,
    changed_code: bool = False,
) -> Trained:
    """Return what a trial trained. The arguments are as in `Sweep.load`."""
    if sweep.record.data.flag == "loop":
        raise UserError(
            f"{sweep.path} trained a loop, and only its own code knows what it saved: run.saves, run.restore"
        )
    if trial_id is None:
        trial_id = _best_trial(sweep)
    row = _row_of(sweep, trial_id)
    trial = TrialConfig(**{name: row[name] for name in FIELDS if name in row})
    if epoch not in ("last", "best"):
        raise UserError(f"epoch must be 'last' or 'best', got {epoch!r}")
    if epoch == "best":
        checkpoint = _best_epoch(sweep, trial_id, trial)
    else:
        checkpoint = Checkpoint.load(sweep.state(trial_id))
    if checkpoint is None and row["stop_reason"] in UNDECIDED_REASONS:
        raise UserError(f"no state of trial {trial_id} has been saved so far")
    if checkpoint is None:
        how = "nothing does, its values changed"
        if trial_id in {*sweep.steady["trial_id"]}:
            how = _again(trial, sweep.record)
        raise UserError(
            f"the state of trial {trial_id} was not kept; to train it again: {how}"
        )
    _load_code(sweep, trial.architecture, code, trust_code, changed_code)
    return _trained(trial, checkpoint, _data(sweep.record))


def _best_epoch(sweep: Judged, trial_id: str, trial: TrialConfig) -> Checkpoint | None:
    """Return what was kept of the epoch that is the best by the tables; None if nothing
    was. Raises `UserError` if it is of another epoch."""
    if not sweep.record.options.get("keep_best"):
        raise UserError(f"{sweep.path} kept no best epochs; --keep-best does")
    checkpoint = Checkpoint.load(storage.best_of(sweep.state(trial_id)))
    if checkpoint is None:
        return None
    epochs = sweep.epochs[sweep.epochs["trial_id"] == trial_id]
    scores = sweep.record.data.ranking.scores(epochs, trial.split)
    best = epochs.assign(score=scores).nlargest(1, "score")
    # a kill may have come before its row, or another trial's state was taken over
    if best["step"].tolist() != [checkpoint.row.step]:
        raise UserError(
            f"the best epoch of trial {trial_id} was not kept, but its epoch {checkpoint.row.epoch}; resume the sweep"
        )
    return checkpoint


def _best_trial(sweep: Judged) -> str:
    leading = sweep.leading()
    if leading:
        return leading[0]
    hint = ""
    if len(sweep.trials):
        hint = f"; name a trial, such as {sweep.trials['trial_id'].iloc[0]!r}"
    raise UserError(f"no setting of {sweep.path} is known to be best{hint}")


def _row_of(sweep: Judged, trial_id: str) -> dict[str, Any]:
    """Return a trial's row of `trials`, with the epochs that were asked for as
    `epochs`."""
    ids = sweep.trials["trial_id"]
    rows = sweep.trials[ids == trial_id]
    rows = rows.assign(epochs=whole_epochs(rows))
    if rows.empty:
        padded = f"{trial_id:0>5}"
        candidates = [*ids[ids == padded], *ids[:10]]
        hint = closest(padded, candidates)
        raise UserError(f"{sweep.path} has no trial {trial_id!r}{hint}")
    [row] = rows.head(1).to_dict("records")
    return {str(name): value for name, value in row.items()}


def _again(trial: TrialConfig, record: SweepMeta) -> str:
    """Return the call that trains a trial again."""
    values = {}
    trial = replace(trial, reports=1)  # a sweep fills that in
    for name, value in trial.to_dict().items():
        if value != getattr(TrialConfig, name):
            values[name] = value
    options = []
    for name in (*DATA, "report_every"):
        option = record.options.get(name)
        if option:
            text = "..." if option == ARRAYS else repr(option)
            options.append(f"{name}={text}")
    return f"run_sweep('again', {values}, SweepOptions({', '.join(options)}))"


def _load_code(
    sweep: Judged, network: str, code: Any, trust_code: bool, changed_code: bool
) -> None:
    """Load a trial's network or task: what `code` names now, else what the sweep has
    recorded. Raises `UserError` if that can't run, or `code` is not what trained."""
    name = parse_call(network).name
    named_now: dict[str, list[str]] = {}
    if isinstance(code, (Network, Task)):
        register(name)(lambda *arguments, **settings: code)
        named_now["architecture"] = [name]
    elif callable(code):
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
    recorded = set()
    for factory in sweep.record.code:
        if factory["flag"] != "optimizer":
            recorded.add(factory["name"])
    is_own = name in recorded or names_own_code(name)
    if not is_own or name in ENTRIES["architecture"]:
        return
    how = f"name it: .load(code={name!r}), {words('architecture', name)} in a command"
    if not names_own_code(name):
        function = "or pass the function: .load(code=function)"
        how = f"register it first, register({name!r})(function), {function}"
    what = f"{name} is code of your own, which the sweep has not recorded"
    raise UserError(f"{what}; {how}")


def _data(record: SweepMeta) -> DataSpec | TaskSpec:
    """Return the description of the data that a sweep was trained on. Raises
    `UserError` if it does not record it."""
    kind: Any = TaskSpec if record.trains_tasks else DataSpec
    recorded = {"tokens": 0, **record.dataset}  # older versions recorded no tokens
    values = {}
    for field in fields(kind):
        if field.name not in recorded:
            what = f"which did not record {field.name}"
            raise UserError(f"the sweep is of an older version, {what}; train it again")
        value = recorded[field.name]
        if isinstance(value, list):
            value = tuple(value)
        values[field.name] = value
    spec: DataSpec | TaskSpec = kind(**values)
    return spec


def _trained(
    trial: TrialConfig, checkpoint: Checkpoint, data: DataSpec | TaskSpec
) -> Trained:
    """Return what a trial trained. Raises `UserError` if the saved state is of another
    network."""
    speed_up_convolutions()  # it predicts with the bits that it was evaluated with
    net, task = task_of(trial, data)
    params, state = initial(task, trial.seed)
    leaves, tree = jax.tree_util.tree_flatten_with_path(TrainState(params, (), state))
    kinds = {}
    for path, leaf in leaves:
        kinds[jax.tree_util.keystr(path)] = (leaf.shape, leaf.dtype)
    saved = checkpoint.without_optimizer().arrays
    saved_kinds = {name: (array.shape, array.dtype) for name, array in saved.items()}
    if kinds != saved_kinds:
        what = f"{trial.architecture} is not what trained"
        names = ", ".join([*saved][:3])
        differ = "its arrays have other names, shapes or types than the saved ones"
        raise UserError(f"{what}: {differ} ({names}, ...)")
    params, _, state = jax.tree.unflatten(tree, [saved[name] for name in kinds])
    return Trained(trial, checkpoint.row.report(), net, params, state, data)
