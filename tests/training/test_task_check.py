"""What is said of a task that can't train, before its sweep's folder is made: a line
with the function and the fix."""

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import io_callback
from tasks import gan, pinn, regression, vae

from mnist_tune import TrialConfig, UserError
from mnist_tune.data.dataset import check_counts
from mnist_tune.data.holdout import default_holdout
from mnist_tune.errors import LastBatchError
from mnist_tune.own_code.registry import register, register_optimizer
from mnist_tune.training.check import check_tasks
from mnist_tune.training.program import Program
from mnist_tune.tuning.checks import note_of_trials

pytestmark = pytest.mark.usefixtures("as_users_have_it")

GOOD, GAME = regression(), gan()
TRAIN, TEST = GOOD.data()
DRAWS = np.random.default_rng(0)
LEAKED = []


def with_loss(mend):
    """Return the good task with another loss, which `mend` makes of the good one's
    return."""

    def loss(params, state, batch, key):
        return mend(*GOOD.loss(params, state, batch, key))

    return replace(GOOD, loss=loss)


def with_score(mend):
    def score(params, state, batch, key):
        return mend(GOOD.score(params, state, batch, key))

    return replace(GOOD, score=score)


def with_step(mend):
    def step(params, opt, state, batch, key, tx):
        return mend(*GAME.step(params, opt, state, batch, key, tx))

    return replace(GAME, step=step)


def with_own_loss(function):
    return replace(GOOD, loss=function)


def with_data(train=TRAIN, test=TEST):
    return replace(GOOD, data=lambda: (train, test))


def with_init(params, state=()):
    return replace(GOOD, init=lambda key: (params, state))


def with_last(value):
    """Return 300 examples, the last of which holds this value."""
    y = TRAIN["y"].copy()
    y[-1] = value
    return {**TRAIN, "y": y}


def called(function):
    return function()


ZEROS, _ = GOOD.init(jax.random.key(0))
MISTAKES = {}


def mistake(message, task_of=called):
    """Record the task that is made of a function, and what is said of it. The name of
    the function is what is wrong."""

    def record(function):
        title = function.__name__.replace("_", " ")
        MISTAKES[title] = (task_of(function), message)
        return function

    return record


# --- a loss


@mistake(r"loss must return the mean .*\[8\]; use", with_loss)
def a_loss_of_each_example(value, state):
    return value * jnp.ones(8), state


@mistake(r"loss must return \(loss, state\), it returned float32\[\]", with_loss)
def a_loss_without_a_state(value, state):
    return value


@mistake("loss must return the mean over the batch, a float", with_loss)
def whole_number_loss(value, state):
    return value.astype(int), state


@mistake("loss is nan for untrained parameters; scale", with_loss)
def nan_from_the_first_step(value, state):
    return value * jnp.nan, state


@mistake("loss has a gradient that is NaN or infinite", with_loss)
def a_gradient_of_nan(value, state):
    return value + jnp.sqrt(0 * value), state


@mistake("loss returned another state than it got", with_loss)
def a_state_that_appears(value, state):
    return value, {"n": value}


@mistake(r"loss returned another state than it got: .*keep shapes and types")
def a_state_of_another_type():
    def loss(params, state, batch, key):
        value, _ = GOOD.loss(params, state, batch, key)
        return value, {"n": 1.5}

    return replace(with_init(ZEROS, {"n": jnp.int32(0)}), loss=loss)


@mistake("loss is another function each .*, and keep what changes", with_own_loss)
def a_tracer_that_leaks(params, state, batch, key):
    LEAKED.append(jnp.sum(params["w"]))
    value, _ = GOOD.loss(params, state, batch, key)
    return value + 0 * LEAKED[0], state


@mistake("loss.* fails.*jnp.where", with_loss)
def a_python_if(value, state):
    return (value if value > 1 else 2 * value), state


@mistake("loss is another function each", with_loss)
def random_numbers_of_numpy(value, state):
    return value + sum(DRAWS.normal(size=3)), state


@mistake("loss.* fails.*TypeError", with_loss)
def a_shape_that_does_not_fit(value, state):
    return value + jnp.ones(3) @ jnp.ones(4), state


@mistake(
    r"loss\(params, state, batch, key\) fails, TypeError: .* takes 2 positional arguments but 4 were given",
    with_own_loss,
)
def a_loss_of_two_arguments(params, batch):
    return params["w"].mean(), ()


@mistake(
    "loss.* fails, NonConcreteBooleanIndexError: .*; .* use jnp.where", with_own_loss
)
def a_loss_of_some(params, state, batch, key):
    values = GOOD.score(params, state, batch, key)
    return values[values > 0.1].mean(), state


@mistake("loss has a gradient of 0; it must depend on params, not", with_own_loss)
def a_loss_without_a_slope(params, state, batch, key):
    is_wrong = batch["x"] @ params["w"] > batch["y"]
    return is_wrong.mean(), state


@mistake(
    r"loss\(params, state, batch, key\) fails, TypeError: 'NoneType' object is not"
)
def no_loss():
    return replace(GOOD, loss=None)


# --- a score


@mistake("score is another function each time", with_score)
def a_score_that_draws(values):
    return values + float(DRAWS.normal())


@mistake(r"score must return loss as \[n\].*returned float32\[256, 1\]", with_score)
def a_score_of_another_shape(values):
    return values[:, None]


@mistake("score returned mse; its dictionary needs 'loss'", with_score)
def no_loss_among_the_scores(values):
    return {"mse": values}


@mistake("score returned 'My score'; a score's name", with_score)
def the_name_of_a_score(values):
    return {"loss": values, "My score": values}


@mistake("returned 17 beside loss", with_score)
def too_many_scores(values):
    names = [f"s{i}" for i in range(17)]
    return dict.fromkeys(["loss", *names], values)


@mistake(
    "score returned accuracies up to 100; give shares, 0 to 1, or True and False",
    with_score,
)
def an_accuracy_in_percent(values):
    return {"loss": values, "accuracy": 100.0 * (values == values)}


@mistake("score returns no accuracy, whose chance is given")
def a_chance_without_accuracy():
    return replace(GOOD, chance=0.1)


@mistake("chance is 10; give a share, 0 to 1, or leave it out")
def a_chance_in_percent():
    return replace(GOOD, chance=10)


@mistake("block is 0; give how many examples")
def a_block_of_none():
    return replace(GOOD, block=0)


@mistake("guess is 'ln 7'; give a number, or leave it out")
def a_guess_in_words():
    return replace(GOOD, guess="ln 7")


# --- data


@mistake("score returned NaN.*; mend or scale data")
def nan_in_one_test_example():
    return with_data(test=with_last(np.nan))


@mistake("loss is (nan|inf) for untrained parameters; scale")
def infinity_in_one_example():
    return with_data(with_last(np.inf))


@mistake("of 9 and 300 examples as train; all")
def data_of_unequal_lengths():
    return with_data({"x": TRAIN["x"], "y": TRAIN["y"][:9]})


@mistake(r"data must return \(train, test\), alike but for")
def another_test_part():
    return with_data(test={"x": TEST["x"][:, :2], "y": TEST["y"]})


@mistake(r"data returned train\['x'\].* give arrays")
def data_of_python():
    return with_data({"x": [[1.0]] * 300, "y": TRAIN["y"]})


@mistake(r"data must return \(train, test\), it returned")
def data_without_a_test_part():
    return replace(GOOD, data=lambda: TRAIN)


@mistake("data returns other arrays each time; seed")
def data_that_differ():
    def data():
        x = np.float32(DRAWS.normal(size=(9, 5)))
        return {"x": x, "y": TRAIN["y"][:9]}, TEST

    return replace(GOOD, data=data)


class Items:
    """A data set as those of PyTorch and grain: a length, and items by number."""

    def __init__(self, part, mend=lambda x, number: x):
        self.part, self.mend = part, mend

    def __len__(self):
        return len(self.part["x"])

    def __getitem__(self, number):
        x = self.mend(self.part["x"][number], number)
        return {"x": x, "y": self.part["y"][number]}


class Tensor:
    """As one of PyTorch, which is an array to NumPy alone."""

    def __init__(self, x, number):
        self.x = x

    def __array__(self, dtype=None, copy=None):
        return self.x


def noisy(x, number):
    return x + np.float32(DRAWS.normal())


def cut(x, number):
    return x[number % 2 :]


@mistake("data returns other arrays each time.*; draw what is new in each epoch")
def items_that_are_augmented_at_random():
    return with_data(Items(TRAIN, noisy), Items(TEST))


@mistake(r"data returned train, which is float64\[0\]; give arrays .* at least one")
def a_data_set_without_items():
    return with_data(Items({"x": [], "y": []}), Items(TEST))


@mistake("reading the items of train fails, ValueError: all input arrays must have")
def items_of_different_shapes():
    return with_data(Items(TRAIN, cut), Items(TEST))


@mistake("give two whole numbers of examples above 0")
def no_examples():
    return with_data(0, 5)


@mistake(r"\(6.*\); give two whole numbers")
def shares_of_examples():
    return with_data(0.7 * 9, 0.3 * 9)


@mistake(r"data returned train, which is key<fry>\[200\]; give arrays")
def keys_as_data():
    keys = jax.random.split(jax.random.key(0), 300)
    return with_data(*np.split(keys, [200]))


@mistake(r"which is \[\('x', '<f4'\)\]\[9\]; give arrays")
def a_table_with_columns():
    table = np.zeros(9, [("x", "f4")])
    return with_data(table, table)


@mistake(r"masked values; say .*, such as x.filled\(0\)")
def masked_values():
    masked = np.ma.masked_less(np.zeros(9), 1)
    return with_data(masked, masked)


@mistake(
    r"data returned train, which is float32\[0, 5\]; give arrays \[n, ...\] of at least"
)
def arrays_without_examples():
    empty = np.zeros((0, 5), np.float32)
    return with_data(empty, empty)


@mistake(r"alike but for their lengths: float32\[\] for nothing at \[100\]; keep")
def examples_in_a_list():
    return with_data([*TRAIN["x"]], [*TEST["x"]])


@mistake(r"data\(\) fails, TypeError: 'tuple' object is not callable")
def data_and_no_function():
    return replace(GOOD, data=GOOD.data())


@mistake(r"data\(\) fails, ZeroDivisionError")
def data_that_fail():
    return replace(GOOD, data=lambda: 1 / 0)


# --- an init


@mistake(r"init must return \(params, state\)")
def parameters_alone():
    return replace(GOOD, init=lambda key: ZEROS)


@mistake("init returned .*'n'.*; return arrays only")
def a_number_of_python():
    return with_init({**ZEROS, "n": 1})


@mistake("init returns other values for the same key; draw from its key")
def parameters_of_numpy():
    def init(key):
        return {"w": np.float32(DRAWS.normal(size=(5, 2)))}, ()

    return replace(GOOD, init=init)


@mistake(r"which is key<fry>\[\]; take the key that each step gets instead")
def a_key_in_the_state():
    return with_init(ZEROS, jax.random.key(0))


# --- a step


@mistake(r"with step, score says how good it is; give score\(params")
def a_step_without_a_score():
    return replace(GAME, score=None)


@mistake("split names judge, maker; init must")
def a_split_without_keys():
    return replace(GAME, split=("judge", "maker"))


@mistake("split is for tasks with a step")
def a_split_without_a_step():
    return replace(GOOD, split=("w",))


@mistake(r"split is 'make'; give a tuple, \('make',\)")
def a_split_of_letters():
    return replace(GAME, split=("make"))


@mistake(
    r"step must return \(params, opt, state, loss\), it returned a tuple of 3",
    with_step,
)
def a_step_of_three(params, opt, state, loss):
    return params, opt, state


@mistake("step returned another opt than it", with_step)
def a_step_in_another_order(params, opt, state, loss):
    return params, state, opt, loss


@mistake("step is another function each time; draw from its key", with_step)
def a_step_that_draws(params, opt, state, loss):
    shift = float(DRAWS.normal())
    return jax.tree.map(lambda x: x + shift, params), opt, state, loss


@mistake("step must .*mean over the", with_step)
def a_step_with_a_loss_of_each_example(params, opt, state, loss):
    return params, opt, state, loss * jnp.ones(8)


@mistake("the loss is nan for untrained parameters; scale", with_step)
def a_step_of_nan(params, opt, state, loss):
    return params, opt, state, loss * jnp.nan


@mistake("returned a GradientTransformation.*; return mnist_tune.Task")
def another_object():
    return optax.sgd(0.1)


@pytest.mark.parametrize("title", MISTAKES)
def test_a_mistake_is_one_line_with_the_function_and_the_fix(title):
    task, message = MISTAKES[title]
    register("mistaken")(lambda: task)
    with pytest.raises(UserError, match=message) as raised:
        check_tasks(["mistaken"], [TrialConfig(batch_size=8)])
    assert "\n" not in str(raised.value)
    assert "mistaken" in str(raised.value)


def test_tasks_of_a_sweep_share_their_data_and_their_chance():
    fewer = {name: x[:200] for name, x in TRAIN.items()}
    register("good")(lambda: GOOD)
    register("fewer")(lambda: with_data(fewer))
    line = "tasks 'good' and 'fewer' differ in data or chance; sweep each alone"
    with pytest.raises(UserError, match=line):
        check_tasks(["good", "fewer"], [])


def test_the_first_leaf_that_differs_is_named_with_both_sides():
    """Not two trees, cut off before they differ."""
    names = [f"block_{i}" for i in range(20)]
    state = {name: {"mean": jnp.zeros(64), "scale": jnp.ones(64)} for name in names}

    def changes(params, state, batch, key):
        value, _ = GOOD.loss(params, (), batch, key)
        return value, {**state, "block_7": {"mean": jnp.zeros(32), "scale": 1}}

    register("deep")(lambda: replace(with_init(ZEROS, state), loss=changes))
    message = r"got: float32\[32\] for float32\[64\] at \['block_7'\]\['mean'\]; keep"
    with pytest.raises(UserError, match=message):
        check_tasks(["deep"], [])


def test_an_error_inside_a_factory_is_told_with_its_own_line():
    """Not as a wrong argument of the factory."""

    def inner(a):
        return a

    def fails(width=3):
        return inner(1, 2)  # type: ignore[call-arg]

    register("fails")(fails)
    with pytest.raises(UserError, match=r"TypeError.*inner\(\) takes 1") as raised:
        check_tasks(["fails"], [])
    assert "it takes" not in str(raised.value)
    line = fails.__code__.co_firstlineno + 1
    assert f"(test_task_check.py, line {line})" in str(raised.value)
    with pytest.raises(UserError, match="it takes width"):
        check_tasks(["fails(depth=1)"], [])


def test_a_key_path_of_jax_is_not_cut_off():
    @jax.tree_util.register_dataclass
    @dataclass
    class Model:
        weights: jax.Array
        name: str = field(metadata={"static": True})

    def renames(params, state, batch, key):
        first = {"net": Model(jnp.zeros(2), "a")}
        second = {"net": Model(jnp.zeros(2), "b")}
        jax.tree.map(jnp.add, first, second)
        return GOOD.loss(params, state, batch, key)

    register("renames")(lambda: replace(GOOD, loss=renames))
    with pytest.raises(UserError, match=r"at key path .*\['net'\]") as raised:
        check_tasks(["renames"], [])
    assert "\n" not in str(raised.value)


def impure_task(place, impure):
    """Return a task that calls an impure function in its loss, score or step."""

    def loss(value, state):
        return value * impure(), state

    def score(values):
        return values * impure()

    def step(params, opt, state, loss):
        return params, opt, state, loss * impure()

    tasks = {"loss": with_loss(loss), "score": with_score(score)}
    tasks |= {"step": with_step(step), "optimizer": GOOD}
    return tasks[place]


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("place", ["loss", "score", "step", "optimizer"])
def test_io_callbacks_are_refused_before_they_are_called(place, ordered):
    calls = []

    def read():
        calls.append(0)
        return np.float32(1)

    def impure(factor=1.0):
        kind = jax.ShapeDtypeStruct((), jnp.float32)
        return factor * io_callback(read, kind, ordered=ordered)

    def rescaled(updates, params):
        return jax.tree.map(lambda x: x * impure(), updates)

    def scaled(learning_rate):
        return optax.chain(optax.stateless(rescaled), optax.sgd(learning_rate))

    task = impure_task(place, impure)
    register("impure")(lambda: task)
    register_optimizer("scaled")(scaled)
    optimizer = "scaled" if place == "optimizer" else "sgd"
    trial = TrialConfig(batch_size=8, optimizer=optimizer)
    with pytest.raises(UserError, match=r"io_callback.*; use pure_callback") as raised:
        check_tasks(["impure"], [trial])
    assert "\n" not in str(raised.value)
    assert not calls


def test_a_pure_callback_with_a_source_indexed_by_example_and_prints_are_taken():
    source = np.linspace(0.5, 1.5, 300, dtype="float32")

    def example(i):
        return source[i]

    def weighted(params, state, batch, key):
        number = jnp.int32(3)
        kind = jax.ShapeDtypeStruct((), jnp.float32)
        weight = jax.pure_callback(example, kind, number, vmap_method="sequential")
        jax.debug.print("{}", number)
        value, state = GOOD.loss(params, state, batch, key)
        return weight * value, state

    register("pure")(lambda: replace(GOOD, loss=weighted))
    check_tasks(["pure"], [TrialConfig(batch_size=8)])


@pytest.mark.parametrize("factory", [regression, pinn, gan])
def test_tasks_that_can_train_pass(factory):
    """With Adam: `tests/execution/test_tasks.py` checks these and others with SGD."""
    name = factory.__name__
    register(name)(factory)
    trial = TrialConfig(optimizer="adam(b1=0.8)", batch_size=32)
    data = check_tasks([name], [trial], train_images=200)
    assert data.spec.train_images == 200
    whole = check_tasks([name], [])
    assert data.checksums["test"] == whole.checksums["test"]


def test_numbers_of_numpy_and_jax_and_a_state_that_begins_at_infinity_are_taken():
    """So are arrays of another machine's byte order, and a score of blocks that are
    larger than the test part."""

    def least(params, state, batch, key):
        value, _ = GOOD.loss(params, state, batch, key)
        return value, jnp.minimum(value, state)

    def scores(params, state, batch, key):
        values = GOOD.score(params, state, batch, key)
        of_each = {"loss": values, "accuracy": values < 1}
        if len(values) > len(TEST["x"]):
            of_each |= {"large": values, 1: values}
        return of_each

    def big_endian(x):
        return x.astype(">f4")

    task = replace(
        with_init(ZEROS, jnp.float32(jnp.inf)),
        loss=least,
        guess=jnp.log(7.0),
        chance=np.float32(0.5),
        score=scores,
        data=lambda: jax.tree.map(big_endian, (TRAIN, TEST)),
    )
    register("numbers")(lambda: task)
    spec = check_tasks(["numbers"], [TrialConfig(batch_size=8)]).spec
    assert spec.guesses == {"numbers": pytest.approx(1.9459, 1e-4)}
    assert spec.chance == 0.5
    assert spec.scores == ("1", "large")


def test_counts_of_numpy_are_taken():
    register("counts")(lambda: replace(pinn(), data=lambda: (np.int64(9), 0.5 * 8)))
    spec = check_tasks(["counts"], []).spec
    assert spec.train_images == 9
    assert spec.test_images == 4


@pytest.mark.parametrize(
    ("most", "some", "holdout"),
    [(100, None, 0), (99, 50, 0), (50, None, 40), (30, None, 275)],
)
def test_a_score_of_whole_blocks_needs_a_block_in_each_split_and_says_what_it_leaves_out(
    most, some, holdout
):
    few = min(some or 100, holdout or 100, 300 - holdout)
    trial = TrialConfig(batch_size=8, holdout=holdout)

    def checked(block):
        register("whole")(lambda: replace(with_score(jnp.mean), block=block))
        return check_tasks(["whole"], [trial])

    data = checked(most + 1)
    message = (
        rf"'whole': score .* block of {most + 1}, and a split has {few} examples; set"
    )
    with pytest.raises(UserError, match=message):
        check_counts([trial], data, some)
    data = checked(few)
    check_counts([trial], data, some)
    notes = []
    note_of_trials([trial], data, notes.append)
    leaves_out = "evaluations leave out 20 of 100 held-out or test" in "".join(notes)
    assert leaves_out == (few == 40)


def test_data_sets_of_items_are_read_once_into_arrays_and_a_line_says_so():
    def lines_of(name, task):
        register(name)(lambda: task)
        data = check_tasks([name], [])
        notes = []
        note_of_trials([TrialConfig(batch_size=100)], data, notes.append)
        return data, notes

    arrays, no_lines = lines_of("arrays", GOOD)
    of_tensors = Items(TRAIN, Tensor), Items(TEST, Tensor)
    items, [line] = lines_of("items", with_data(*of_tensors))
    assert no_lines == []
    assert items.checksums == arrays.checksums
    assert items.train["x"].flags.c_contiguous
    assert line == (
        "note: the items that data() returns are read once, before training; augmentation that is new "
        "in each epoch needs pure_callback (docs/own_training.md)"
    )


def test_a_scalar_beside_scores_of_examples_needs_no_block_and_says_what_it_leaves_out():
    def score(params, state, batch, key):
        losses = GOOD.score(params, state, batch, key)
        return {"loss": losses, "scale": jnp.exp(params["b"]).mean()}

    register("beside")(lambda: replace(GOOD, score=score, block=128))
    data = check_tasks(["beside"], [])
    trial = TrialConfig(batch_size=8, holdout=30)
    check_counts([trial], data)
    notes = []
    note_of_trials([trial], data, notes.append)
    [line] = [line for line in notes if "leave out" in line]
    assert "a value of scale is of 128 examples" in line
    assert "leave out 30 of 30 and 100 of 100 held-out or test examples" in line
    assert "a smaller block" in line
    # as many as without it
    register("good")(lambda: replace(GOOD, block=128))
    trials = [TrialConfig(batch_size=8)]
    without = default_holdout(check_tasks(["good"], []), trials)
    assert default_holdout(data, trials) == without


def test_a_loss_of_pairs_says_what_leaves_out_an_odd_last_batch():
    def first_half(x):
        return x.reshape(2, -1, *x.shape[1:])[0]

    def pairs(params, state, batch, key):
        return GOOD.loss(params, state, jax.tree.map(first_half, batch), key)

    register("pairs")(lambda: replace(GOOD, loss=pairs))
    trial = TrialConfig(architecture="pairs", batch_size=8)
    program = Program.of(trial, check_tasks(["pairs"], []).spec)
    hyper = dict.fromkeys(program.step.names, 0.1)
    key = jnp.zeros(2, jnp.uint32)
    order = jnp.arange(19)
    message = r"the last batch of 3 fails, TypeError.*; in a new sweep, --drop-last"
    with pytest.raises(LastBatchError, match=message):
        jax.eval_shape(program.train_epoch, program.shapes, hyper, key, TRAIN, order)


def test_a_task_may_draw_from_a_key_that_is_always_the_same():
    always = jax.random.key(0)

    def draws(value, state):
        return value + jax.random.uniform(always), state

    register("constant")(lambda: with_loss(draws))
    check_tasks(["constant"], [TrialConfig(batch_size=8)])


def vae_of_two_scores():
    def score(params, state, batch, key):
        return vae().score(params, state, batch, key) | {"more": jnp.float32(1)}

    return replace(vae(), score=score)


@pytest.mark.slow
def test_arguments_of_a_task_are_those_of_its_function():
    register("vae")(vae)
    assert check_tasks(["vae(latent=3)"], []).spec.scores == ("kl",)
    register("two")(vae_of_two_scores)
    data = check_tasks(["two", "vae"], [])
    assert data.spec.scores == ("kl", "more")
    assert data.shared == ("kl",)
    line = r"task 'vae.width=3.' can't be made, TypeError.*; it takes latent, beta"
    with pytest.raises(UserError, match=line):
        check_tasks(["vae(width=3)"], [])
    line = r"unknown task 'unheard'; name the function that makes it, FILE.py:FUNCTION"
    with pytest.raises(UserError, match=line):
        check_tasks(["unheard"], [])
