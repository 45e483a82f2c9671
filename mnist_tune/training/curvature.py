"""The sharpness of a training loss: the largest eigenvalue of its Hessian, by Lanczos'
method.

Gradient descent on a quadratic converges for learning rates below 2/λ, where λ is the
sharpness. These are pure functions, for one trial and, under `vmap`, for many.
Hessian-vector products are reverse over reverse, because the dense layers have a
gradient of their own, through which JAX can't differentiate forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from matfree import decomp

from mnist_tune.training.optimizers import Hyperparameters
from mnist_tune.training.program import Data, Program, TrainState

PRODUCTS = 16
"""Lanczos steps, one Hessian-vector product each."""
MORE_PRODUCTS = 32
"""Lanczos steps where those were too few."""
TOLERANCE = 1e-2
"""Ritz residual above which `PRODUCTS` are too few: λ may be wrong by as much, relative
to its value."""
BLOCK = 500
"""Images that are differentiated at a time; the memory of their activations does not
grow with the probe."""
ROUNDING = 10
"""A Lanczos vector that is shorter than so many rounding errors of the map is noise."""


class Sharpness(NamedTuple):
    """A sharpness, and how far Lanczos' method has come."""

    value: Array
    """λ, the algebraically largest eigenvalue found."""
    residual: Array
    """The Ritz residual `‖Hv - λv‖ / |λ|` with `‖v‖ = 1`: an eigenvalue of H is at most
    so far away, relative to λ."""


def sharpness(
    program: Program,
    state: TrainState,
    data: Data,
    probe: Array,
    hyper: Hyperparameters | None = None,
    products: int = PRODUCTS,
) -> Sharpness:
    """Return the sharpness of a trial's training loss on some images: the largest
    eigenvalue of its Hessian H, or with hyperparameters that of P⁻¹H, with Adam's
    preconditioner P, which is that of P^-½ H P^-½.

    The loss is that of a training step. What is random in it, such as dropout, is drawn
    from fixed keys, and batch normalisation sees `BLOCK` images at a time.

    Args:
        program: the trial's program; `state` and `data` are as in its `evaluate`.
        probe: int32 [m], the indices of the images that the loss is the mean of.
        products: Lanczos steps, at most the number of parameters.
    """

    def loss(params: Any, number: Array, block: Array) -> Array:
        return program.batch_loss(params, state.extra, data, block, number)

    # P^-½, if there is a preconditioner
    if hyper:
        preconditioner = program.step.preconditioner(hyper, state.optimizer)
        scale = jax.tree.map(lambda p: 1 / jnp.sqrt(p), preconditioner)

    def scaled(vector: Any) -> Any:
        if not hyper:
            return vector
        return jax.tree.map(jnp.multiply, scale, vector)

    def product(vector: Any) -> Any:
        curved = mean_product(loss, state.params, probe, scaled(vector))
        return scaled(curved)

    return largest_eigenvalue(product, state.params, products)


def batch_sharpness(
    program: Program, state: TrainState, data: Data, batches: Array, _: None = None
) -> Array:
    """Return the mean of `gᵀHg / ‖g‖²` over the batches whose gradient is not 0; NaN if
    it is 0 for all.

    g and H are the gradient and the Hessian of the loss of a batch; `batches` are the
    indices of their images, int32 [count, batch size]. With SGD it is this, rather than
    the sharpness of the whole training loss, that rises to 2 / learning rate (Andreyev
    and Beneventano 2024, arXiv 2412.20553).
    """
    wide, narrow = _widened(state.params)

    def along_gradient(
        _: None, batch: tuple[Array, Array]
    ) -> tuple[None, tuple[Array, Array]]:
        number, index = batch

        def loss(p: Any) -> Array:
            return program.batch_loss(narrow(p), state.extra, data, index, number)

        gradient = jax.grad(loss)(wide)
        product = hessian_product(loss, wide, gradient)
        curved = _dot(gradient, product)
        norm = _dot(gradient, gradient)
        return None, (curved, norm)

    numbers = jnp.arange(len(batches), dtype=jnp.int32)
    _, (curved, norms) = jax.lax.scan(along_gradient, None, (numbers, batches))
    quotients = curved / norms
    # NaN and infinity are not 0: what has diverged stays NaN
    return jnp.mean(quotients, where=norms != 0)


def probe_of(train_count: int, count: int | None = None) -> np.ndarray:
    """Return the indices of the images that sharpness is measured on, int32: always the
    same for the same numbers. They are drawn at random, because label noise is in the
    first images. Without a count it is the whole training set."""
    order = np.random.default_rng(0).permutation(train_count)
    return order.astype(np.int32)[:count]


def memory_of(params: Any) -> int:
    """Return the bytes of the vectors that a measurement holds: one for each Lanczos
    step, and eight of a product. Only the shapes and types of the parameters are
    used."""
    leaves = jax.tree.leaves(params)
    vector = sum(int(x.size) * max(x.dtype.itemsize, 4) for x in leaves)
    return int((MORE_PRODUCTS + 8) * vector)


def largest_eigenvalue(
    product: Callable[[Any], Any], params: Any, products: int = PRODUCTS
) -> Sharpness:
    """Return the algebraically largest eigenvalue of a symmetric linear map, by
    Lanczos' method.

    Every step is orthogonalised against all earlier ones. The start vector is drawn
    from a fixed key. If the steps exhaust what the start vector reaches, as with a
    Hessian of low rank, the residual is 0; NaN in the first product gives NaN. The map
    is one on trees like the parameters, in float32 or wider.
    """
    wide, _ = _widened(params)
    flat, back = ravel_pytree(wide)
    # leaf by leaf it takes seconds to compile
    start = jax.random.normal(jax.random.key(0), flat.shape, flat.dtype)
    steps = min(products, flat.size)
    lanczos = decomp.tridiag_sym(
        steps, reortho="full", materialize=False, custom_vjp=False
    )
    basis = lanczos(product, back(start))
    diagonal, beside = basis.J_small
    # Where a step leaves only rounding errors, what follows is not orthogonal, and its
    # eigenvalues are of any size.
    row_sums = jnp.abs(diagonal[:-1]) + beside
    scale = jax.lax.cummax(row_sums)
    rounding = ROUNDING * np.finfo(beside.dtype).eps
    # False where NaN
    reached = jnp.cumprod(beside > rounding * scale) > 0
    # a Rayleigh quotient, never above λ
    is_used = jnp.append(True, reached)
    diagonal = jnp.where(is_used, diagonal, diagonal[0])
    beside = jnp.where(reached, beside, 0)
    tridiagonal = jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)
    values, vectors = jnp.linalg.eigh(tridiagonal)
    # The Ritz residual: the last Lanczos residual's norm times the eigenvector's share
    # in the last step.
    norm = jnp.sqrt(_dot(basis.residual, basis.residual))
    share = vectors[-1, -1] / values[-1]
    residual = norm * jnp.abs(share)
    largest = values[-1]
    return Sharpness(largest, jnp.where(reached.all(), residual, 0 * values[-1]))


def hessian_product(loss: Callable[[Any], Array], params: Any, vector: Any) -> Any:
    """Return the product of the Hessian of `loss` at `params` with a vector, a tree
    like the parameters."""

    def along_vector(p: Any) -> Array:
        gradient = jax.grad(loss)(p)
        return _dot(gradient, vector)

    return jax.grad(along_vector)(params)


def mean_product(
    loss: Callable[[Any, Array, Array], Array], params: Any, probe: Array, vector: Any
) -> Any:
    """Return `hessian_product` of the mean over a probe's images, computed in blocks.
    `loss` takes the parameters, the number of a block and the indices of its images,
    and returns the mean over these."""
    wide, narrow = _widened(params)

    def add(total: Any, block: tuple[Array, Array]) -> tuple[Any, None]:
        number, index = block
        share = len(index) / len(probe)
        curved = hessian_product(lambda p: loss(narrow(p), number, index), wide, vector)
        return jax.tree.map(lambda sums, x: sums + x * share, total, curved), None

    # All blocks of full size run in one loop, then the smaller last one.
    full = len(probe) // BLOCK
    end = full * BLOCK
    blocks = probe[:end].reshape(full, BLOCK)
    zeros = jax.tree.map(jnp.zeros_like, wide)
    numbers = jnp.arange(full, dtype=jnp.int32)
    total, _ = jax.lax.scan(add, zeros, (numbers, blocks))
    rest = probe[end:]
    if len(rest):
        total, _ = add(total, (jnp.int32(full), rest))
    return total


def _widened(params: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return the parameters in float32 at least, and the function that gives them back
    their types."""

    def widen(x: Array) -> Array:
        return x.astype(np.promote_types(x.dtype, np.float32))

    def narrow(wide: Any) -> Any:
        return jax.tree.map(lambda x, like: x.astype(like.dtype), wide, params)

    return jax.tree.map(widen, params), narrow


def _dot(first: Any, second: Any) -> Array:
    products = jax.tree.map(jnp.vdot, first, second)
    return jnp.stack(jax.tree.leaves(products)).sum()
