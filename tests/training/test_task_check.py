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


def loss(mend):
    """Return the good task with another loss, which `mend` makes of the good one's
    return."""
    return replace(
        GOOD,
        loss=lambda params, state, batch, key: mend(
            *GOOD.loss(params, state, batch, key)
        ),
    )


def score(mend):
    return replace(
        GOOD,
        score=lambda params, state, batch, key: mend(
            GOOD.score(params, state, batch, key)
        ),
    )


def data(train=TRAIN, test=TEST):
    return replace(GOOD, data=lambda: (train, test))


def leaks(params, state, batch, key):
    LEAKED.append(jnp.sum(params["w"]))
    return GOOD.loss(params, state, batch, key)[0] + 0 * LEAKED[0], state


def branches(params, state, batch, key):
    found, state = GOOD.loss(params, state, batch, key)
    return (found if found > 1 else 2 * found), state


def chosen(params, state, batch, key):
    found = GOOD.score(params, state, batch, key)
    return found[found > 0.1].mean(), state


def is_wrong(params, state, batch, key):
    return (batch["x"] @ params["w"] > batch["y"]).mean(), state


def draws(*given):
    params, *others = GAME.step(*given)
    return jax.tree.map(lambda x: x + float(DRAWS.normal()), params), *others


def step(mend):
    return replace(
        GAME,
        step=lambda params, opt, state, batch, key, tx: mend(
            *GAME.step(params, opt, state, batch, key, tx)
        ),
    )


def with_init(params, state=()):
    return replace(GOOD, init=lambda key: (params, state))


def with_last(value):
    """Return 300 examples, the last of which holds this value."""
    y = TRAIN["y"].copy()
    y[-1] = value
    return {**TRAIN, "y": y}


ZEROS = GOOD.init(jax.random.key(0))[0]
MISTAKES = {
    "a loss of each example": (
        loss(lambda x, s: (x * jnp.ones(8), s)),
        r"loss must return the mean .*\[8\]; use",
    ),
    "a loss without a state": (
        loss(lambda x, s: x),
        r"loss must return \(loss, state\), it returned float32\[\]",
    ),
    "whole-number loss": (
        loss(lambda x, s: (x.astype(int), s)),
        "loss must return the mean over the batch, a float",
    ),
    "NaN from the first step": (
        loss(lambda x, s: (x * jnp.nan, s)),
        "loss is nan for untrained parameters; scale",
    ),
    "a gradient of NaN": (
        loss(lambda x, s: (x + jnp.sqrt(0 * x), s)),
        "loss has a gradient that is NaN or infinite",
    ),
    "a state that appears": (
        loss(lambda x, s: (x, {"n": x})),
        "loss returned another state than it got",
    ),
    "a state of another type": (
        replace(
            with_init(ZEROS, {"n": jnp.int32(0)}),
            loss=lambda p, s, b, k: (GOOD.loss(p, s, b, k)[0], {"n": 1.5}),
        ),
        r"loss returned another state than it got: .*keep shapes and types",
    ),
    "a tracer that leaks": (
        replace(GOOD, loss=leaks),
        "loss is another function each .*, and keep what changes",
    ),
    "a Python if": (replace(GOOD, loss=branches), "loss.* fails.*jnp.where"),
    "random numbers of NumPy": (
        loss(lambda x, s: (x + sum(DRAWS.normal(size=3)), s)),
        "loss is another function each",
    ),
    "a shape that does not fit": (
        loss(lambda x, s: (x + jnp.ones(3) @ jnp.ones(4), s)),
        "loss.* fails.*TypeError",
    ),
    "a score that draws": (
        score(lambda x: x + float(DRAWS.normal())),
        "score is another function each time",
    ),
    "a score of another shape": (
        score(lambda x: x[:, None]),
        r"score must return loss as \[n\].*returned float32\[256, 1\]",
    ),
    "no loss among the scores": (
        score(lambda x: {"mse": x}),
        "score returned mse; its dictionary needs 'loss'",
    ),
    "a score's name": (
        score(lambda x: {"loss": x, "My score": x}),
        "score returned 'My score'; a score's name",
    ),
    "too many scores": (
        score(lambda x: {"loss": x} | {f"s{i}": x for i in range(17)}),
        "returned 17 beside loss",
    ),
    "NaN in one test example": (
        data(test=with_last(np.nan)),
        "score returned NaN.*; mend or scale data",
    ),
    "infinity in one": (
        data(with_last(np.inf)),
        "loss is (nan|inf) for untrained parameters; scale",
    ),
    "a chance without accuracy": (
        replace(GOOD, chance=0.1),
        "score returns no accuracy, whose chance is given",
    ),
    "data of unequal lengths": (
        data({"x": TRAIN["x"], "y": TRAIN["y"][:9]}),
        "of 9 and 300 examples as train; all",
    ),
    "another test part": (
        data(test={"x": TEST["x"][:, :2], "y": TEST["y"]}),
        r"data must return \(train, test\), alike but for",
    ),
    "data of Python": (
        data({"x": [[1.0]] * 300, "y": TRAIN["y"]}),
        r"data returned train\['x'\].* give arrays",
    ),
    "data without a test part": (
        replace(GOOD, data=lambda: TRAIN),
        r"data must return \(train, test\), it returned",
    ),
    "data that differ": (
        replace(
            GOOD,
            data=lambda: (
                {"x": np.float32(DRAWS.normal(size=(9, 5))), "y": TRAIN["y"][:9]},
                TEST,
            ),
        ),
        "data returns other arrays each time; seed",
    ),
    "no examples": (
        replace(GOOD, data=lambda: (0, 5)),
        "give two whole numbers of examples above 0",
    ),
    "shares of examples": (
        replace(GOOD, data=lambda: (0.7 * 9, 0.3 * 9)),
        r"\(6.*\); give two whole numbers",
    ),
    "keys as data": (
        data(*np.split(jax.random.split(jax.random.key(0), 300), [200])),
        r"data returned train, which is key<fry>\[200\]; give arrays",
    ),
    "a table with columns": (
        data(*[np.zeros(9, [("x", "f4")])] * 2),
        r"which is \[\('x', '<f4'\)\]\[9\]; give arrays",
    ),
    "masked values": (
        data(*[np.ma.masked_less(np.zeros(9), 1)] * 2),
        r"masked values; say .*, such as x.filled\(0\)",
    ),
    "arrays without examples": (
        data(*[np.zeros((0, 5), np.float32)] * 2),
        r"data returned train, which is float32\[0, 5\]; give arrays \[n, ...\] of at least",
    ),
    "examples in a list": (
        data([*TRAIN["x"]], [*TEST["x"]]),
        r"alike but for their lengths: float32\[\] for nothing at \[100\]; keep",
    ),
    "data and no function": (
        replace(GOOD, data=GOOD.data()),
        r"data\(\) fails, TypeError: 'tuple' object is not callable",
    ),
    "data that fail": (
        replace(GOOD, data=lambda: 1 / 0),
        r"data\(\) fails, ZeroDivisionError",
    ),
    "parameters alone": (
        replace(GOOD, init=lambda key: ZEROS),
        r"init must return \(params, state\)",
    ),
    "a number of Python's": (
        with_init({**ZEROS, "n": 1}),
        "init returned .*'n'.*; return arrays only",
    ),
    "a step without a score": (
        replace(GAME, score=None),
        r"with step, score says how good it is; give score\(params",
    ),
    "a split without keys": (
        replace(GAME, split=("judge", "maker")),
        "split names judge, maker; init must",
    ),
    "a split without a step": (
        replace(GOOD, split=("w",)),
        "split is for tasks with a step",
    ),
    "a step of three": (
        replace(GAME, step=lambda *given: GAME.step(*given)[:3]),
        r"step must return \(params, opt, state, loss\), it returned a tuple of 3",
    ),
    "a step in another order": (
        step(lambda p, opt, s, loss: (p, s, opt, loss)),
        "step returned another opt than it",
    ),
    "a step that draws": (
        replace(GAME, step=draws),
        "step is another function each time; draw from its key",
    ),
    "a step's loss of each example": (
        step(lambda p, o, s, x: (p, o, s, x * jnp.ones(8))),
        "step must .*mean over the",
    ),
    "a step of NaN": (
        step(lambda p, o, s, x: (p, o, s, x * jnp.nan)),
        "the loss is nan for untrained parameters; scale",
    ),
    "a loss of two arguments": (
        replace(GOOD, loss=lambda params, batch: (params["w"].mean(), ())),
        r"loss\(params, state, batch, key\) fails, TypeError: .* takes 2 positional arguments but 4 were given",
    ),
    "a loss of some": (
        replace(GOOD, loss=chosen),
        "loss.* fails, NonConcreteBooleanIndexError: .*; .* use jnp.where",
    ),
    "a loss without a slope": (
        replace(GOOD, loss=is_wrong),
        "loss has a gradient of 0; it must depend on params, not",
    ),
    "parameters of NumPy's": (
        replace(
            GOOD, init=lambda key: ({"w": np.float32(DRAWS.normal(size=(5, 2)))}, ())
        ),
        "init returns other values for the same key; draw from its key",
    ),
    "a key in the state": (
        with_init(ZEROS, jax.random.key(0)),
        r"which is key<fry>\[\]; take the key that each step gets instead",
    ),
    "a split of letters": (
        replace(GAME, split=("make")),
        r"split is 'make'; give a tuple, \('make',\)",
    ),
    "a chance in percent": (
        replace(GOOD, chance=10),
        "chance is 10; give a share, 0 to 1, or leave it out",
    ),
    "an accuracy in percent": (
        score(lambda x: {"loss": x, "accuracy": 100.0 * (x == x)}),
        "score returned accuracies up to 100; give shares, 0 to 1, or True and False",
    ),
    "no loss": (
        replace(GOOD, loss=None),
        r"loss\(params, state, batch, key\) fails, TypeError: 'NoneType' object is not",
    ),
    "a block of none": (replace(GOOD, block=0), "block is 0; give how many examples"),
    "a guess in words": (
        replace(GOOD, guess="ln 7"),
        "guess is 'ln 7'; give a number, or leave it out",
    ),
    "another object": (
        optax.sgd(0.1),
        "returned a GradientTransformation.*; return mnist_tune.Task",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_the_function_and_the_fix(mistake):
    made, said = MISTAKES[mistake]
    register("mistaken")(lambda: made)
    with pytest.raises(UserError, match=said) as raised:
        check_tasks(["mistaken"], [TrialConfig(batch_size=8)])
    assert "\n" not in str(raised.value)
    assert "mistaken" in str(raised.value)


def test_tasks_of_a_sweep_share_their_data_and_their_chance():
    register("good")(lambda: GOOD)
    register("fewer")(lambda: data({name: x[:200] for name, x in TRAIN.items()}))
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
        trees = {"net": Model(jnp.zeros(2), "a")}, {"net": Model(jnp.zeros(2), "b")}
        jax.tree.map(jnp.add, *trees)
        return GOOD.loss(params, state, batch, key)

    register("renames")(lambda: replace(GOOD, loss=renames))
    with pytest.raises(UserError, match=r"at key path .*\['net'\]") as raised:
        check_tasks(["renames"], [])
    assert "\n" not in str(raised.value)


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

    def scaled(learning_rate):
        change = optax.stateless(
            lambda updates, _: jax.tree.map(lambda x: x * impure(), updates)
        )
        return optax.chain(change, optax.sgd(learning_rate))

    made = {
        "loss": loss(lambda x, s: (x * impure(), s)),
        "score": score(lambda x: x * impure()),
        "step": step(lambda p, opt, s, x: (p, opt, s, x * impure())),
        "optimizer": GOOD,
    }[place]
    register("impure")(lambda: made)
    register_optimizer("scaled")(scaled)
    optimizer = "scaled" if place == "optimizer" else "sgd"
    with pytest.raises(UserError, match=r"io_callback.*; use pure_callback") as raised:
        check_tasks(["impure"], [TrialConfig(batch_size=8, optimizer=optimizer)])
    assert "\n" not in str(raised.value)
    assert not calls


def test_a_pure_callback_with_a_source_indexed_by_example_and_prints_are_taken():
    source = np.linspace(0.5, 1.5, 300, dtype="float32")

    def weighted(params, state, batch, key):
        number = jnp.int32(3)
        kind = jax.ShapeDtypeStruct((), jnp.float32)
        weight = jax.pure_callback(
            lambda i: source[i], kind, number, vmap_method="sequential"
        )
        jax.debug.print("{}", number)
        value, state = GOOD.loss(params, state, batch, key)
        return weight * value, state

    register("pure")(lambda: replace(GOOD, loss=weighted))
    check_tasks(["pure"], [TrialConfig(batch_size=8)])


@pytest.mark.parametrize("factory", [regression, pinn, gan])
def test_tasks_that_can_train_pass(factory):
    """With Adam: `tests/execution/test_tasks.py` checks these and others with SGD."""
    register(factory.__name__)(factory)
    found = check_tasks(
        [factory.__name__],
        [TrialConfig(optimizer="adam(b1=0.8)", batch_size=32)],
        train_images=200,
    )
    assert found.spec.train_images == 200
    assert (
        found.checksums["test"] == check_tasks([factory.__name__], []).checksums["test"]
    )


def test_numbers_of_numpy_and_jax_and_a_state_that_begins_at_infinity_are_taken():
    """So are arrays of another machine's byte order, and a score of blocks that are
    larger than the test part."""

    def least(params, state, batch, key):
        found, _ = GOOD.loss(params, state, batch, key)
        return found, jnp.minimum(found, state)

    def scores(*given):
        each = GOOD.score(*given)
        return {"loss": each, "accuracy": each < 1} | (
            {"large": each, 1: each} if len(each) > len(TEST["x"]) else {}
        )

    made = replace(
        with_init(ZEROS, jnp.float32(jnp.inf)),
        loss=least,
        guess=jnp.log(7.0),
        chance=np.float32(0.5),
        score=scores,
        data=lambda: jax.tree.map(lambda x: x.astype(">f4"), (TRAIN, TEST)),
    )
    register("numbers")(lambda: made)
    spec = check_tasks(["numbers"], [TrialConfig(batch_size=8)]).spec
    assert (spec.guesses, spec.chance) == (
        {"numbers": pytest.approx(1.9459, 1e-4)},
        0.5,
    )
    assert spec.scores == ("1", "large")
    register("counts")(lambda: replace(pinn(), data=lambda: (np.int64(9), 0.5 * 8)))
    spec = check_tasks(["counts"], []).spec
    assert (spec.train_images, spec.test_images) == (9, 4)


@pytest.mark.parametrize(
    ("most", "some", "holdout"),
    [(100, None, 0), (99, 50, 0), (50, None, 40), (30, None, 275)],
)
def test_a_score_of_whole_blocks_needs_a_block_in_each_split_and_says_what_it_leaves_out(
    most, some, holdout
):
    register("whole")(lambda: replace(score(jnp.mean), block=most + 1))
    trial, few = (
        TrialConfig(batch_size=8, holdout=holdout),
        min(some or 100, holdout or 100, 300 - holdout),
    )
    data = check_tasks(["whole"], [trial])
    with pytest.raises(
        UserError,
        match=rf"'whole': score .* block of {most + 1}, and a split has {few} examples; set",
    ):
        check_counts([trial], data, some)
    register("whole")(lambda: replace(score(jnp.mean), block=few))
    check_counts([trial], data := check_tasks(["whole"], [trial]), some)
    note_of_trials([trial], data, (said := []).append)
    assert ("evaluations leave out 20 of 100 held-out or test" in "".join(said)) == (
        few == 40
    )


def test_a_loss_of_pairs_says_what_leaves_out_an_odd_last_batch():
    def pairs(params, state, batch, key):
        return GOOD.loss(
            params,
            state,
            jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:])[0], batch),
            key,
        )

    register("pairs")(lambda: replace(GOOD, loss=pairs))
    program = Program.of(
        TrialConfig(architecture="pairs", batch_size=8), check_tasks(["pairs"], []).spec
    )
    given = (
        program.shapes,
        dict.fromkeys(program.step.names, 0.1),
        jnp.zeros(2, jnp.uint32),
        TRAIN,
    )
    with pytest.raises(
        LastBatchError,
        match=r"the last batch of 3 fails, TypeError.*; in a new sweep, --drop-last",
    ):
        jax.eval_shape(program.train_epoch, *given, jnp.arange(19))


def test_a_task_may_draw_from_a_key_that_is_always_the_same():
    always = jax.random.key(0)
    made = loss(lambda x, state: (x + jax.random.uniform(always), state))
    register("constant")(lambda: made)
    check_tasks(["constant"], [TrialConfig(batch_size=8)])


@pytest.mark.slow
def test_arguments_of_a_task_are_those_of_its_function():
    register("vae")(vae)
    assert check_tasks(["vae(latent=3)"], []).spec.scores == ("kl",)
    register("two")(
        lambda: replace(
            vae(), score=lambda *given: vae().score(*given) | {"more": jnp.float32(1)}
        )
    )
    data = check_tasks(["two", "vae"], [])
    assert (data.spec.scores, data.shared) == (("kl", "more"), ("kl",))
    with pytest.raises(
        UserError,
        match=r"task 'vae.width=3.' can't be made, TypeError.*; it takes latent, beta",
    ):
        check_tasks(["vae(width=3)"], [])
    with pytest.raises(
        UserError,
        match=r"unknown task 'unheard'; name the function that makes it, FILE.py:FUNCTION",
    ):
        check_tasks(["unheard"], [])
