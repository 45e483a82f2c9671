"""Pure JAX: a network, an epoch of SGD as a function of its arguments, and when training has diverged."""
