"""The options that all sweeps share, each declared once with what a resume may do with
it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from itertools import product
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Optional,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
import tyro
from tyro.constructors import PrimitiveConstructorSpec

from mnist_tune import storage
from mnist_tune.cli import suggestion
from mnist_tune.columns import (
    BELOW_1,
    COUNT,
    COUNT_OR_ALL,
    FROM_0,
    LOSS,
    RATE,
    SHARE,
    WHOLE,
    Kind,
)
from mnist_tune.data.dataset import Dataset, load_dataset
from mnist_tune.errors import UserError, registering
from mnist_tune.execution.sharpness import SharpnessSettings
from mnist_tune.invocation import words
from mnist_tune.numbers import told_apart
from mnist_tune.regimes.ranking import RANK_BY
from mnist_tune.results.folder import exists
from mnist_tune.runtime.ray_session import start_ray
from mnist_tune.storage import Place
from mnist_tune.terminal import announce
from mnist_tune.training.optimizers import BUILT_IN
from mnist_tune.trial import FIELDS, MOST_TRIALS, Named, Training, TrialConfig

AUTO = "auto"
"""Value of `resume`: resume the sweep in `output` if there is one, else start it."""


class InResume(Enum):
    """What a resume does with an option. One that is annotated with none of these is
    kept: another value than the recorded one is refused."""

    ADDS = "what is given now is added to what is recorded; nothing is taken away"
    CHANGES = "says how the sweep runs, or where the data are, which their checksums prove: it may change"
    HERE = "belongs to this command line: it is never taken from a folder"


GPUS = Kind(
    "a share of one GPU, or a whole number of them",
    lambda count: 0 < count <= 1 or (count > 1 and float(count).is_integer()),
)


@dataclass(frozen=True, kw_only=True)
class Options(Named):
    """Options whose types are checked, and that each is of the `Kind` that annotates
    it. Lists become tuples, and a value alone stands for a list of one. A list may only
    be empty if it is so by default."""

    def __post_init__(self) -> None:
        hints = hints_of(type(self))
        kinds = annotated(type(self), Kind)
        for option in fields(self):
            name = option.name
            hint = hints[name]
            value = plain(getattr(self, name), hint)
            # The options are frozen, but they begin with plain values.
            object.__setattr__(self, name, value)
            if not fits(value, hint):
                raise UserError(
                    f"{words(name)} can't be {value!r}; give {type_text(hint)}{registering(name, value)}"
                )
            if get_origin(hint) is tuple and option.default and not value:
                raise UserError(
                    f"{words(name)} needs at least one value; the list is empty"
                )
            kind = kinds[name]
            if kind is not None:
                _refuse_other_kind(name, kind, value)

    def given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults."""
        changed = dict[str, Any]()
        for option in fields(self):
            value = getattr(self, option.name)
            if value is option.default:
                continue
            # Arrays, whose default is None, can't be compared with it.
            if option.default is None or value != option.default:
                changed[option.name] = value
        return changed


def plain(value: Any, hint: Any) -> Any:
    """Return the value of an option without NumPy's numbers and arrays, as a tuple if
    it is a list or has to be one, and as a `Path` if it has to be one."""
    if hint is not Any and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, range)):
        value = tuple(value)
    if get_origin(hint) is tuple and isinstance(value, (str, int, float)):
        value = (value,)
    if isinstance(value, str) and not fits(value, hint):
        path = Path(value)
        if fits(path, hint):
            value = path
    return value


def _refuse_other_kind(name: str, kind: Kind, value: Any) -> None:
    """Raise a `UserError` if a value of an option, or one of its values, is not of its
    kind."""
    values = value
    if not isinstance(value, tuple):
        values = (value,)
    for element in values:
        if element is not None and not kind.holds(element):
            raise UserError(f"{words(name)} must be {kind.wanted}, got {element}")


@dataclass(frozen=True, kw_only=True)
class Data(Options):
    """Which data are trained on."""

    PANEL: ClassVar[str] = "data"

    dataset: Annotated[
        Any,
        InResume.CHANGES,
        tyro.conf.arg(constructor=Optional[str], metavar="NAME|FILE.npz|FOLDER"),
    ] = None
    """mnist, fashion-mnist, mnist-5k or digits; a file with the arrays x_train,
    y_train, x_test, y_test; a folder with four IDX files. By default mnist; if MNIST
    can't be downloaded, mnist-5k with a warning."""
    task: tuple[str, ...] = ()
    """What is trained in place of a network on a data set: a function of yours that
    returns a mnist_tune.Task, FILE.py:FUNCTION, with arguments if need be:
    "vae.py:vae(latent=10)". Several, with the same data, are crossed."""
    loop: tuple[str, ...] = ()
    """What is trained in place of these: a mnist_tune.Loop of yours, which trains with
    PyTorch, Keras or anything else, FILE.py:LOOP, with arguments if need be:
    "train.py:cnn(width=64)". Several are crossed."""
    data_dir: Annotated[Path | None, InResume.CHANGES] = None
    """Folder with the four IDX files of mnist or fashion-mnist. By default mnist is
    downloaded into $MNIST_TUNE_DATA or, without that, into $MNIST_TUNE_CACHE or the
    user's cache folder; fashion-mnist is that of Debian's package
    dataset-fashion-mnist."""
    train_images: Annotated[int | None, COUNT] = None
    """Train on the first N training images only."""
    standardize: bool = False
    """Subtract the training set's mean and divide by its standard deviation: of all
    pixels, of each channel of colour images, or of each feature if an example is a
    vector."""
    trust_code: Annotated[bool, InResume.HERE] = False
    """With a sweep that somebody else recorded: run its networks, tasks and optimisers,
    as code/ in its folder has them. Yours run without it."""

    @property
    def flag(self) -> str:
        """The option that names what is trained."""
        return next((flag for flag in OWN_DATA if getattr(self, flag)), "architecture")

    @property
    def own(self) -> tuple[str, ...]:
        """What is trained that has data of its own: tasks or loops."""
        return self.task or self.loop

    def load(self) -> Dataset:
        """Load the data set. Raises `UserError` if it can't be loaded."""
        return load_dataset(
            self.dataset, self.data_dir, self.standardize, self.train_images
        )


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """How a sweep is run."""

    PANEL: ClassVar[str] = "run"

    scheduler: Literal["regimes", "asha", "fifo"] = "regimes"
    """regimes stops a trial that ASHA would stop if its curve is slow or dead by then,
    so that every rate gets its label; all seeds stop after the same epoch. asha stops
    trials whose training loss falls behind, as Ray Tune's own does. fifo runs every
    trial to its end."""
    grace_period: Annotated[int, COUNT] = 5
    """Epochs before regimes or asha may stop a trial; fewer are too few to tell most
    curves apart."""
    patience: Annotated[int | None, COUNT] = None
    """End a trial once the held-out score that trials are ranked by has not risen
    beyond noise in N reports. It counts as completed, and its learning rate must be
    constant."""
    target: Annotated[float | None, SHARE] = None
    """Accuracy of a network that has learned the data set, in (0, 1). A curve below it
    is not converged. Built-in data have one, by the number of training images: 0.95 for
    mnist. For other data, it follows from the best trial."""
    target_loss: Annotated[float | None, LOSS] = None
    """Held-out loss of a task that has learned its data. Without it, no curve of losses
    is underfit."""
    rank_by: Annotated[str | None, RANK_BY] = None
    """What trials of tasks are compared by, in place of their loss: score_NAME:min or
    score_NAME:max, where NAME is one of those that the task's score returns."""
    output: Annotated[str | Path | None, InResume.HERE] = None
    """Folder for the results; by default results/<sweep>/<time>. Or a URI, with the
    keys in the environment: s3://BUCKET/FOLDER (add ?endpoint_override=HOST:PORT if the
    server is not Amazon's) or gs://BUCKET/FOLDER."""
    max_concurrent: Annotated[int | None, InResume.CHANGES, COUNT] = None
    """The most trials that run at the same time; by default one per CPU, or
    --trials-per-gpu per GPU."""
    execution: Annotated[Literal["auto", "lanes", "process"], InResume.CHANGES] = "auto"
    """process trains each trial in its own process. lanes trains trials of the same
    architecture together on a device. auto chooses lanes on GPUs and processes on
    CPUs."""
    lanes: Annotated[int | None, InResume.CHANGES, COUNT] = None
    """The most lanes per device; by default 4 per CPU core, 64 per GPU."""
    data_memory: Annotated[float | None, InResume.CHANGES, RATE] = None
    """GiB of a device's memory that the data may take; by default half of a GPU's.
    Larger data stay on the host, and come in parts while others are trained on, with
    the same numbers."""
    gpus_per_trial: Annotated[float | None, InResume.CHANGES, GPUS] = None
    """With --loop: GPUs per trial, a share of one or a whole number; by default none,
    and trials see none. A trial then has a process of its own."""
    cpus_per_trial: Annotated[int | None, COUNT] = None
    """CPU cores per trial; by default all cores divided by the trials, at least 1. The
    last bits of a trial's numbers depend on this, so a resumed sweep keeps it."""
    train_evaluation: Annotated[int | Literal["all"] | None, COUNT_OR_ALL] = None
    """Evaluate only this many training images after each epoch, with label noise in the
    same proportion; by default 10,000, or all if they are in order of class. all
    evaluates all, as in the notebook."""
    report_every: Annotated[int | None, COUNT] = None
    """Report, evaluate and decide about stopping after every N steps of an epoch, and
    at its end, with the same batches. Tables, labels and options such as --grace-period
    then count reports as epochs; --epochs stays as it is."""
    sharpness: bool = False
    """Measure the sharpness, the largest eigenvalue of the training loss's Hessian,
    before training and after each epoch."""
    sharpness_every: Annotated[int | None, COUNT] = None
    """Measure it after the steps N, 2N, 3N and so on of a trial instead, within an
    epoch or every few epochs."""
    sharpness_images: Annotated[int | None, COUNT] = None
    """Measure it on this many training images; by default on 1,000 before training and
    5,000 later, or on all if there are fewer."""
    save_every: Annotated[int, InResume.CHANGES, COUNT] = 1
    """Save a trial's state after every N epochs, while the next ones train. A kill
    loses no finished epoch's row, but each trial trains those since its last saved
    state again, with the same numbers: fewer than 2 N epochs."""
    keep_best: bool = False
    """Also keep each trial's parameters of its best epoch, by the held-out score that
    trials are ranked by; of the test set if no examples are held out. They take as much
    space as those of the last one: load(epoch="best"), predict --epoch best."""
    hang_minutes: Annotated[float, InResume.CHANGES, FROM_0] = 10.0
    """From a trial's third epoch on, an epoch hangs if it takes longer than this and 20
    times the trial's median. Its process or server of lanes is then replaced, and the
    trial continues; the third time it fails. 0 waits for ever."""
    trials_per_gpu: Annotated[int, InResume.CHANGES, COUNT] = 1
    """With --execution process: the number of trials that share a GPU, each with an
    equal part of its memory."""
    address: Annotated[str | None, InResume.HERE] = None
    """Ray cluster to run on: auto on one of its nodes, or HOST:PORT; by default that of
    $RAY_ADDRESS. With local, or without either, Ray is started on this machine. A
    resume needs it again: a results folder may come from anybody."""
    dashboard: Annotated[bool, InResume.HERE] = False
    """Start Ray's dashboard; needs ray[default]."""
    time_budget: Annotated[float | None, InResume.CHANGES, RATE] = None
    """Seconds after which trials that still run are stopped."""
    resume: Annotated[str | Path | None, InResume.HERE] = None
    """Resume the interrupted sweep in this folder or URI, with the trials recorded
    there. With auto: resume the sweep in --output if there is one, else start it, so
    that the same command starts and resumes a sweep."""
    retry_errored: Annotated[bool, InResume.HERE] = False
    """With --resume: also resume the trials that ended in an error, each from its last
    epoch."""
    changed_code: Annotated[bool, InResume.HERE] = False
    """With --resume and a file of yours: go on although the file has changed."""
    quiet: Annotated[bool, InResume.HERE] = False
    """Print no progress, only results; notes and warnings go to standard error."""
    json: Annotated[bool, InResume.HERE] = False
    """Print one object of JSON in place of the table: the answer as data, trials with
    their labels, and what to ask next."""

    def cluster(self) -> str | None:
        """Return the address of the Ray cluster to run on, or None to start Ray on this
        machine. An address that begins with http is that of Ray's job server, which
        `ray job submit` reads from $RAY_ADDRESS."""
        if self.address:
            address = self.address
        else:
            address = os.environ.get("RAY_ADDRESS") or "local"
            if address.startswith("http"):
                return None
        if address == "local":
            return None
        return address

    def start_ray(self) -> None:
        """Start Ray, or connect to the cluster, unless that was done."""
        start_ray(self.cluster(), self.max_concurrent, self.dashboard)

    def say(self, line: str) -> None:
        """Print a line of progress, a note or a warning (`announce`)."""
        announce(line, self.quiet)

    @property
    def evaluated(self) -> int | None:
        """How many training examples are evaluated; None for all."""
        if self.train_evaluation == "all":
            return None
        return self.train_evaluation

    def measures(self) -> SharpnessSettings | None:
        if self.sharpness or self.sharpness_every:
            return SharpnessSettings(self.sharpness_every, self.sharpness_images)
        return None

    def place_to_resume(self) -> Place | None:
        """Return the place of the sweep to resume, or None for a new sweep."""
        if self.resume is None:
            return None
        if self.resume != AUTO:
            return storage.place(self.resume)
        output = storage.place(self.output or "")
        if exists(output):
            return output
        return None

    def __post_init__(self) -> None:
        super().__post_init__()
        for place in (self.output, self.resume):
            if place is not None:
                storage.place(place)
        if self.output is not None and self.resume not in (None, AUTO, self.output):
            how = "and --output names another one; leave --output out"
            raise UserError(f"--resume {self.resume} goes on in that folder, {how}")
        if self.resume == AUTO and self.output is None:
            raise UserError(
                "--resume auto resumes the sweep in --output, so it needs --output, too"
            )


@dataclass(frozen=True, kw_only=True)
class SweepOptions(Data, RunOptions):
    """Which data are trained on, and how a sweep is run."""

    NAME: ClassVar[str] = ""
    """The name of the sweeps of a command; empty where Python names them."""


SomeOptions = TypeVar("SomeOptions", bound=SweepOptions)
Annotation = TypeVar("Annotation")


types_of: Callable[..., dict[str, Any]] = cache(get_type_hints)
"""The types of what a class declares. They are texts, which take 3 ms to read."""


def hints_of(options: type[Any]) -> Mapping[str, Any]:
    """Return the type of each option."""
    hints = types_of(options)
    return {option.name: hints[option.name] for option in fields(options)}


def annotated(
    options: type[Any], kind: type[Annotation]
) -> Mapping[str, Annotation | None]:
    """Return what annotates each option: an `InResume`, or a `Kind`; None if nothing
    does."""
    hints = types_of(options, include_extras=True)
    annotations: dict[str, Annotation | None] = {}
    for option in fields(options):
        annotations[option.name] = None
        metadata = getattr(hints[option.name], "__metadata__", ())
        for annotation in metadata:
            if isinstance(annotation, kind):
                annotations[option.name] = annotation
                break
    return annotations


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value has the type of an option."""
    parts = get_args(hint)
    if hint is Any:
        return True
    if get_origin(hint) is Literal:
        return value in parts and not isinstance(value, bool)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        return all(fits(element, parts[0]) for element in value)
    if parts:
        return any(fits(value, part) for part in parts)
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, (int, float))
    return isinstance(value, hint)


KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    Path: "a path",
}


NO_TYPES = (None, type(None), Ellipsis)
"""Parts of a type that are none that a user may give."""


def type_text(hint: Any) -> str:
    """Return what has the type of an option, in words."""
    parts = [part for part in get_args(hint) if part not in NO_TYPES]
    if get_origin(hint) is tuple:
        return f"{type_text(parts[0])}, or several"
    if not parts:
        type_name = getattr(hint, "__name__", hint)
        return KINDS.get(hint, str(type_name))
    if get_origin(hint) is Literal:
        texts = [str(part) for part in parts]
    else:
        texts = [type_text(part) for part in parts]
    *first_texts, last_text = texts
    if not first_texts:
        return last_text
    return f"{', '.join(first_texts)} or {last_text}"


ARCHITECTURE_HELP = """mlp-<widths>-<activation>[-glorot|he|he0] (tanh, relu, gelu, silu), stax-mlp or convnet; or a
network of your own, FILE.py:FUNCTION, with arguments if need be: "net.py:mlp(width=128)"."""
OPTIMIZER_HELP = f'{", ".join(BUILT_IN)}, with arguments if need be: "adam(b1=0.8)"; or your own, FILE.py:FUNCTION.'


def _switched(words: list[str]) -> tuple[bool, ...]:
    """Return the values of a switch: without a word, it is on."""
    if not words:
        return (True,)
    return tuple(word == "True" for word in words)


SWITCH = PrimitiveConstructorSpec(
    nargs="*",
    metavar="[{True,False} ...]",
    instance_from_str=_switched,
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda values: list(map(str, values)),
    choices=("True", "False"),
)
"""Reads a flag that is on where it stands alone, or has several values."""


@dataclass(frozen=True, kw_only=True)
class CrossedOptions(Training, SweepOptions):
    """How all trials of a sweep train, and settings that may have several values
    each."""

    epochs: Annotated[int, InResume.ADDS, COUNT] = 10
    """Epochs per trial."""
    architecture: Annotated[tuple[str, ...], tyro.conf.arg(help=ARCHITECTURE_HELP)] = (
        "mlp-1024-128-tanh",
    )
    optimizer: Annotated[tuple[str, ...], tyro.conf.arg(help=OPTIMIZER_HELP)] = ("sgd",)
    batch_size: Annotated[tuple[int, ...], COUNT] = (128,)
    """Images per step. Several values are crossed with all others, as are those of
    every setting of a trial but the epochs."""
    momentum: Annotated[tuple[float, ...], BELOW_1] = (0.0,)
    """Momentum of SGD, in [0, 1)."""
    nesterov: Annotated[tuple[bool, ...], SWITCH] = (False,)  # type: ignore[assignment]
    weight_decay: Annotated[tuple[float, ...], FROM_0] = (0.0,)  # type: ignore[assignment]
    clip_norm: Annotated[tuple[float, ...], FROM_0] = (0.0,)  # type: ignore[assignment]
    schedule: tuple[Literal["constant", "cosine", "linear"], ...] = ("constant",)  # type: ignore[assignment]
    warmup_steps: Annotated[tuple[int, ...], WHOLE] = (0,)  # type: ignore[assignment]
    loss: tuple[Literal["cross-entropy", "mse"], ...] = ("cross-entropy",)  # type: ignore[assignment]
    label_noise: Annotated[tuple[int, ...], WHOLE] = (0,)  # type: ignore[assignment]

    def training(self) -> dict[str, tuple[Any, ...]]:
        """Return the values of each field of `Training`: one or several."""
        values = {}
        for option in fields(Training):
            value = getattr(self, option.name)
            if not isinstance(value, tuple):
                value = (value,)
            # an empty one is left to the data, as None is
            values[option.name] = value or (None,)
        return values

    def combined(self, **options: Sequence[Any]) -> Iterator[TrialConfig]:
        """Yield a trial of every combination of these, and of the values of further
        options."""
        combinations = crossed(
            architecture=self.own or self.architecture,
            optimizer=self.optimizer,
            batch_size=self.batch_size,
            momentum=self.momentum,
            **self.training(),
            **options,
        )
        for combination in combinations:
            yield TrialConfig(**combination)


def crossed(**options: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Return every combination of the values of some options, once and in order, each
    by the name of one value: that of `seeds` is `seed`, and fields of a trial keep
    theirs. Raises `UserError` if there are more than `MOST_TRIALS` combinations."""
    names = list[str]()
    lists = list[list[Any]]()
    factors = list[str]()
    for name, values in options.items():
        distinct = list(dict.fromkeys(values))
        names.append(name if name in FIELDS else name.removesuffix("s"))
        lists.append(distinct)
        if len(distinct) > 1:
            factors.append(f"{len(distinct)} {words(name)}")
    count = math.prod(map(len, lists))
    refuse_too_many(count, " x ".join(factors))
    # Too many are refused now, not when the first is asked for.
    return (dict(zip(names, values, strict=True)) for values in product(*lists))


def refuse_too_many(count: int, reason: str) -> None:
    """Raise a `UserError` if options make more than `MOST_TRIALS` trials, for a reason
    in words. A folder may record any."""
    if count > MOST_TRIALS:
        raise UserError(
            f"{count} trials are too many ({reason}); at most {MOST_TRIALS} fit into a sweep"
        )


def all_rates(texts: Sequence[float | str]) -> list[float]:
    """Return the learning rates that all values of --learning-rates mean. Raises
    `UserError`, as `rates_of`."""
    rates: list[float] = []
    for text in dict.fromkeys(texts):
        rates += rates_of(text)
        refuse_too_many(len(rates), "--learning-rates")
    return rates


def rates_of(text: float | str, name: str = "--learning-rates") -> list[float]:
    """Return the learning rates that one value of the flag `name` means: itself, or
    those of FIRST:LAST:COUNT, with three digits between its ends. Raises `UserError` if
    it is neither a number nor such a range."""
    parts = str(text).split(":")
    try:
        if len(parts) == 1:
            return [float(text)]
        first, last, count = _range(parts)
    except ValueError:
        hint = suggestion([str(text)])
        if not hint:
            hint = "write numbers, such as 0.1 1, or a range FIRST:LAST:COUNT, such as 1e-3:4:16"
        raise UserError(f"{name} can't be {text!r}; {hint}") from None
    if first > last:
        upwards = f"{parts[1]}:{parts[0]}:{count}"
        raise UserError(f"{name} can't be {text!r}; a range goes upwards: {upwards}")
    refuse_too_many(count, f"{name} {text}")
    rates = np.geomspace(first, last, count).tolist()
    texts = told_apart(rates, 3)
    inner = [float(texts[rate]) for rate in rates[1:-1]]
    return [first, *inner, last][:count]


def _range(parts: Sequence[str]) -> tuple[float, float, int]:
    """Return the ends and the count of a range. Raises `ValueError` if it is none."""
    first_text, last_text, count_text = parts
    first = float(first_text)
    last = float(last_text)
    count = int(count_text)
    has_ends = 0 < first < math.inf and 0 < last < math.inf
    if not has_ends or count < 1:
        raise ValueError
    return first, last, count


def refuse_several_tasks(options: Any) -> None:
    """Raise a `UserError` if several tasks are to be compared by their losses, which
    differ in scale."""
    if len(options.own) > 1 and not options.rank_by:
        first, second = options.own[:2]
        problem = f"losses of {first} and {second} don't compare"
        raise UserError(
            f"{problem}; name one --{options.flag}, or give --rank-by score_NAME:min"
        )


LABELLED = {
    "dataset",
    "data_dir",
    "architecture",
    "loss",
    "label_noise",
    "standardize",
    "target",
    "widths",
    "depths",
    "activations",
    "learned",
}
"""Options for networks on labelled data."""

IN_OUR_HANDS = {
    "train_images",
    "train_evaluation",
    "report_every",
    "holdout",
    "execution",
    "lanes",
    "data_memory",
    "trials_per_gpu",
    "sharpness",
    "sharpness_every",
    "sharpness_images",
    "dry_run",
    "hang_minutes",
    "keep_best",
}
"""Options for what this package itself trains, and evaluates."""

OWN_DATA = ("task", "loop")
"""The options that name what has data of its own."""

USELESS = {
    "architecture": {"gpus_per_trial"},
    "task": LABELLED | {"gpus_per_trial", "loop"},
    "loop": LABELLED - {"target", "learned"} | IN_OUR_HANDS,
}
"""Options for which what is trained has no use, by what names it."""

USEFUL = {
    "architecture": "loops",
    "task": "networks on labelled data",
    "loop": "what is trained without a loop",
}
"""What they are for."""


def refuse_useless(options: Data) -> None:
    """Raise a `UserError` if an option is given for which what is trained has no
    use. In a resume, they are those of the sweep."""
    if isinstance(options, RunOptions) and options.place_to_resume() is not None:
        return
    flag = options.flag
    for name in options.given():
        if name in USELESS[flag]:
            raise UserError(
                f"{words(name)} is for {USEFUL[flag]}; leave it out beside --{flag}"
            )
